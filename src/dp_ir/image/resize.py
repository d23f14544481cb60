"""Resampling of the planes that accompany an image: its alpha channel and its out-of-gamut remainder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rows = tuple[int, int]
"""First row and the one after the last."""


def resize_plane(plane: NDArray[np.float32], size: tuple[int, int], rows: Rows | None = None) -> NDArray[np.float32]:
    """Resample one float32 plane (h, w) to `size` = (H, W) with a bicubic filter, antialiased when it shrinks.

    Constant planes stay constant; next to an edge the result may overshoot by up to about 7 % of the step.

    Args:
        plane: (h, w).
        size: (H, W).
        rows: which rows of the result are wanted; all by default.
    """
    height, width = size
    top, bottom = (0, height) if rows is None else rows
    if plane.shape == (height, width):
        return plane[top:bottom]
    step = plane.shape[0] / height
    margin = 3 + int(2 * step)  # rows that the filter reaches beyond what it makes
    first, last = max(int(top * step) - margin, 0), min(int(bottom * step) + margin + 1, plane.shape[0])
    source = Image.fromarray(np.ascontiguousarray(plane[first:last], dtype=np.float32))
    box = (0, top * step - first, plane.shape[1], bottom * step - first)
    resized = source.resize((width, bottom - top), Image.Resampling.BICUBIC, box=box)
    return np.array(resized, dtype=np.float32)


def resize_alpha(alpha: NDArray[np.float32], size: tuple[int, int], rows: Rows | None = None) -> NDArray[np.float32]:
    """Resample straight alpha (h, w) in [0, 1] to `size` = (H, W), in [0, 1].

    Bicubic rather than Lanczos: its only overshoot lies directly beside an edge, where clipping removes it, so opaque
    and transparent areas stay exactly 1 and 0 and no halo appears around a cut-out.
    """
    return np.clip(resize_plane(alpha, size, rows), np.float32(0.0), np.float32(1.0))
