"""The size that a result is asked for, and the resizing to it: exact, antialiased, with transparency in mind."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from dp_ir.errors import ImageWriteError
from dp_ir.image.picture.picture import FloatArray, Picture
from dp_ir.image.picture.resize import Rows, resize_plane

Size = tuple[int, int]
"""(height, width)."""

_INVISIBLE = 1e-3  # opacity below half a level of 8 bits: what colour lies there shows nowhere


@dataclass(frozen=True)
class OutputSize:
    """What a person asks for; at most one of the three, and none of them for the size that the task gives.

    Args:
        scale: sides relative to the input's, rounded.
        width: in pixels; the height follows.
        long_edge: of the longer side in pixels; the other follows.

    Raises:
        ImageWriteError: several are asked for, or one that is no size.

    >>> OutputSize(long_edge=100).of((40, 20), (160, 80))
    (100, 50)
    """

    scale: float | None = None
    width: int | None = None
    long_edge: int | None = None

    def __post_init__(self) -> None:
        named = {"scale": self.scale, "width": self.width, "long edge": self.long_edge}
        asked = {name: value for name, value in named.items() if value is not None}
        if len(asked) > 1:
            raise ImageWriteError(
                f"A {' and a '.join(asked)} were asked for together: expected one of --scale, --width and --long-edge."
            )
        for name, value in asked.items():
            if not (math.isfinite(value) and value > 0):
                raise ImageWriteError(f"The {name} asked for is {value}: expected a finite number above 0.")

    def check_factor(self, factor: float | None) -> None:
        """Refuse a scale above what a task gives; raises ImageWriteError. None: what it gives is not known yet."""
        if self.scale is not None and factor is not None and self.scale > factor:
            raise ImageWriteError(
                f"The scale {self.scale:g} is more than the restorer enlarges: expected at most {factor:g}; for more "
                f"{_more(factor)}."
            )

    def of(self, source: Size, result: Size) -> Size:
        """The size of the file.

        Args:
            source: of the upright input.
            result: what the task makes of it.

        Raises:
            ImageWriteError: it is larger than that, so that pixels would be made up which nobody restored.
        """
        height, width = self._asked(source) or result
        if height > result[0] or width > result[1]:
            raise ImageWriteError(
                f"The result was asked for with {width}x{height} pixels, expected at most the {result[1]}x{result[0]} "
                f"that are restored of {source[1]}x{source[0]}: ask for less (--scale {result[1] / source[1]:g} is the "
                f"largest), or {_more(result[1] / source[1])}."
            )
        return height, width

    def start(self, source: Size, scale: int) -> Size:
        """The size that a restorer must be given to make at least what is asked for.

        Args:
            source: of the upright input.
            scale: how many times larger the restorer's result is.

        Returns:
            That of the source where it is enough; else a larger one, up to `scale` times as large, to which the result
            of a first run can be reduced.
        """
        asked = self._asked(source)
        if asked is None or scale == 1 or all(side <= scale * own for side, own in zip(asked, source, strict=True)):
            return source
        height, width = (min(-(-side // scale), scale * own) for side, own in zip(asked, source, strict=True))
        return height, width

    def _asked(self, source: Size) -> Size | None:
        if self.scale is not None:
            factor = self.scale
        elif self.width is not None:
            factor = self.width / source[1]
        elif self.long_edge is not None:
            factor = self.long_edge / max(source)
        else:
            return None
        height, width = (max(math.floor(side * factor + 0.5), 1) for side in source)
        return height, width


def _more(factor: float) -> str:
    return "restore the result once more" if factor > 1 else "choose a task that enlarges"


def resized(picture: Picture, size: Size, rows: Rows | None = None, part: tuple[int, int] | None = None) -> Picture:
    """Resample a picture with a bicubic filter, antialiased when it shrinks.

    Colours are weighted by their opacity, so that what is hidden in transparent pixels does not bleed into others.

    Args:
        picture: the whole, or a band of its rows.
        size: (H, W) of the whole result.
        rows: which rows of the result are wanted; all by default.
        part: of a band its first row, and the height of the whole; see `resize_plane`.
    """
    alpha = picture.alpha
    if part is None and picture.size == size:
        return picture

    def plane(values: FloatArray) -> FloatArray:
        return resize_plane(values, size, rows, part)

    opacity = None if alpha is None else plane(alpha)[..., None]

    def colours(values: FloatArray) -> FloatArray:
        plain = np.stack([plane(values[..., channel]) for channel in range(3)], axis=-1)
        if alpha is None or opacity is None:
            return plain
        weighted = np.stack([plane(values[..., channel] * alpha) for channel in range(3)], axis=-1)
        return np.where(opacity > _INVISIBLE, weighted / np.maximum(opacity, np.float32(_INVISIBLE)), plain)

    return replace(
        picture,
        pixels=np.clip(colours(picture.pixels), np.float32(0.0), np.float32(1.0)),
        alpha=None if opacity is None else np.clip(opacity[..., 0], np.float32(0.0), np.float32(1.0)),
        out_of_gamut=None if picture.out_of_gamut is None else colours(picture.out_of_gamut),
    )
