"""EXIF: the orientation to apply, and what is carried on to the restored image.

Carried are the tags that describe the photograph (camera, lens, exposure, place, date, author, resolution). Left behind
are the tags that describe the old file: its thumbnail, its storage layout and its orientation, which is applied to the
pixels and therefore reset to 1.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD, _INTEROP_IFD = 0x8769, 0x8825, 0xA005
_PIXEL_X, _PIXEL_Y, _INTEROP_INDEX = 0xA002, 0xA003, 0x0001
_CARRIED = frozenset(
    {
        *(_EXIF_IFD, _GPS_IFD),
        *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x013C, 0x8298),  # title, camera, software, date, author
        *(_ORIENTATION, 0x011A, 0x011B, 0x0128),  # orientation, resolution
        *(0x4746, 0x4749, 0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # ratings, titles as Windows writes them
    }
)


Tags = dict[int, Any]
"""Tags of the main directory by number; the EXIF, GPS and interoperability directories are dictionaries within."""


def tags_of(exif: Image.Exif) -> Tags:
    """All tags of a block that Pillow has opened, read now rather than on demand; a damaged block counts as empty."""
    try:
        tags: Tags = dict(exif.items())
        for tag in (_EXIF_IFD, _GPS_IFD):
            directory = dict(exif.get_ifd(tag))
            if directory.pop(_INTEROP_IFD, None) is not None and exif.get_ifd(_INTEROP_IFD):
                directory[_INTEROP_IFD] = dict(exif.get_ifd(_INTEROP_IFD))
            tags.pop(tag, None)
            if directory:
                tags[tag] = directory
        return tags
    except Exception:  # a damaged block must not stop the photograph, and parsers raise all sorts
        return {}


def parse_exif(data: bytes | None) -> Tags:
    """Parse an EXIF block (with or without its six-byte prefix); damaged ones count as empty."""
    exif = Image.Exif()
    try:
        exif.load(data or b"")
    except Exception:  # as in tags_of
        return {}
    return tags_of(exif)


def parse_tiff_exif(file: BinaryIO) -> Tags:
    """Parse the tags of the first directory of a TIFF file; damaged ones count as empty."""
    exif = Image.Exif()
    try:
        file.seek(0)
        exif.load_from_fp(file)
    except Exception:  # as in tags_of
        return {}
    return tags_of(exif)


def orientation(tags: Tags) -> int:
    """The orientation 1..8; anything absent or invalid counts as 1."""
    value = tags.get(_ORIENTATION, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(array: NDArray[Any], value: int) -> NDArray[Any]:
    """Turn an array (H, W, ...) stored with EXIF orientation `value` so that its first row is the top of the scene."""
    if value in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if value in (2, 3, 6, 7):
        array = array[:, ::-1]
    if value in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def says_adobe_rgb(tags: Tags) -> bool:
    """Whether a camera marked its file as Adobe RGB the way DCF does: by interoperability index, without a profile."""
    interop = tags.get(_EXIF_IFD, {}).get(_INTEROP_IFD, {})
    return str(interop.get(_INTEROP_INDEX, "")).rstrip("\0") == "R03"


def carried_exif(tags: Tags) -> bytes | None:
    """Serialise what is carried on, with orientation 1; None where nothing is left or it cannot be serialised."""
    kept = {tag: value for tag, value in tags.items() if tag in _CARRIED}
    try:
        return _serialised(kept | {_ORIENTATION: 1}) if kept else None
    except Exception:  # values of the wrong type surface only here, as errors of every type
        return None


def exif_for_size(data: bytes | None, width: int, height: int) -> bytes | None:
    """The carried block with its record of the image size, where it has one, brought up to date."""
    tags = parse_exif(data)
    if not tags.get(_EXIF_IFD, {}).keys() & {_PIXEL_X, _PIXEL_Y}:
        return data
    tags[_EXIF_IFD] |= {_PIXEL_X: width, _PIXEL_Y: height}
    return _serialised(tags)


def _serialised(tags: Tags) -> bytes:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()
