"""Cutting an image into overlapping tiles, and blending what a network makes of them.

Along each axis the tiles are of (nearly) equal size and start at multiples of what the networks need, so that pixel
grids and windows lie where they lie in the whole image. Next to a border between tiles a margin of context is computed
and thrown away; then one tile passes smoothly into the next. The weights of all tiles add up to one at every pixel.

Rows of tiles are walked from top to bottom, and what is finished is handed on in bands of rows, so that no more than a
row of tiles is held at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, image: Tensor) -> Tensor:
        """Cut this part out of an image (..., H, W), without a copy."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


class Overlap(NamedTuple):
    """How much neighbouring tiles share: `context` + `ramp` + `context` pixels, or more."""

    context: int
    """Pixels along a border between tiles that are computed and thrown away."""
    ramp: int
    """Pixels over which one tile passes into the next, at least 1."""

    @property
    def width(self) -> int:
        """Pixels that neighbouring tiles share at least."""
        return 2 * self.context + self.ramp

    def within(self, tile: int) -> Overlap:
        """The same, or where tiles are small so much less that neighbours share no more than half of them."""
        if 2 * self.width <= tile:
            return self
        share = tile / 2 / self.width
        return Overlap(int(share * self.context), max(int(share * self.ramp), 1))


Span = tuple[int, int]
"""First pixel and the one after the last."""

Run = Callable[[Sequence[Window]], Sequence[Tensor]]
"""What turns parts of one size into results (B, C, s h, s w), for some whole scale s."""


def spans(length: int, tile: int, overlap: int, multiple: int) -> list[Span]:
    """Where to cut a side.

    Args:
        length: of the side, in pixels.
        tile: largest tile, a multiple of `multiple`; only the sides that are longer are cut.
        overlap: pixels that neighbours share at least, less than `tile` by at least `multiple`.
        multiple: every tile starts at a multiple of it, and ends at one or where the side does.
    """
    if length <= tile:
        return [(0, length)]
    shared, whole = _up(overlap, multiple), _up(length, multiple)
    count = 1 + math.ceil((whole - tile) / max(tile - shared, multiple))
    size = min(_up(math.ceil((whole + (count - 1) * shared) / count), multiple), tile)
    starts = [index * (whole - size) // (count - 1) // multiple * multiple for index in range(count)]
    return [(start, min(start + size, length)) for start in starts]


def weights(cuts: Sequence[Span], overlap: Overlap, scale: int = 1) -> list[Tensor]:
    """The weights of the tiles along a side, each of the length of its tile times `scale`; they add up to one."""
    length = cuts[-1][1] * scale
    rising = []
    for start, stop in cuts:
        place = torch.arange(start * scale, stop * scale, dtype=torch.float64) + 0.5
        inside = torch.ones_like(place)
        if start > 0:
            inside *= _ramp(place - start * scale, overlap, scale)
        if stop * scale < length:
            inside *= _ramp(stop * scale - place, overlap, scale)
        rising.append(inside)
    total = torch.zeros(length, dtype=torch.float64)
    for (start, stop), inside in zip(cuts, rising, strict=True):
        total[start * scale : stop * scale] += inside
    return [
        (inside / total[start * scale : stop * scale]).float()
        for (start, stop), inside in zip(cuts, rising, strict=True)
    ]


def bands(
    window: Window, run: Run, *, tile: int, overlap: Overlap, multiple: int, batch: int = 1
) -> Iterator[tuple[int, Tensor]]:
    """Run over a part of an image in tiles, row by row.

    Args:
        window: the part, starting at a multiple of `multiple` in both directions.
        run: called with up to `batch` tiles of one size, in the coordinates that `window` is in.
        tile: largest side of a tile.
        overlap: what neighbours share; less where tiles are small.
        multiple: tiles start at multiples of it.
        batch: how many tiles are run at once.

    Yields:
        Bands (B, C, rows, scale * width) of the result from top to bottom, each with its first row, counted from the
        top of the window. What lies above the next row of tiles is not read again once a band is out.
    """
    tile = max(tile // multiple, 1) * multiple
    overlap = overlap.within(tile)
    down = spans(window.height, tile, overlap.width, multiple)
    across = spans(window.width, tile, overlap.width, multiple)
    if len(down) == len(across) == 1:
        yield 0, run([window])[0]
        return
    by_row: list[Tensor] = []
    by_column: list[Tensor] = []
    begun: Tensor | None = None
    for index, (top, bottom) in enumerate(down):
        row: Tensor | None = None
        scale = 1
        for group in _groups(across, batch):
            parts = [Window(window.top + top, window.left + a, bottom - top, b - a) for _, (a, b) in group]
            for (place, (left, right)), result in zip(group, run(parts), strict=True):
                if row is None:
                    scale = result.shape[-1] // (right - left)
                    row = result.new_zeros(*result.shape[:-2], scale * (bottom - top), scale * window.width)
                if not by_row:
                    by_row, by_column = weights(down, overlap, scale), weights(across, overlap, scale)
                row[..., scale * left : scale * right].addcmul_(result, by_column[place].to(result))
        assert row is not None
        row *= by_row[index].to(row)[:, None]
        if begun is not None:
            row[..., : begun.shape[-2], :] += begun
        finished = (down[index + 1][0] if index + 1 < len(down) else bottom) - top
        yield scale * top, row[..., : scale * finished, :]
        begun = row[..., scale * finished :, :].clone()


def _groups(across: Sequence[Span], batch: int) -> Iterator[list[tuple[int, Span]]]:
    """Neighbouring tiles of one width, with their numbers, at most `batch` together."""
    for _, alike in groupby(enumerate(across), key=lambda entry: entry[1][1] - entry[1][0]):
        entries = list(alike)
        for first in range(0, len(entries), batch):
            yield entries[first : first + batch]


def _ramp(distance: Tensor, overlap: Overlap, scale: int) -> Tensor:
    """Weight at a distance from a tile's border: 0 in the context, then half a period of a cosine up to 1."""
    share = ((distance - scale * overlap.context) / (scale * overlap.ramp)).clamp(0, 1)
    return torch.sin(math.pi / 2 * share) ** 2


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
