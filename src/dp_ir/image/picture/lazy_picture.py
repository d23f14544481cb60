"""Photographs too large to be held as floats: kept as they are stored, and given part by part."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from dp_ir.image.files.samples import Samples, to_picture
from dp_ir.image.metadata.exif import upright
from dp_ir.image.picture.picture import Picture

_ROWS = 256  # that are looked at at a time


class LazyPicture:
    """Parts of a photograph, each a picture as `to_picture` makes it of the whole.

    Args:
        samples: the photograph.
    """

    def __init__(self, samples: Samples) -> None:
        alpha = None if samples.alpha is None else upright(samples.alpha, samples.orientation)
        self._samples = replace(
            samples, values=upright(samples.values, samples.orientation), alpha=alpha, orientation=1
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the upright photograph."""
        return self._samples.values.shape[0], self._samples.values.shape[1]

    @property
    def bit_depth(self) -> int:
        """Bits per sample of the source: 8, 16 or 32."""
        return self._samples.bit_depth

    @cached_property
    def colourless(self) -> bool:
        """As of `Picture`, of the whole photograph."""
        height, width = self.size
        bands = ((top, min(_ROWS, height - top)) for top in range(0, height, _ROWS))
        return all(self.part(top, 0, rows, width).colourless for top, rows in bands)

    def part(self, top: int, left: int, height: int, width: int) -> Picture:
        """A part of the upright photograph."""
        place = slice(top, top + height), slice(left, left + width)
        samples = self._samples
        alpha = None if samples.alpha is None else samples.alpha[place]
        return to_picture(replace(samples, values=samples.values[place], alpha=alpha))
