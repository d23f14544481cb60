"""Bursts from files: a folder of RAW frames, or of ordinary images where there is nothing better."""

from __future__ import annotations

import math
import os
import re
import warnings
from pathlib import Path

import torch

from dp_ir.errors import ImageReadError
from dp_ir.image.files.headers import MAX_PIXELS, check_size
from dp_ir.image.files.kinds import is_image_file
from dp_ir.image.files.reading import read_image
from dp_ir.image.picture.picture import to_tensor
from dp_ir.image.raw.burst import MAX_FRAMES, Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.image.raw.raw_files import RAW_SUFFIXES, Frame, read_raw

FRAMES = "RAW files (.dng, .cr2, .nef, .arw, ...) or images (.png, .jpg, .tif, .webp, ...)"
"""What can be a frame, in words."""

_SAME_EXPOSURE = 1.25  # a third of a stop, in which cameras count, and what their rounding adds


def frame_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The frames that lie directly in a folder, in the order of their names, numbers in them by value.

    RAW files are the frames where there are any; images beside them are the camera's own renderings of the same.
    Content tells what is an image, unless the suffix does.
    """
    files = [path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(".")]
    raw = [path for path in files if path.suffix.lower() in RAW_SUFFIXES]
    return sorted(raw or filter(is_image_file, files), key=_order)


def read_burst(source: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Burst:
    """Read a burst.

    The frames of RAW files are linear already. PNG, JPEG, TIFF and WebP frames are a fallback: their tone curve is
    undone as if `Camera.neutral` had rendered them, and they are cut down to one colour per pixel again, so that the
    same network restores them; what a camera's program sharpened, smoothed or compressed stays so.

    A frame that cannot be read is left out with a warning, unless fewer than two remain. So are those after the first
    `MAX_FRAMES`. A burst of one frame is given with a warning.

    Args:
        source: a folder with the frames directly in it, or one RAW file, which is a burst of one frame.
        max_pixels: limit on width times height of each frame.

    Raises:
        ImageReadError: no frames, or too few that can be read; frames of several sizes, cameras, Bayer phases or
            exposures.
        MissingExtraError: RAW files without the extra `raw`.
    """
    source = Path(source)
    files = _files(source)
    if len(files) > MAX_FRAMES:
        warnings.warn(f"{source} holds {len(files)} frames: the first {MAX_FRAMES} are used.", stacklevel=2)
    frames: dict[Path, Frame] = {}
    failures: list[ImageReadError] = []
    for path in files[:MAX_FRAMES]:
        try:
            frame = _read_frame(path, max_pixels)
        except ImageReadError as error:
            failures.append(error)
            continue
        for first_path, first in list(frames.items())[:1]:
            _check_alike(first, first_path, frame, path)
        frames[path] = frame
    if failures and len(frames) < 2:
        raise _too_few(source, len(frames), failures)
    for failure in failures:
        warnings.warn(f"Left out of the burst: {failure}", stacklevel=2)
    if len(frames) == 1:
        warnings.warn(
            f"{source} is a burst of one frame: several, in a folder, show more detail and less noise.", stacklevel=2
        )
    path, first = next(iter(frames.items()))
    for note in first.notes:
        warnings.warn(f"'{path}' states {note}.", stacklevel=2)
    planes = torch.stack([frame.planes for frame in frames.values()])
    return Burst(planes, first.camera, first.turns, first.mirrored, first.metadata)


def _order(path: Path) -> list[tuple[bool, int, str]]:
    parts = re.findall(r"\d+|\D+", path.name)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        if not source.exists():
            raise ImageReadError(f"'{source}' does not exist, expected a folder of frames: check the path.")
        if source.suffix.lower() not in RAW_SUFFIXES:
            raise ImageReadError(
                f"'{source}' is not a RAW file, expected one, or a folder that holds the frames of a burst: put the "
                "frames into a folder of their own and name that."
            )
        return [source]
    try:
        files = frame_files(source)
    except OSError as error:
        raise ImageReadError(f"The folder '{source}' cannot be read ({error.strerror}): check its rights.") from error
    if not files:
        raise ImageReadError(
            f"The folder '{source}' holds no frames, expected {FRAMES} directly in it: name the folder of the burst."
        )
    return files


def _read_frame(path: Path, max_pixels: int) -> Frame:
    if path.suffix.lower() in RAW_SUFFIXES:
        return read_raw(path, max_pixels=max_pixels)
    camera = Camera.neutral()
    picture = read_image(path, max_pixels=max_pixels)
    sensor = camera.sensor(to_tensor(picture))[0]
    height, width = (side - side % 2 for side in sensor.shape[-2:])
    check_size(str(path), width, height, max_pixels)
    red, green, blue = sensor[:, :height, :width]
    planes = torch.stack((red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]))
    return Frame(planes, camera, metadata=picture.metadata)


def _check_alike(first: Frame, first_path: Path, frame: Frame, path: Path) -> None:
    """Refuse a frame that cannot be of the same burst as the first."""
    advice = "keep the frames of one burst, and nothing else, in a folder."
    if frame.maker != first.maker:
        names = [one.maker or "an unknown camera" for one in (frame, first)]
        raise ImageReadError(f"'{path}' was taken by {names[0]}, but '{first_path}' by {names[1]}: {advice}")
    if frame.phase != first.phase:
        raise ImageReadError(
            f"'{path}' has the Bayer phase {frame.phase}, but '{first_path}' has {first.phase}: {advice}"
        )
    sizes = [f"{2 * one.planes.shape[-1]}x{2 * one.planes.shape[-2]}" for one in (frame, first)]
    if sizes[0] != sizes[1]:
        raise ImageReadError(f"'{path}' is {sizes[0]} pixels, but '{first_path}' is {sizes[1]}: {advice}")
    if not torch.allclose(frame.camera.matrix, first.camera.matrix, atol=1e-3):
        raise ImageReadError(
            f"'{path}' was taken by another camera than '{first_path}', with another colour matrix: {advice}"
        )
    if frame.exposure > 0 and first.exposure > 0:
        ratio = frame.exposure / first.exposure
        if abs(math.log(ratio)) > math.log(_SAME_EXPOSURE):
            raise ImageReadError(
                f"'{path}' is exposed {ratio:.3g} times as much as '{first_path}', expected the same exposure for all: "
                "leave out the frames of a bracketing series."
            )


def _too_few(source: Path, good: int, failures: list[ImageReadError]) -> ImageReadError:
    if good + len(failures) == 1:
        return failures[0]
    found = "Only one frame" if good else "No frame"
    return ImageReadError(f"{found} in '{source}' can be used, expected at least two: {failures[0]}")
