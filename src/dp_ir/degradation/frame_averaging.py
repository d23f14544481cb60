"""Motion blur from clips of a high frame rate: a long exposure is the sum of the short ones that it consists of.

This is how GoPro was made ("Deep Multi-scale Convolutional Neural Network for Dynamic Scene Deblurring", Nah et al.
2017, arXiv 1612.02177): light adds up on the sensor, before the camera's response turns it into the values of a file.
The sum only looks like an exposure where things move by a pixel or two from frame to frame: 240 frames a second will
do for people, 30 will not.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.image import IMAGE_SUFFIXES, Picture, read_image, to_tensor, with_pixels, write_image

GAMMA = 2.2
"""Of the response that GoPro's ``blur_gamma`` was made with."""


@dataclass(frozen=True)
class Response:
    """What a camera makes of light: values of a file as linear light, and the way back; both on [0, 1], any shape."""

    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]


def _srgb_decode(value: Tensor) -> Tensor:
    return torch.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _srgb_encode(light: Tensor) -> Tensor:
    return torch.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


RESPONSES = {
    "gamma": Response(lambda value: value**GAMMA, lambda light: light ** (1 / GAMMA)),
    "srgb": Response(_srgb_decode, _srgb_encode),
    "none": Response(lambda value: value, lambda light: light),
}
"""Responses by name: "gamma" as in GoPro's ``blur_gamma``, the curve of sRGB, and "none", as in GoPro's ``blur``."""


def average_frames(frames: Tensor, *, response: str = "gamma") -> Tensor:
    """One long exposure out of consecutive short ones.

    Args:
        frames: (N, 3, H, W) in [0, 1], N odd, so that one of them is in the middle: the sharp image that belongs to it.
        response: a name of `RESPONSES`.

    Returns:
        (1, 3, H, W) in [0, 1].

    Raises:
        DataError: an even number of frames, or an unknown response.

    Examples:
        >>> frames = torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1)
        >>> bool(torch.allclose(average_frames(frames), torch.tensor((1 / 3) ** (1 / 2.2))))
        True
    """
    _check_window(len(frames))
    curve = _response(response)
    return curve.encode(curve.decode(frames.clamp(0, 1)).mean(0, keepdim=True)).clamp(0, 1)


def average_clips(
    clips: Path,
    output: Path,
    *,
    window: int = 7,
    stride: int | None = None,
    response: str = "gamma",
    limit: int | None = None,
    watch: Callable[[str], None] | None = None,
) -> int:
    """Write blurred and sharp images of clips as PNG: `output/lq/NAME.png` and `output/gt/NAME.png`.

    A pair has the name of its middle frame, below the folder of its clip. Pairs that are there already are left alone,
    so an interrupted call is continued by the same call.

    Args:
        clips: a folder of frames, numbered in their order, or of such folders, at any depth.
        output: folder to write to; it is made.
        window: frames of one exposure, odd. GoPro has 7 to 13 of 240 frames a second.
        stride: frames from one pair to the next; None for as many as the window, so that no frame is used twice.
        response: a name of `RESPONSES`.
        limit: how many pairs at most.
        watch: called with the name of each pair, new or there already.

    Returns:
        The number of pairs in `output` of these clips.

    Raises:
        DataError: no folder, no clip that is as long as the window, frames of several sizes, an even window, a stride
            that is no step forward, or an unknown response.
        ImageReadError: a frame cannot be read.
        ImageWriteError: a result cannot be written.

    Warns:
        A clip is left out that is shorter than the window.
    """
    _check_window(window)
    _response(response)
    stride = window if stride is None else stride
    if stride < 1:
        raise DataError(f"The stride from one averaged frame to the next is {stride}: expected at least 1.")
    names = [(name, frames) for clip in _clips(clips, output) for name, frames in _windows(clips, clip, window, stride)]
    if not names:
        raise DataError(
            f"No folder at or below '{clips}' holds {window} frames ({', '.join(IMAGE_SUFFIXES)}): name a folder of "
            "the numbered frames of a clip, or average fewer."
        )
    for name, frames in names[:limit]:
        _write_pair(frames, output / "gt" / f"{name}.png", output / "lq" / f"{name}.png", response)
        if watch is not None:
            watch(name)
    return len(names[:limit])


def _check_window(window: int) -> None:
    if window < 1 or window % 2 == 0:
        raise DataError(
            f"{window} frames were to be averaged: expected an odd number, whose middle frame is the sharp image; "
            f"take {max(window, 0) + 1}."
        )


def _response(name: str) -> Response:
    try:
        return RESPONSES[name]
    except KeyError:
        raise DataError(
            f"There is no camera response '{name}': known are {', '.join(RESPONSES)}; choose one of them."
        ) from None


def _clips(root: Path, output: Path) -> list[Path]:
    """The folders at and below the root, without those of the output, in the order of their names."""
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}' with the frames of a clip: name an existing one.")
    results = {(output / role).resolve() for role in ("gt", "lq")}
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    return sorted(folder for folder in folders if not results & {folder.resolve(), *folder.resolve().parents})


def _windows(root: Path, clip: Path, size: int, stride: int) -> list[tuple[str, list[Path]]]:
    """The name of every pair of a clip, and its frames."""
    frames = sorted((path for path in clip.iterdir() if _is_frame(path)), key=_in_order)
    twice = next((pair for pair in pairwise(frames) if pair[0].stem == pair[1].stem), None)
    if twice is not None:
        raise DataError(f"'{twice[0]}' and '{twice[1]}' are the same frame of a clip: keep one of them there.")
    if 0 < len(frames) < size:
        warnings.warn(f"'{clip}' holds {len(frames)} frames, fewer than {size}, and was left out.", stacklevel=3)
    starts = range(0, len(frames) - size + 1, stride)
    return [
        (frames[start + size // 2].relative_to(root).with_suffix("").as_posix(), frames[start : start + size])
        for start in starts
    ]


def _is_frame(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _in_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Numbers in names count as numbers: frame9 comes before frame10."""
    parts = re.findall(r"\d+|\D+", path.stem)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def _write_pair(frames: Sequence[Path], sharp: Path, blurred: Path, response: str) -> None:
    if sharp.is_file() and blurred.is_file():
        return
    middle = read_image(frames[len(frames) // 2])
    plain = Picture(middle.pixels, bit_depth=min(middle.bit_depth, 16))
    averaged = average_frames(torch.cat(_same_size(frames, plain.size)), response=response)
    for path, picture in ((sharp, plain), (blurred, with_pixels(plain, averaged))):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, picture)


def _same_size(frames: Sequence[Path], size: tuple[int, int]) -> list[Tensor]:
    images = []
    for path in frames:
        picture = read_image(path)
        if picture.size != size:
            raise DataError(
                f"'{path}' has {picture.size[1]}x{picture.size[0]} pixels, but other frames of its clip have "
                f"{size[1]}x{size[0]}: the frames of a clip must have one size; leave it out."
            )
        images.append(to_tensor(picture))
    return images
