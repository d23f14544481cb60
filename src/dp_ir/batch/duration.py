"""How long a restoration will take, measured on a small piece before a long one begins."""

from __future__ import annotations

import time
from typing import Any

import torch

from dp_ir.restoration.pipeline import Restoration

LONG = 8_000_000
"""Pixels of a result from which the time is worth measuring."""

_SIDE = 512  # pixels of the result that is measured


class LongJobNote(UserWarning):
    """A restoration will take a while."""


def expected_seconds(restoration: Restoration, pixels: int, **settings: Any) -> float:
    """Seconds that a restoration of an image will take.

    Args:
        restoration: of images, not of bursts.
        pixels: of the result.
        settings: keyword arguments of the restoration, such as `steps` and `num_samples`.
    """
    side = max(1, _SIDE // (restoration.networks["restorer"].info.scale or 1))
    piece = torch.full((1, 3, side, side), 0.5)
    restoration(piece, **settings)  # what is only done once
    begun = time.perf_counter()
    result = restoration(piece, **settings)
    height, width = result.image.shape[-2:]
    return (time.perf_counter() - begun) * pixels / (height * width)


def duration(seconds: float) -> str:
    """Seconds in words, to two digits: "25 seconds", "3 minutes", "1.5 hours"."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{max(1, round(seconds))} seconds"
