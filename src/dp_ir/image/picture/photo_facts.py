"""What the pixels of a photo tell of its state: noise, traces of compression, and how fine its detail is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dp_ir.image.picture.lazy_picture import LazyPicture
from dp_ir.image.picture.picture import Picture

_LUMA = (0.299, 0.587, 0.114)
_LOOKED_AT = 1024  # sides of the central part that is looked at, pixels
_TILE = 16  # 2x2 blocks along the sides of a tile that noise is measured in
_BLOCK = 8  # sides of the blocks of JPEG, pixels
_NORMAL_QUARTILE = 0.6745  # median of |x| of a normal x of unit variance

_Plane = NDArray[np.float64]


@dataclass(frozen=True)
class PhotoFacts:
    """What can be told of a photo without knowing what it shows.

    Args:
        width: pixels.
        height: pixels.
        noise: standard deviation of the finest grain of the brightness where it is flattest, in [0, 1] units; what
            compression or a filter took away does not count.
        blockiness: by how much the steps of the brightness at the borders of 8x8 blocks exceed those beside them, on
            average, in [0, 1] units; about 0 where there are no blocks, wherever they begin.
        fineness: energy of the differences between neighbours over that of the differences two pixels apart; 1 for
            white noise, about 0.5 for a sharp photo, 0.25 where no detail is finer than a few pixels.
    """

    width: int
    height: int
    noise: float
    blockiness: float
    fineness: float


def photo_facts(photo: Picture | LazyPicture) -> PhotoFacts:
    """Look at the central part of a photo.

    Where a photo is too small for a measurement, 2, 12 or 3 pixels, that is 0.
    """
    size = height, width = photo.size
    rows, columns = (min(side, _LOOKED_AT) for side in size)
    top, left = (height - rows) // 2, (width - columns) // 2
    if isinstance(photo, LazyPicture):
        pixels = photo.part(top, left, rows, columns).pixels
    else:
        pixels = photo.pixels[top : top + rows, left : left + columns]
    brightness = pixels.astype(np.float64) @ np.array(_LUMA)
    return PhotoFacts(width, height, _noise(brightness), _blockiness(brightness), _fineness(brightness))


def _noise(plane: _Plane) -> float:
    """The lower quartile over tiles of what the median of the diagonal Haar coefficients says (Donoho, 1995)."""
    height, width = (side // 2 * 2 for side in plane.shape)
    if not height or not width:
        return 0.0
    even = plane[:height, :width]
    diagonal = np.abs(even[::2, ::2] - even[::2, 1::2] - even[1::2, ::2] + even[1::2, 1::2]) / 2
    tiles = [
        np.median(diagonal[top : top + _TILE, left : left + _TILE])
        for top in range(0, max(1, diagonal.shape[0] - _TILE + 1), _TILE)
        for left in range(0, max(1, diagonal.shape[1] - _TILE + 1), _TILE)
    ]
    return float(np.percentile(tiles, 25)) / _NORMAL_QUARTILE


def _blockiness(plane: _Plane) -> float:
    """By how much one of the eight places where blocks can begin stands out, the mean over both directions."""
    excesses = []
    for lines in (plane, plane.T):
        steps = np.abs(np.diff(lines, axis=1))
        if steps.shape[1] < _BLOCK + 3:
            return 0.0
        excess = (steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2).mean(0)
        by_place = np.array([excess[place::_BLOCK].mean() for place in range(_BLOCK)])
        second, largest = np.sort(by_place)[-2:]  # enlarged photos have such steps in several places
        excesses.append(largest - second)
    return float(np.mean(excesses))


def _fineness(plane: _Plane) -> float:
    near, far = 0.0, 0.0
    for lines in (plane, plane.T):
        if lines.shape[1] < 3:
            return 0.0
        near += float(np.square(np.diff(lines, axis=1)).mean())
        far += float(np.square(lines[:, 2:] - lines[:, :-2]).mean())
    return near / far if far else 0.0
