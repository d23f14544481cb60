"""RAW files of cameras: from a file to a linear mosaic in one phase, with what is needed to show it.

LibRaw, through rawpy, knows the makers' formats; here its values are brought to one scale (black at 0, white at 1) and
one phase (RGGB), which is what every burst is restored from.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dp_ir.errors import ImageReadError
from dp_ir.extras import require
from dp_ir.image.files.headers import MAX_PIXELS, check_bytes, check_size
from dp_ir.image.formats.segments import jpeg_metadata
from dp_ir.image.metadata.exif import Carried, directory_of, exif_of_raw
from dp_ir.image.metadata.metadata import Metadata, gathered
from dp_ir.image.raw.burst import pack
from dp_ir.image.raw.camera import Camera

RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef", ".mos", ".mrw"),
    *(".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
)
"""Suffixes of the files that are looked for as RAW frames; in lower case, with their dot."""

_MAKE, _MODEL = 271, 272
_RAF = b"FUJIFILMCCD-RAW"
_UPRIGHT = {  # LibRaw's flip: 1 mirrors left to right, 2 top to bottom, 4 swaps rows and columns, in this order
    0: (0, False),
    1: (0, True),
    2: (2, True),
    3: (2, False),
    4: (1, True),
    5: (1, False),
    6: (3, False),
    7: (3, True),
}


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame, with what its file says of it.

    Args:
        planes: (4, h, w), float32 in [0, 1]: the linear mosaic, packed R, G, G, B.
        camera: how sensor RGB is shown.
        turns: quarter turns, counter-clockwise, that make it upright, after it has been mirrored.
        mirrored: whether it is mirrored left to right first.
        maker: maker and model of the camera; empty where the file does not tell.
        phase: the colours of the sensor's first four pixels, row by row, such as "GBRG".
        exposure: exposure time times sensitivity, in units that are the same for all frames of a camera; 0: not known.
        metadata: EXIF that describes the photograph.
        notes: what the file does not say and what was assumed instead, each in half a sentence.
    """

    planes: Tensor
    camera: Camera
    turns: int = 0
    mirrored: bool = False
    maker: str = ""
    phase: str = "RGGB"
    exposure: float = 0.0
    metadata: Metadata = field(default_factory=Metadata)
    notes: tuple[str, ...] = ()


