"""DiffPIR and DDRM of the deepinv library with a denoiser of this package and the bicubic reduction (extra `deepinv`).

Both are deepinv's own classes. Two things stand between them and a denoiser that knows noise levels up to 1:

- DiffPIR runs the whole process of Ho et al. (2020), whose first levels are nearly pure noise. Here the process ends at
  the highest level that the denoiser knows, and starts there from the diffused pseudo-inverse.
- DDRM of deepinv 0.5 divides all the noise that it draws by sqrt(2), so that its state is less noisy than it tells the
  denoiser. Levels given to it are therefore larger by sqrt(2), and what it tells the denoiser is smaller by as much:
  then its steps are those of Kawar et al. (2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import ScheduleError
from dp_ir.evaluation.methods.reduction import Reduction
from dp_ir.extras import require
from dp_ir.integrations.deepinv import as_denoiser

require("deepinv", "A comparison with DiffPIR or DDRM", "deepinv")
from deepinv import optim, physics, sampling  # noqa: E402

_SPARE = math.sqrt(2.0)  # what deepinv's DDRM divides its noise by


def reduction_physics(reduction: Reduction, noise_std: float) -> physics.DecomposablePhysics:
    """A reduction as deepinv knows operators; its adjoint, pseudo-inverse and proximal steps are exact.

    Args:
        reduction: of images (B, C, H, W).
        noise_std: standard deviation of the observation's noise, in [0, 1] units.
    """
    values = reduction.singular_values.expand(-1, 3, -1, -1).contiguous()  # DDRM needs one value per coefficient
    return physics.DecomposablePhysics(
        U=reduction.from_observed,
        U_adjoint=reduction.to_observed,
        V=reduction.from_coefficients,
        V_adjoint=reduction.to_coefficients,
        mask=values,
        device=values.device,
        noise_model=physics.GaussianNoise(noise_std),
    )


def diffpir(
    denoiser: LoadedNetwork,
    observation: Tensor,
    reduction: Reduction,
    *,
    steps: int,
    levels: tuple[float, float],
    noise_std: float,
    data_weight: float,
    zeta: float,
    seed: int,
) -> Tensor:
    """DiffPIR (Zhu et al., 2023) as deepinv has it.

    Args:
        denoiser: (noisy, sigma (B,)) -> denoised.
        observation: (B, 3, h, w) in [0, 1].
        reduction: what made the observation.
        steps: calls of the denoiser.
        levels: lowest and highest noise level, in [0, 1] units.
        noise_std: sigma_n, of the observation, in [0, 1] units.
        data_weight: lambda; the observation counts the less, the larger it is.
        zeta: share of fresh noise in each step, in [0, 1].
        seed: of its noise.

    Returns:
        (B, 3, H, W), not clipped.

    Raises:
        ScheduleError: fewer than 2 steps, or more than half as many as the process has levels in the range.
    """
    model = _ShortDiffPIR(
        levels,
        model=as_denoiser(denoiser),
        data_fidelity=optim.data_fidelity.L2(),
        sigma=noise_std,
        max_iter=steps,
        zeta=zeta,
        lambda_=data_weight,
        device=observation.device,
    )
    with _seeded(seed, observation.device):
        start = reduction.pseudo_inverse(observation)
        return model(observation, reduction_physics(reduction, noise_std), x_init=start)


def ddrm(
    denoiser: LoadedNetwork,
    observation: Tensor,
    reduction: Reduction,
    *,
    sigmas: Sequence[float],
    noise_std: float,
    eta: float,
    eta_b: float,
    seed: int,
) -> Tensor:
    """DDRM (Kawar et al., 2022) as deepinv has it, with noise of the strength it is meant to have.

    Args:
        denoiser: (noisy, sigma (B,)) -> denoised.
        observation: (B, 3, h, w) in [0, 1].
        reduction: what made the observation.
        sigmas: falling noise levels above 0, in [0, 1] units, one call of the denoiser each.
        noise_std: sigma_y, of the observation, in [0, 1] units.
        eta: share of fresh noise where nothing is observed, in [0, 1].
        eta_b: weight of the observation where it is less noisy than the state, in [0, 1].
        seed: of its noise.

    Returns:
        (B, 3, H, W), the denoiser's last answer, not clipped.
    """
    own = as_denoiser(denoiser)
    model = sampling.DDRM(
        denoiser=lambda noisy, sigma: own(noisy, sigma / _SPARE),
        sigmas=[_SPARE * sigma for sigma in sigmas],
        eta=eta,
        etab=eta_b,
    )
    with _seeded(seed, observation.device):
        return model(observation, reduction_physics(reduction, _SPARE * noise_std))


class _ShortDiffPIR(sampling.DiffPIR):  # type: ignore[misc]  # deepinv has no types
    """DiffPIR over the part of its process whose noise levels lie within a range."""

    def __init__(self, levels: tuple[float, float], **settings: Any) -> None:
        # In DiffPIR's units images span [-1, 1]. The parent computes its schedule while it is made.
        self.lowest, self.highest = (2.0 * level for level in levels)
        super().__init__(**settings)

    def get_alpha_beta(self) -> Any:
        whole = super().get_alpha_beta()
        noise_to_signal, betas = whole[1], whole[-1]
        kept = int((noise_to_signal <= self.highest * (1 + 1e-6)).sum())
        if kept < len(betas):
            self.num_train_timesteps, self.beta_end = kept, float(betas[kept - 1]) if kept else 0.0
        return super().get_alpha_beta()

    def get_alpha_prod(self, *_: Any) -> Any:
        """The parent would take the numbers of the whole process; the last of these scales the start."""
        return self.sqrt_recip_alphas_cumprod, self.sqrt_recipm1_alphas_cumprod

    def get_noise_schedule(self, sigma: Any) -> Any:
        rhos, sigmas, _ = super().get_noise_schedule(sigma)
        known = int((sigmas >= self.lowest * (1 - 1e-6)).sum())
        if not 2 <= self.max_iter <= known // 2:  # the parent's steps would fall onto each other near the end
            raise ScheduleError(
                f"DiffPIR is to take {self.max_iter} steps, but between {self.lowest / 2:.4g} and "
                f"{self.highest / 2:.4g} its process has {known} noise levels: take 2 to {known // 2} steps."
            )
        visited = torch.linspace(0.0, known**2, self.max_iter, device=self.device).sqrt().int()
        visited[-1] -= 1
        return rhos, sigmas, visited


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What deepinv draws comes from torch's own generators: they are set here, and put back."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        torch.manual_seed(seed)
        yield
