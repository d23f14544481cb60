"""Resampling of the planes that accompany an image: its alpha channel and its out-of-gamut remainder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def resize_plane(plane: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resample one float32 plane (h, w) to `size` = (H, W) with a bicubic filter, antialiased when it shrinks.

    Constant planes stay constant; next to an edge the result may overshoot by up to about 7 % of the step.
    """
    height, width = size
    if plane.shape == (height, width):
        return plane
    source = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.array(source.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def resize_alpha(alpha: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resample straight alpha (h, w) in [0, 1] to `size` = (H, W), in [0, 1].

    Bicubic rather than Lanczos: its only overshoot lies directly beside an edge, where clipping removes it, so opaque
    and transparent areas stay exactly 1 and 0 and no halo appears around a cut-out.
    """
    return np.clip(resize_plane(alpha, size), np.float32(0.0), np.float32(1.0))
