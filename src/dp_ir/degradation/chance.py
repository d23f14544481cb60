"""Random numbers of a degradation, drawn from the generator of one image."""

from __future__ import annotations

import torch


def uniform(low: float, high: float, generator: torch.Generator | None) -> float:
    """A number between low and high."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def log_uniform(low: float, high: float, generator: torch.Generator | None) -> float:
    """A number between low and high, both above 0, whose logarithm is uniform."""
    return low * (high / low) ** uniform(0, 1, generator)


def chance(probability: float, generator: torch.Generator | None) -> bool:
    """True with that probability."""
    return uniform(0, 1, generator) < probability
