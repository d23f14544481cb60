"""Mosaics stored as greyscale images, as in "Zurich RAW to RGB" (Ignatov et al. 2020, arXiv 2002.05509)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.image.raw.burst import pack

_WHITE = 2**10 - 1


def read_mosaic(path: Path) -> Tensor:
    """A mosaic (RGGB, 10 bits in a 16-bit PNG) as planes (1, 4, h, w) float32 in [0, 1], linear; raises DataError."""
    values = png_values(path, "a 16-bit greyscale PNG")
    if values.dtype != np.uint16 or values.ndim != 2 or values.max(initial=0) > _WHITE:
        raise DataError(
            f"'{path}' holds {values.dtype} of the shape {values.shape} up to {values.max(initial=0)}, expected a "
            f"mosaic of uint16 up to {_WHITE}; use the files as they were published."
        )
    even = values[: values.shape[0] // 2 * 2, : values.shape[1] // 2 * 2]
    return pack(torch.from_numpy(even.astype(np.float32) / _WHITE))[None]


def png_values(path: Path, expected: str) -> NDArray[Any]:
    """The values of a PNG file as they are stored.

    Args:
        path: the file.
        expected: what it should be, for the error.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    except Exception as error:  # decoders meet damage with errors of every type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"'{path}' cannot be read ({reason}), expected {expected}; copy it again.") from error
