"""Running networks over images of any size: in one piece where that fits into memory, in tiles where it does not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dp_ir.errors import DPIRError
from dp_ir.restoration.tiling.windows import Overlap, Run, Window, bands
from dp_ir.runtime.budget import is_out_of_memory

SMALLEST_TILE = 64
"""Pixels of the result: what does not fit into memory at this size is not tried with even smaller tiles."""


class TilingNote(UserWarning):
    """A restoration goes on in tiles, in smaller ones, or from disk to disk, because memory demands it."""


@dataclass
class Tiler:
    """Runs one network, or several one after the other, over images of any size.

    Args:
        side: longest side of a tile, in pixels of what goes in; halved for good wherever memory runs out.
        overlap: what neighbouring tiles share, in pixels of what goes in.
        multiple: tiles start at multiples of it.
        smallest: the side is not made smaller than this.
        by_area: whether what has no more than side^2 pixels is run in one piece, however long it is.
        batch: how many tiles of one size are run together.
        name: of what is run, for the note that memory has run out.
    """

    side: int
    overlap: Overlap
    multiple: int = 1
    smallest: int = SMALLEST_TILE
    by_area: bool = True
    batch: int = 1
    name: str = "networks"

    def is_whole(self, height: int, width: int) -> bool:
        """Whether an image of this size is run in one piece."""
        return max(height, width) <= self.side or (self.by_area and height * width <= self.side**2)

    def bands(self, height: int, width: int, run: Run) -> Iterator[tuple[int, Tensor]]:
        """Run over an image; see `tiling.bands` for what `run` is called with and what is yielded."""
        return self._bands(Window(0, 0, height, width), run)

    def image(self, height: int, width: int, run: Run, to: torch.device) -> Tensor:
        """Run over an image and put the result together, on a device."""
        return _joined(self.bands(height, width, run), height, width, to)

    def _bands(self, window: Window, run: Run) -> Iterator[tuple[int, Tensor]]:
        whole = self.is_whole(window.height, window.width)
        return bands(
            window,
            lambda windows: self._run(windows, run),
            tile=_up(max(window.height, window.width), self.multiple) if whole else self.side,
            overlap=self.overlap,
            multiple=self.multiple,
            batch=self.batch,
        )

    def _run(self, windows: Sequence[Window], run: Run) -> list[Tensor]:
        """Run tiles, or what they are cut into where memory does not suffice for them."""
        if self.is_whole(windows[0].height, windows[0].width):
            try:
                return list(run(windows))
            except Exception as error:
                if not is_out_of_memory(error) or not self._lower(windows):
                    raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        return [_joined(self._bands(window, run), window.height, window.width) for window in windows]

    def _lower(self, windows: Sequence[Window]) -> bool:
        """Ask for less memory at once from now on; False where that is not possible."""
        if len(windows) > 1:
            self.batch = 1
            return True
        _, _, height, width = windows[0]
        half = min(self.side, math.isqrt(height * width)) // 2 // self.multiple * self.multiple
        if half < self.smallest:
            return False
        self.side = half
        warnings.warn(
            f"Memory ran out in the {self.name} at {width}x{height} pixels: it goes on in tiles of {half}.",
            TilingNote,
            stacklevel=2,
        )
        return True


def _joined(pieces: Iterator[tuple[int, Tensor]], height: int, width: int, to: torch.device | None = None) -> Tensor:
    """Bands of the result of an image as one tensor."""
    result: Tensor | None = None
    for top, band in pieces:
        scale = band.shape[-1] // width
        if band.shape[-2] == scale * height:
            return band if to is None else band.to(to)
        if result is None:
            result = band.new_empty(*band.shape[:-2], scale * height, scale * width, device=to or band.device)
        result[..., top : top + band.shape[-2], :] = band
    if result is None:
        raise DPIRError(f"An image of {width}x{height} pixels cannot be run: expected at least one pixel.")
    return result


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
