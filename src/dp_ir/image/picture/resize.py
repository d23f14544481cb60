"""Resampling of the planes that accompany an image: its alpha channel and its out-of-gamut remainder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rows = tuple[int, int]
"""First row and the one after the last."""


def source_rows(source: int, result: int, rows: Rows) -> Rows:
    """The rows of a plane of height `source` that decide `rows` of what it becomes at height `result`."""
    step = source / result
    margin = 3 + int(2 * step)  # rows that the filter reaches beyond what it makes
    return max(int(rows[0] * step) - margin, 0), min(int(rows[1] * step) + margin + 1, source)


def resize_plane(
    plane: NDArray[np.float32], size: tuple[int, int], rows: Rows | None = None, part: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Resample one float32 plane (h, w) to `size` = (H, W) with a bicubic filter, antialiased when it shrinks.

    Constant planes stay constant; next to an edge the result may overshoot by up to about 7 % of the step.

    Args:
        plane: (h, w).
        size: (H, W).
        rows: which rows of the result are wanted; all by default.
        part: where the plane is a band of rows, `source_rows` at least: its first row, and the height of the whole.
    """
    height, width = size
    start, whole = (0, plane.shape[0]) if part is None else part
    top, bottom = (0, height) if rows is None else rows
    if (whole, plane.shape[1]) == (height, width):
        return plane[top - start : bottom - start]
    step = whole / height
    first, last = source_rows(whole, height, (top, bottom))
    source = Image.fromarray(np.ascontiguousarray(plane[first - start : last - start], dtype=np.float32))
    box = (0, top * step - first, plane.shape[1], bottom * step - first)
    resized = source.resize((width, bottom - top), Image.Resampling.BICUBIC, box=box)
    return np.array(resized, dtype=np.float32)


def resize_alpha(
    alpha: NDArray[np.float32], size: tuple[int, int], rows: Rows | None = None, part: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """Resample straight alpha (h, w) in [0, 1] to `size` = (H, W), in [0, 1]; arguments as of `resize_plane`.

    Bicubic rather than Lanczos: its only overshoot lies directly beside an edge, where clipping removes it, so opaque
    and transparent areas stay exactly 1 and 0 and no halo appears around a cut-out.
    """
    return np.clip(resize_plane(alpha, size, rows, part), np.float32(0.0), np.float32(1.0))
