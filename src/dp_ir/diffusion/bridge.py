"""Bridges from a start image to the clean one: what InDI and PMRF have in common.

x_t = (1 - t) x0 + t x1 leads from the clean image (t = 0) to a start x1 (t = 1): the observation for InDI
(arXiv 2303.11435, eq. 1), a restorer's output for PMRF (arXiv 2410.00418), each with a little white noise. One step of
either, t -> s, is the same: an Euler step of dx/dt = (x_t - E[x0 | x_t]) / t, which is

    x_s = s / t x_t + (1 - s / t) E[x0 | x_t].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dp_ir.diffusion.noise import randn
from dp_ir.diffusion.samplers import Estimate, call_estimate, working_state
from dp_ir.errors import ScheduleError


def bridge_euler(estimate: Estimate, start: Tensor, steps: int) -> Tensor:
    """Take a start image to the clean one in equal steps of t from 1 to 0.

    Args:
        estimate: (x_t, t (B,)) -> estimate of E[x0 | x_t].
        start: x1, (B, 3, H, W) in [0, 1] units, its noise included.
        steps: calls of the estimate.

    Returns:
        (B, 3, H, W), not clipped; with one step the estimate at t = 1 itself.

    Raises:
        ScheduleError: if `steps` is less than 1.
        NetworkContractError: if the estimate has another shape than the image.
    """
    if steps < 1:
        raise ScheduleError(f"The bridge was given {steps} steps: it needs at least one.")
    x = working_state(start)
    for i in range(steps):
        t, s = 1 - i / steps, 1 - (i + 1) / steps
        x = s / t * x + (1 - s / t) * call_estimate(estimate, x, t)
    return x


def bridge_start(image: Tensor, noise: float, generators: Sequence[torch.Generator]) -> Tensor:
    """x1: the image (B, 3, H, W) plus white noise of standard deviation `noise`, in [0, 1] units."""
    return image + noise * randn(image.shape, generators, image.device, image.dtype)
