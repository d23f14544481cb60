"""A denoiser of this package as a denoiser of the deepinv library (extra `deepinv`).

Both sides hold images in [0, 1] and sigma in the same units, so only calling habits are translated: deepinv gives sigma
as a number, (B,), or (B, 1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.guard import GuardedNetwork
from dp_ir.checkpoints.loading import Source
from dp_ir.errors import DPIRError, SigmaRangeError
from dp_ir.extras import require
from dp_ir.restoration.parts import part

require("deepinv", "dp_ir.restoration.deepinv_denoiser", "deepinv")
from deepinv import models  # noqa: E402


def as_denoiser(denoiser: Source, *, check_range: bool = True) -> models.Denoiser:
    """A denoiser that deepinv's optimisation and sampling algorithms can use as their prior.

    It is called as `denoiser(x, sigma)` with x (B, 3, H, W) and sigma a number or a tensor of one or B values, and is
    as differentiable as the network is. A module becomes part of it, and moves and trains with it.

    Args:
        denoiser: a module or function (noisy, sigma (B,)) -> denoised, or whatever else `load_denoiser` takes.
        check_range: whether noise levels that the denoiser was not trained for are refused with a SigmaRangeError.
            Algorithms that start at nearly pure noise, such as DiffPIR, ask for such levels.
    """
    if isinstance(denoiser, GuardedNetwork):  # with its device and precision
        return _Denoiser(denoiser, check_range=check_range)
    taken = part("denoiser", denoiser)
    parameter = next(taken.network.parameters(), None) if isinstance(taken.network, nn.Module) else None
    device = "cpu" if parameter is None else parameter.device
    return _Denoiser(GuardedNetwork("denoiser", taken.network, taken.info, device=device), check_range=check_range)


class _Denoiser(models.Denoiser):  # type: ignore[misc]  # deepinv has no types
    def __init__(self, network: GuardedNetwork, *, check_range: bool) -> None:
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
