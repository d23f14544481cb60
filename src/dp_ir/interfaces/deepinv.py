"""Restorations and denoisers as models of the deepinv library, and its models as networks here (extra `deepinv`).

Both sides hold images in [0, 1] and sigma in the same units, so only calling habits are translated: deepinv hands the
physics to every reconstruction, and sigma as in `restoration.deepinv_denoiser`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.contract import NetworkInfo, info_from
from dp_ir.checkpoints.guard import GuardedNetwork
from dp_ir.checkpoints.network_file import Kind
from dp_ir.extras import require
from dp_ir.restoration.pipeline import Restoration

require("deepinv", "dp_ir.interfaces.deepinv", "deepinv")
from deepinv import models  # noqa: E402

from dp_ir.restoration.deepinv_denoiser import as_denoiser  # noqa: E402

__all__ = ["as_denoiser", "as_reconstructor", "denoiser_from_deepinv", "restorer_from_deepinv"]


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


def denoiser_from_deepinv(model: nn.Module, **facts: Any) -> GuardedNetwork:
    """A denoiser of deepinv, for `Restoration.from_parts(denoiser=...)` or to be called as one: (noisy, sigma (B,)).

    Args:
        model: a `deepinv.models.Denoiser`.
        facts: fields of `NetworkInfo`. Give `sigma_range=(low, high)`, in [0, 1] units, wherever it is known: deepinv
            does not record it, and without it no tau is refused. FFDNet needs `size_multiple=2`.

    Raises:
        NetworkContractError: a fact that cannot be.
    """
    return _guarded("denoiser", _OutsideInferenceMode(model), info_from(facts))


def restorer_from_deepinv(reconstructor: nn.Module, physics: Any, **facts: Any) -> GuardedNetwork:
    """A reconstructor of deepinv with its physics, for `Restoration.from_parts(restorer=...)`.

    Args:
        reconstructor: called as `reconstructor(observation, physics)`; it returns RGB images.
        physics: the operator the observations come from; one that states an image size fixes it.
        facts: fields of `NetworkInfo`, such as `scale=4` for a fourfold `Downsampling`.

    Raises:
        NetworkContractError: a fact that cannot be.
    """
    return _guarded("restorer", _OutsideInferenceMode(reconstructor, physics), info_from(facts))


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


def _guarded(kind: Kind, network: Any, info: NetworkInfo) -> GuardedNetwork:
    """The network behind its contract, where it is now."""
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return GuardedNetwork(kind, network, info, device="cpu" if parameter is None else parameter.device)