def read_raw(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Frame:
    """Read the visible area of a RAW file.

    Any of the four Bayer phases is cut to begin with red: by a row, a column or both, and to whole cells of 2x2 pixels.
    White balance is as shot, scaled so that no channel is dimmed and green stays as it is unless it would. Each channel
    is clipped where white balance makes it white: what is overexposed then has no colour, as in every camera's photos.

    Args:
        path: the file, of any maker that LibRaw knows.
        max_pixels: limit on width times height, checked on the header before anything is decoded; files of more bytes
            than so many pixels can take are not read at all.

    Raises:
        ImageReadError: damaged or of an unknown camera; not a Bayer mosaic (X-Trans, Foveon, monochrome, linear DNG);
            more than `max_pixels`.
        MissingExtraError: the extra `raw` is not installed.
    """
    rawpy = require("rawpy", "Reading RAW files", "raw")
    source = Path(path)
    try:
        check_bytes(str(source), source.stat().st_size, max_pixels, "is a file of")
        with source.open("rb") as file, rawpy.imread(file) as raw:  # a file, since LibRaw takes only names in UTF-8
            check_size(str(source), raw.sizes.raw_width, raw.sizes.raw_height, max_pixels)
            return _frame(raw, source, max_pixels)
    except (ImageReadError, MemoryError):
        raise
    except Exception as error:  # LibRaw's errors carry bytes, and damage surfaces as errors of other types too
        found = error.args[0] if error.args else type(error).__name__
        reason = found.decode(errors="replace") if isinstance(found, bytes) else " ".join(str(found).split())
        raise ImageReadError(
            f"'{source}' cannot be read as RAW data ({reason}), expected a complete file of a camera that LibRaw "
            "knows: copy it again, or convert it to DNG."
        ) from error


def _frame(raw: Any, source: Path, max_pixels: int) -> Frame:
    colours = _bayer(raw, source)
    phase = "".join(raw.color_desc.decode()[colour] for colour in colours.flat)
    row, column = divmod(phase.index("R"), 2)
    sensor = raw.raw_image_visible[row:, column:]
    height, width = (side - side % 2 for side in sensor.shape)
    check_size(str(source), width, height, max_pixels)
    cell = np.roll(colours, (-row, -column), (0, 1)).ravel()  # colour indices of R, G, G, B
    black = np.asarray(raw.black_level_per_channel, np.float32)[cell]
    span = raw.white_level - black
    if (span <= 0).any():
        raise ImageReadError(
            f"'{source}' says that black is {black.max():g} and white {raw.white_level}, expected white above black: "
            "convert it to DNG with its maker's program."
        )
    values = torch.from_numpy(sensor[:height, :width].astype(np.float32))
    planes = (pack(values) - torch.from_numpy(black)[:, None, None]) / torch.from_numpy(span)[:, None, None]
    gains, balance_note = _gains(raw)
    whites = 1 / gains[[0, 1, 1, 2], None, None]
    matrix, matrix_note = _matrix(raw)
    turns, mirrored = _UPRIGHT.get(raw.sizes.flip, (0, False))
    metadata = metadata_of_raw(source, turned=turns % 2 == 1)
    return Frame(
        planes.clamp_min(0).minimum(whites),
        Camera(gains, matrix),
        turns,
        mirrored,
        maker=_maker(metadata.exif),
        phase=phase,
        exposure=raw.other.shutter_speed * (raw.other.iso_speed or 1.0),
        metadata=metadata,
        notes=tuple(note for note in (balance_note, matrix_note) if note),
    )


def _bayer(raw: Any, source: Path) -> NDArray[np.uint8]:
    """The colour indices (2, 2) of the cells of the mosaic; refuses everything but the four Bayer phases."""
    pattern = raw.raw_pattern if raw.raw_type.name == "Flat" else None
    if pattern is None:
        found = "pixels that hold all colours"
    elif pattern.shape != (2, 2):
        found = f"a mosaic that repeats after {pattern.shape[1]}x{pattern.shape[0]} pixels"
    else:
        names = [raw.color_desc.decode()[colour] for colour in pattern.flat]
        diagonals = sorted("".join(sorted(names[corner] for corner in pair)) for pair in ((0, 3), (1, 2)))
        if diagonals == ["BR", "GG"]:
            return np.asarray(pattern, np.uint8)
        found = f"a mosaic of {''.join(names)}"
    raise ImageReadError(
        f"'{source}' has {found}, expected a Bayer mosaic (RGGB, BGGR, GRBG or GBRG): develop such photos with another "
        "program and restore the results as images."
    )


def _gains(raw: Any) -> tuple[Tensor, str]:
    """White balance (3,), and a note where it is not the camera's own choice."""
    balance, note = np.asarray(raw.camera_whitebalance[:3], np.float64), ""
    if not (np.isfinite(balance) & (balance > 0)).all():
        balance, note = (
            np.asarray(raw.daylight_whitebalance[:3], np.float64),
            "no white balance, so daylight is assumed",
        )
    if not (np.isfinite(balance) & (balance > 0)).all():
        balance = np.ones(3)
    gains = balance / balance[1]
    return torch.from_numpy((gains / min(1.0, gains.min())).astype(np.float32)), note


def _matrix(raw: Any) -> tuple[Tensor, str]:
    """White-balanced sensor RGB to linear sRGB (3, 3), and a note where the file and LibRaw know none."""
    matrix = np.asarray(raw.color_matrix, np.float64)[:, :3]
    rows = matrix.sum(1, keepdims=True)
    unknown = not np.isfinite(matrix).all() or (np.abs(rows) < 1e-3).any() or np.array_equal(matrix, np.eye(3))
    if unknown or abs(np.linalg.det(matrix / rows)) < 1e-3:
        return torch.eye(
            3, dtype=torch.float32
        ), "no colour matrix, so the sensor's colours are taken for those of sRGB"
    return torch.from_numpy((matrix / rows).astype(np.float32)), ""


def metadata_of_raw(source: Path, *, turned: bool) -> Metadata:
    """EXIF of a file that is built like a TIFF, as most RAW files are, or that has it in a JPEG (RAF)."""
    with source.open("rb") as file:
        head = file.read(92)
        try:
            carried: Carried = exif_of_raw(file, turned=turned)
        except ValueError as error:
            carried = None, [f"EXIF, which cannot be found in this kind of RAW file ({error})"]
            if head.startswith(_RAF) and len(head) == 92:
                file.seek(int.from_bytes(head[84:88], "big"))
                preview, _ = jpeg_metadata(file.read(int.from_bytes(head[88:92], "big")), source.name)
                carried = preview.exif, []
    return gathered(source.name, carried=carried, turn=1)[0]


def _maker(exif: bytes | None) -> str:
    """Maker and model, where EXIF states them."""
    entries = [] if exif is None else directory_of(exif).entries
    texts = {entry.tag: entry.value.decode("latin-1").strip("\0 ") for entry in entries}
    return " ".join(texts[tag] for tag in (_MAKE, _MODEL) if tag in texts)
