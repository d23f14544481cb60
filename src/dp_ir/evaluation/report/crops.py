"""Crops for the page: the places of an image where methods differ most."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dp_ir.image import read_image

Pixels = NDArray[np.uint8]

_GRID = 8  # places lie on multiples, so that they are whole pixels of an observation that is 2, 4 or 8 times smaller


@dataclass(frozen=True)
class Place:
    """A square of an image in pixels of the restored size."""

    top: int
    left: int
    size: int

    def scaled(self, factor: float) -> Place:
        """The same place in an image that is `factor` times as large."""
        return Place(round(self.top * factor), round(self.left * factor), max(1, round(self.size * factor)))


def find_places(images: Sequence[Pixels], reference: Pixels, *, size: int = 96, count: int = 1) -> list[Place]:
    """Squares where images differ most from a reference, the largest difference first; they do not overlap.

    Every image counts the same: its absolute difference is divided by the image's own mean first, so that one method
    with strong noise does not decide alone.

    Args:
        images: (H, W, 3) each, of the methods but the reference; none, or none that differs, gives the middle.
        reference: (H, W, 3).
        size: side of the squares; smaller where the image is.
        count: squares at most; fewer where there is no room.

    Returns:
        At least one place.
    """
    height, width = reference.shape[:2]
    size = min(size, height, width)
    total = np.zeros((height, width), dtype=np.float32)
    for image in images:
        difference = np.abs(image.astype(np.float32) - reference.astype(np.float32)).mean(axis=2)
        total += difference / max(float(difference.mean()), 1e-6)
    if not total.any():
        return [Place((height - size) // 2 // _GRID * _GRID, (width - size) // 2 // _GRID * _GRID, size)]
    windows = _window_sums(total, size)[::_GRID, ::_GRID].copy()
    places: list[Place] = []
    reach = -(-size // _GRID)  # steps of the grid that two places must be apart
    while len(places) < count and windows.max() > -1:
        row, column = divmod(int(windows.argmax()), windows.shape[1])
        places.append(Place(row * _GRID, column * _GRID, size))
        rows = slice(max(0, row - reach + 1), row + reach)
        windows[rows, max(0, column - reach + 1) : column + reach] = -1
    return places


def _window_sums(values: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """Sums over all windows of `size`, by the integral image: the time does not depend on the size."""
    integral = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
    integral[1:, 1:] = values.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    sums: NDArray[np.float64] = (
        integral[size:, size:] - integral[:-size, size:] - integral[size:, :-size] + integral[:-size, :-size]
    ).clip(min=0.0)  # below zero by rounding only
    return sums


def load_pixels(path: Path) -> Pixels:
    """A stored image as (H, W, 3) of 8 bits; raises ImageReadError."""
    pixels = np.asarray(read_image(path).pixels)
    return np.rint(np.clip(pixels, 0.0, 1.0) * 255).astype(np.uint8)


def embedded(image: Pixels, place: Place) -> str:
    """The pixels of a place as a data URL: lossless WebP, a third smaller than PNG."""
    cut = image[place.top : place.top + place.size, place.left : place.left + place.size]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(cut)).save(stream, "WEBP", lossless=True, method=2)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
