"""The files of SyntheticBurst, the validation set of "Deep Burst Super-Resolution" (Bhat et al., CVPR 2021).

    bursts/0000/im_raw_00.png, im_raw_01.png, ...    mosaics packed into four planes (R, G, G, B)
    gt/0000/im_rgb.png                               the true image, linear sensor RGB, eight times as wide as a plane
    gt/0000/meta_info.json                           how it is shown: the camera's gains and matrix

Both kinds of PNG hold 16 bits, with white at 2**14. They were written with OpenCV from arrays in the order of the
planes, and OpenCV takes the first for blue: in the files the first and the third plane have changed places. As
published, the metadata lie in a pickle, which could run code and is never opened; sets written here have JSON instead.
"""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from torch import Tensor

from dp_ir.errors import DataError, DPIRError, ImageWriteError
from dp_ir.image.files.writing import write_whole
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.image.raw.mosaic_files import png_values

SCALE = 8
"""Side of the truth / side of a plane: 4x super-resolution of a mosaic with twice the sides of its planes."""

METADATA = "meta_info.json"

_WHITE = 2**14
_PLACES = [2, 1, 0, 3]  # of the planes in the files, and of those in the files among the planes


def read_frame(path: Path) -> Tensor:
    """One frame, (1, 1, 4, h, w) float32 RGGB in [0, 1], linear; raises DataError."""
    return _planes(path, 4)[None]


def read_truth(path: Path) -> Tensor:
    """The true image, (1, 3, H, W) float32 linear sensor RGB in [0, 1]; raises DataError."""
    return _planes(path, 3)


def read_camera(truth: Path) -> Camera | None:
    """The camera whose metadata lie beside a true image; None where they do not; raises DataError for damaged ones."""
    path = truth.with_name(METADATA)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        gains, matrix = torch.tensor(content["gains"]).float(), torch.tensor(content["matrix"]).float()
        return Camera(gains, matrix)
    except (OSError, ValueError, TypeError, KeyError, DPIRError) as error:
        raise DataError(
            f"'{path}' does not describe a camera ({' '.join(str(error).split())}), expected JSON with three gains and "
            "a matrix of 3x3: make the burst again."
        ) from error


def write_synthetic_burst(root: Path, name: str, burst: Burst, truth: Tensor) -> None:
    """Write a burst and its true image as SyntheticBurst has them; the metadata come last, when all else is there.

    Args:
        root: folder of the set.
        name: of the burst in it.
        burst: frames (N, 4, h, w) and camera.
        truth: (1, 3, 8 h, 8 w), linear sensor RGB; what leaves [0, 1] is clipped.

    Raises:
        ImageWriteError: a file cannot be written.
    """
    frames, target = root / "bursts" / name, root / "gt" / name
    for number, frame in enumerate(burst.frames):
        _write(frames / f"im_raw_{number:02d}.png", _png(frame))
    _write(target / "im_rgb.png", _png(truth[0]))
    shown = {"gains": burst.camera.gains.tolist(), "matrix": burst.camera.matrix.tolist()}
    _write(target / METADATA, json.dumps(shown, indent=1).encode())


def has_synthetic_burst(root: Path, name: str) -> bool:
    """Whether `write_synthetic_burst` has written all of a burst."""
    return (root / "gt" / name / METADATA).is_file()


def _planes(path: Path, channels: int) -> Tensor:
    values = png_values(path, f"a 16-bit PNG with {channels} channels")
    if values.dtype != np.uint16 or values.ndim != 3 or values.shape[-1] != channels:
        found = values.shape[-1] if values.ndim == 3 else 1
        raise DataError(
            f"'{path}' has {found} channels of {values.dtype}, expected {channels} of uint16 as in SyntheticBurst; "
            "use the files as they were published."
        )
    if values.max(initial=0) > _WHITE:
        raise DataError(
            f"'{path}' holds the value {values.max()}, expected at most {_WHITE}, which is white in SyntheticBurst; "
            "use the files as they were published."
        )
    planes = np.moveaxis(values[..., _PLACES[:channels]], -1, 0).astype(np.float32) / _WHITE
    return torch.from_numpy(np.ascontiguousarray(planes))[None]


def _png(planes: Tensor) -> bytes:
    """Planes (C, h, w) in [0, 1], C = 3 or 4, as a file."""
    levels = (planes.detach().cpu().clamp(0, 1) * _WHITE).round().numpy().astype(np.uint16)
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(np.moveaxis(levels[_PLACES[: len(levels)]], 0, -1))))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageWriteError(
            f"The folder '{path.parent}' cannot be made ({error.strerror or error}): name another one for the set."
        ) from error
    write_whole(path, data)
