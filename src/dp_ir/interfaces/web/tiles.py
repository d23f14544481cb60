"""Images of any size as small JPEG tiles, so that a browser holds and moves only what is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TILE = 512
"""Side of a tile, in pixels of its level; every level has half of the sides of the one before, rounded up."""

APRON = 2
"""Pixels that a tile shows of its neighbours, so that no seam is seen where tiles are enlarged."""

Bytes = NDArray[np.uint8]
Part = Callable[[int, int, int, int], Bytes]
"""Top, left, height and width of a part to its values (height, width, 3), or with opacity (height, width, 4)."""


def tile_name(level: int, row: int, column: int) -> str:
    """Where a tile lies below the folder of its image, without the suffix."""
    return f"{level}/{row}-{column}"


def part_of(pixels: Bytes) -> Part:
    """The parts of an image in memory (H, W, 3 or 4)."""
    return lambda top, left, height, width: pixels[top : top + height, left : left + width]


def write_tiles(folder: Path, size: tuple[int, int], part: Part) -> int:
    """Write the tiles of an image, JPEG files, or PNG where it has opacity.

    Args:
        folder: where to; it need not exist.
        size: (height, width).
        part: gives any part of the image; it is asked for about one tile at a time.

    Returns:
        The number of levels; the last is one tile.
    """
    level = 0
    while True:
        (folder / str(level)).mkdir(parents=True, exist_ok=True)
        height, width = size
        smaller: Bytes | None = None
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                y, x = max(top - APRON, 0), max(left - APRON, 0)
                bottom, right = min(top + TILE + APRON, height), min(left + TILE + APRON, width)
                values = np.ascontiguousarray(part(y, x, bottom - y, right - x))
                _save(values, folder / tile_name(level, top // TILE, left // TILE))
                half = np.asarray(Image.fromarray(values[top - y :, left - x :][:TILE, :TILE]).reduce(2))
                if smaller is None:
                    smaller = np.zeros((-(-height // 2), -(-width // 2), half.shape[2]), np.uint8)
                smaller[top // 2 : top // 2 + half.shape[0], left // 2 : left // 2 + half.shape[1]] = half
        level += 1
        if max(size) <= TILE or smaller is None:
            return level
        size, part = (smaller.shape[0], smaller.shape[1]), part_of(smaller)


def _save(values: Bytes, place: Path) -> None:
    if values.shape[2] == 4:
        Image.fromarray(values).save(place.with_suffix(".png"), compress_level=1)
    else:
        Image.fromarray(values).save(place.with_suffix(".jpg"), quality=92, subsampling=0)
