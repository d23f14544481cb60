"""Reading SyntheticBurst, the validation set of "Deep Burst Super-Resolution" (Bhat et al., CVPR 2021).

A frame is a mosaic packed into four planes (R, G, G, B) of 48x48 pixels, the truth linear RGB of 384x384; both are
16-bit PNG files whose white is 2**14. They were written with OpenCV from arrays in the order of the planes, and OpenCV
takes the first for blue: in the files the first and the third plane have changed places.
"""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import torch
from torch import Tensor

from dp_ir.errors import DataError

SCALE = 8
"""Side of the truth / side of a plane: 4x super-resolution of a mosaic with twice the sides of its planes."""

_WHITE = 2**14


def read_frame(path: Path) -> Tensor:
    """One frame, (1, 1, 4, h, w) float32 RGGB in [0, 1], linear; raises DataError."""
    return _planes(path, 4)[None]


def read_truth(path: Path) -> Tensor:
    """The true image, (1, 3, H, W) float32 linear RGB in [0, 1]; raises DataError."""
    return _planes(path, 3)


def _planes(path: Path, channels: int) -> Tensor:
    try:
        values = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    except Exception as error:  # decoders meet damage with errors of every type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"'{path}' cannot be read ({reason}), expected a 16-bit PNG with {channels} channels; copy it again."
        ) from error
    if values.dtype != np.uint16 or values.ndim != 3 or values.shape[-1] != channels:
        found = values.shape[-1] if values.ndim == 3 else 1
        raise DataError(
            f"'{path}' has {found} channels of {values.dtype}, expected {channels} of uint16 as in SyntheticBurst; "
            "use the files as they were published."
        )
    if values.max(initial=0) > _WHITE:
        raise DataError(
            f"'{path}' holds the value {values.max()}, expected at most {_WHITE}, which is white in SyntheticBurst; "
            "use the files as they were published."
        )
    order = [2, 1, 0, 3][:channels]
    planes = np.moveaxis(values[..., order], -1, 0).astype(np.float32) / _WHITE
    return torch.from_numpy(np.ascontiguousarray(planes))[None]
