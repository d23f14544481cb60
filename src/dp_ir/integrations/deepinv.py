"""Restorations and denoisers as models of the deepinv library, and its models as networks here (extra `deepinv`).

Both sides hold images in [0, 1] and sigma in the same units, so only calling habits are translated: deepinv hands the
physics to every reconstruction, and sigma as a number, (B,), or (B, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.contract import info_from
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import Source, as_loaded
from dp_ir.errors import DPIRError, SigmaRangeError
from dp_ir.extras import require
from dp_ir.restoration.pipeline import Restoration

require("deepinv", "dp_ir.integrations.deepinv", "deepinv")
from deepinv import models  # noqa: E402

__all__ = ["as_denoiser", "as_reconstructor", "denoiser_from_deepinv", "restorer_from_deepinv"]


def as_denoiser(denoiser: Source, *, check_range: bool = True) -> models.Denoiser:
    """A denoiser that deepinv's optimisation and sampling algorithms can use as their prior.

    It is called as `denoiser(x, sigma)` with x (B, 3, H, W) and sigma a number or a tensor of one or B values, and is
    as differentiable as the network is. A module becomes part of it, and moves and trains with it.

    Args:
        denoiser: a module or function (noisy, sigma (B,)) -> denoised, or whatever else `load_denoiser` takes.
        check_range: whether noise levels that the denoiser was not trained for are refused with a SigmaRangeError.
            Algorithms that start at nearly pure noise, such as DiffPIR, ask for such levels.
    """
    if isinstance(denoiser, LoadedNetwork):  # with its precision
        return _Denoiser(denoiser, check_range=check_range)
    return _Denoiser(as_loaded("denoiser", denoiser), check_range=check_range)


def as_reconstructor(restoration: Restoration, **settings: Any) -> models.Reconstructor:
    """A restoration that deepinv's metrics, trainer and benchmarks can run.

    It is called as `reconstructor(y, physics, **settings)` and returns exactly what `restoration(y, **settings).image`
    does, in [0, 1], on the device and in the type of `y`. The physics is not looked at: the restorer was trained for
    one. Nothing is differentiable, and there are no parameters to train or to move: the networks stay where the
    restoration put them.

    Args:
        restoration: takes observations (B, 3, h, w) in [0, 1]; noise may leave that range by 0.5.
        settings: arguments of every call, such as `seed=7`, `tau=300` or `detail=0.5`, unless the call says otherwise.
    """
    return _Reconstructor(restoration, settings)


def denoiser_from_deepinv(model: nn.Module, **facts: Any) -> LoadedNetwork:
    """A denoiser of deepinv, for `Restoration.from_parts(denoiser=...)` or to be called as one: (noisy, sigma (B,)).

    Args:
        model: a `deepinv.models.Denoiser`.
        facts: fields of `NetworkInfo`. Give `sigma_range=(low, high)`, in [0, 1] units, wherever it is known: deepinv
            does not record it, and without it no tau is refused. FFDNet needs `multiple_of=2`.

    Raises:
        NetworkContractError: a fact that cannot be.
    """
    return LoadedNetwork("denoiser", _OutsideInferenceMode(model), info_from(facts))


def restorer_from_deepinv(reconstructor: nn.Module, physics: Any, **facts: Any) -> LoadedNetwork:
    """A reconstructor of deepinv with its physics, for `Restoration.from_parts(restorer=...)`.

    Args:
        reconstructor: called as `reconstructor(observation, physics)`; it returns RGB images.
        physics: the operator the observations come from; one that states an image size fixes it.
        facts: fields of `NetworkInfo`, such as `scale=4` for a fourfold `Downsampling`.

    Raises:
        NetworkContractError: a fact that cannot be.
    """
    return LoadedNetwork("restorer", _OutsideInferenceMode(reconstructor, physics), info_from(facts))


class _Denoiser(models.Denoiser):  # type: ignore[misc]  # deepinv has no types
    def __init__(self, network: LoadedNetwork, *, check_range: bool) -> None:
        super().__init__(device=network.device)
        self.network = network
        self.limits = network.info.sigma_range if check_range else None

    def forward(self, x: Tensor, sigma: float | Tensor | Sequence[float], **_: Any) -> Tensor:
        levels = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).flatten()
        if len(levels) not in (1, len(x)):
            raise DPIRError(f"There are {len(levels)} noise levels for {len(x)} images: give one, or one per image.")
        if self.limits is not None:
            low, high = float(levels.min()), float(levels.max())
            if low < self.limits[0] * (1 - 1e-6) or high > self.limits[1] * (1 + 1e-6):
                raise SigmaRangeError(
                    f"The noise levels are {low:.4g} to {high:.4g}, but the denoiser was trained for levels from "
                    f"{self.limits[0]:.4g} to {self.limits[1]:.4g}: keep inside, or give as_denoiser check_range=False."
                )
        return self.network(x.float(), levels.expand(len(x))).to(x.dtype)


class _Reconstructor(models.Reconstructor):  # type: ignore[misc]  # deepinv has no types
    def __init__(self, restoration: Restoration, settings: dict[str, Any]) -> None:
        super().__init__()
        self.restoration, self.settings = restoration, settings

    def forward(self, y: Tensor, physics: Any = None, **settings: Any) -> Tensor:
        return self.restoration(y, **{**self.settings, **settings}).image


class _OutsideInferenceMode(nn.Module):
    """A model called with ordinary tensors, since some (gradient-step denoisers, data terms) differentiate inside."""

    def __init__(self, model: nn.Module, physics: Any = None) -> None:
        super().__init__()
        self.model, self.physics = model, physics

    def forward(self, *arguments: Tensor) -> Tensor:
        further = () if self.physics is None else (self.physics,)
        if not torch.is_inference_mode_enabled():
            return self.model(*arguments, *further)
        with torch.inference_mode(False), torch.no_grad():
            return self.model(*(argument.clone() for argument in arguments), *further)
