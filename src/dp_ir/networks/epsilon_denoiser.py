"""A network that predicts the noise of a diffusion process, as a denoiser."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dp_ir.errors import SigmaRangeError

_ROUNDING = 1e-5  # how far, relatively, a noise level may lie outside the range, having been converted between units


def linear_alphas_cumprod(steps: int = 1000) -> Tensor:
    """DDPM's abar (Ho et al. 2020): betas on a line, from 1e-4 to 0.02 for 1000 steps. Float64, shape (steps,)."""
    betas = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64, device="cpu")
    return torch.cumprod(1 - betas, 0)


def cosine_alphas_cumprod(steps: int = 1000) -> Tensor:
    """The abar of the cosine schedule (Nichol & Dhariwal 2021, eq. 17). Float64, shape (steps,)."""
    time = torch.arange(steps + 1, dtype=torch.float64, device="cpu") / steps
    signal = torch.cos((time + 0.008) / 1.008 * (math.pi / 2)) ** 2
    betas = (1 - signal[1:] / signal[:-1]).clamp(max=0.999)
    return torch.cumprod(1 - betas, 0)


class EpsilonDenoiser(nn.Module):
    """E[x0 | noisy] from a network that was trained to predict eps in x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps.

    Since x_t = sqrt(abar_t) (x0 + sigma_t eps) with sigma_t = sqrt((1 - abar_t) / abar_t), an image with noise of level
    sigma is x_t / sqrt(abar_t) at the step t where sigma_t = sigma, and 1 / abar_t = 1 + sigma^2. Images and noise
    levels are in [-1, 1] units.

    Between two whole steps t is interpolated in log(sigma) and handed to the network as a fraction, although it was
    trained at whole steps. Rounding t instead would state a wrong noise level, by up to half a step, which with the
    linear schedule is 0.3 % of sigma around t = 500 but 22 % between the first two steps, and the error of the result
    is of first order in it. A fraction states the true level, and leaves the network to interpolate a function that
    is smooth in t: it sees t through cosines and sines only, whose phases the whole steps already cover densely. The
    result is also continuous in sigma, which samplers of higher order rely on. At whole steps there is no difference.

    Args:
        network: callable on x_t (B, C, H, W) and t (B,), float32; the first C channels of its result are eps, further
            ones (a learned variance) are not used. Its `multiple_of`, if it has one, is passed on.
        alphas_cumprod: abar_0 > ... > abar_{T-1}, all in (0, 1), shape (T,), best in float64; those of
            `linear_alphas_cumprod` by default.
        step_scale: the network is handed step_scale * t with t in [0, T - 1]; 1000 / T for networks that were trained
            with rescaled steps.

    Raises:
        ValueError: `alphas_cumprod` is not such a sequence.
    """

    value_range = (-1.0, 1.0)
    sigmas: Tensor

    def __init__(self, network: nn.Module, *, alphas_cumprod: Tensor | None = None, step_scale: float = 1.0) -> None:
        super().__init__()
        abar = linear_alphas_cumprod() if alphas_cumprod is None else alphas_cumprod.detach().cpu().double()
        sigmas = ((1 - abar) / abar).sqrt().float()
        if abar.ndim != 1 or len(abar) < 2 or not bool((sigmas.diff() > 0).all() and sigmas[0] > 0 and abar[-1] > 0):
            raise ValueError(
                f"alphas_cumprod has shape {tuple(abar.shape)}: expected (T,) with T >= 2 numbers that fall from below "
                "1 to above 0."
            )
        self.network = network
        self.step_scale = step_scale
        self.register_buffer("sigmas", sigmas, persistent=False)
        self.sigma_range = (float(sigmas[0]) / 2, float(sigmas[-1]) / 2)  # [-1, 1] is twice as wide as [0, 1]
        self.multiple_of = int(getattr(network, "multiple_of", 1))

    def step(self, sigma: Tensor) -> Tensor:
        """The step whose noise level is sigma.

        Args:
            sigma: (B,) in [-1, 1] units.

        Returns:
            (B,) float32 in [0, T - 1], fractional between whole steps and exact at them.

        Raises:
            SigmaRangeError: a level lies below that of step 0 or above that of step T - 1.
        """
        sigma = sigma.float().contiguous()
        lowest, highest = (2 * limit for limit in self.sigma_range)
        # A tensor without content, as for counting operations, lies nowhere.
        if not sigma.is_meta and not bool(
            ((sigma >= lowest * (1 - _ROUNDING)) & (sigma <= highest * (1 + _ROUNDING))).all()
        ):
            raise SigmaRangeError(
                f"The noise level {float(sigma.min()):.4g} to {float(sigma.max()):.4g}, in [-1, 1] units, lies outside "
                f"the range {lowest:.4g} to {highest:.4g} of the denoiser's schedule: choose another tau or sigma_min."
            )
        above = torch.searchsorted(self.sigmas, sigma).clamp(1, len(self.sigmas) - 1)
        low, high = self.sigmas[above - 1], self.sigmas[above]
        fraction = (sigma / low).log() / (high / low).log()
        return above - 1 + fraction.clamp(0, 1)

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            noisy: (B, C, H, W) = clean + sigma * eps in [-1, 1] units; H and W multiples of `multiple_of`.
            sigma: (B,) noise standard deviation in [-1, 1] units.

        Returns:
            (B, C, H, W), not clipped.

        Raises:
            SigmaRangeError: a level lies outside the schedule.
        """
        level = sigma.to(noisy.dtype)[:, None, None, None]
        predicted = self.network(noisy * (1 + level**2).rsqrt(), self.step_scale * self.step(sigma))
        return noisy - level * predicted[:, : noisy.shape[1]].to(noisy.dtype)
