"""A part of a picture or of a burst: what is restored when the whole would take too long or too much memory."""

from __future__ import annotations

from dataclasses import replace

from dp_ir.errors import ImageReadError
from dp_ir.image.picture.picture import Picture
from dp_ir.image.raw.burst import Burst

Box = tuple[int, int, int, int]
"""Left, top, width and height, in pixels of the upright photograph."""


def crop_picture(picture: Picture, box: Box) -> Picture:
    """Cut out a part, with everything that belongs to it.

    Raises:
        ImageReadError: the box reaches beyond the picture, or is empty.
    """
    _check(box, picture.size)
    x, y, width, height = box
    part = slice(y, y + height), slice(x, x + width)
    return replace(
        picture,
        pixels=picture.pixels[part],
        alpha=None if picture.alpha is None else picture.alpha[part],
        out_of_gamut=None if picture.out_of_gamut is None else picture.out_of_gamut[part],
    )


def crop_burst(burst: Burst, box: Box) -> Burst:
    """Cut the same part out of every frame, widened to whole cells of the mosaic.

    Args:
        burst: as it was read.
        box: in pixels of the upright mosaic.

    Raises:
        ImageReadError: the box reaches beyond the frames, or is empty.
    """
    stored = 2 * burst.frames.shape[-2], 2 * burst.frames.shape[-1]
    turned = stored[::-1] if burst.turns % 2 else stored
    _check(box, turned)
    (x, y, width, height), rows = box, turned[0]
    for _ in range(burst.turns % 4):  # undo one quarter turn, counter-clockwise, after the other
        x, y, width, height = rows - y - height, x, height, width
        rows = sum(stored) - rows
    if burst.mirrored:
        x = stored[1] - x - width
    cells = slice(y // 2, -(-(y + height) // 2)), slice(x // 2, -(-(x + width) // 2))
    return replace(burst, frames=burst.frames[..., cells[0], cells[1]].contiguous())


def _check(box: Box, size: tuple[int, int]) -> None:
    x, y, width, height = box
    if min(x, y) < 0 or min(width, height) < 1 or x + width > size[1] or y + height > size[0]:
        raise ImageReadError(
            f"The part of {width}x{height} pixels at {x},{y} does not lie in the photo of {size[1]}x{size[0]} pixels: "
            "choose another."
        )
