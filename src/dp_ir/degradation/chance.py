"""Random numbers of a degradation, drawn from the generator of one image."""

from __future__ import annotations

import hashlib

import torch


def image_generator(name: str, seed: int = 0) -> torch.Generator:
    """The random numbers of one image's degradation: they depend on the seed and on its name, not on its neighbours.

    Args:
        name: of the image in its folder, with "/" between folders and without a suffix.
        seed: of the whole set.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def uniform(low: float, high: float, generator: torch.Generator | None) -> float:
    """A number between low and high."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def log_uniform(low: float, high: float, generator: torch.Generator | None) -> float:
    """A number between low and high, both above 0, whose logarithm is uniform."""
    return low * (high / low) ** uniform(0, 1, generator)


def chance(probability: float, generator: torch.Generator | None) -> bool:
    """True with that probability."""
    return uniform(0, 1, generator) < probability
