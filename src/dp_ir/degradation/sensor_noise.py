"""The noise of a sensor: its variance grows with the light (shot noise) from a constant in the dark (read noise)."""

from __future__ import annotations

import torch
from torch import Tensor


def add_sensor_noise(linear: Tensor, shot: float, read: float, *, generator: torch.Generator | None = None) -> Tensor:
    """Add white Gaussian noise of the variance shot * light + read^2, the usual model of RAW data.

    Args:
        linear: any shape, linear light with white at 1; negative light counts as none.
        shot: variance per unit of light, >= 0.
        read: standard deviation in the dark, >= 0.
        generator: of the random numbers.

    Returns:
        The same shape, not clipped.
    """
    eps = torch.randn(linear.shape, generator=generator)
    return linear + (shot * linear.clamp_min(0) + read**2).sqrt() * eps
