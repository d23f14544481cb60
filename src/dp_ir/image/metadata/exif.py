"""EXIF: the orientation to apply, and what is carried on to the restored image.

A block is carried as it is, byte by byte; changed is what would not be true of the result: the orientation, which is
applied to the pixels and therefore reset to 1, the size, and the thumbnail, which goes. Tags that cannot be read, or
that point to what is not carried, are left out and named. The blocks of TIFF and RAW files, whose tags lie scattered
over the file, are put together from the same bytes.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dp_ir.image.metadata.directories import (
    INTEROP,
    LONG,
    SHORT,
    Directory,
    Entry,
    as_block,
    in_place,
    read_directory,
    tag_name,
)

PREFIX = b"Exif\0\0"
_ORIENTATION, _WIDTH, _HEIGHT, _PIXEL_X, _PIXEL_Y = 0x0112, 0x0100, 0x0101, 0xA002, 0xA003
_DESCRIPTION, _INTEROP_INDEX = 0x010E, 0x0001
_ARRAY = b'{"shape": ['  # how tifffile describes what it stores
_SWAPPED = {0x011A: 0x011B, 0x011B: 0x011A, 0xA20E: 0xA20F, 0xA20F: 0xA20E}  # resolutions, along x and y
_POINTING = (0x0111, 0x0117, 0x0144, 0x0145, 0x014A, 0x0201, 0x0202)  # strips, tiles, further directories, thumbnail
_CONTENTS = {0x0111: 0x0117, 0x0144: 0x0145, 0x0201: 0x0202}  # where contents lie, and their bytes

STORAGE = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 277, 278, 279, 280, 281, 284, 288, 289, 290, 291),
        *(292, 293, 301, 317, 320, 321, 322, 323, 324, 325, 326, 327, 328, 330, 332, 333, 334, 336, 338, 339, 340, 341),
        *(342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 532),
    }
)
"""Tags of a TIFF's main directory that say how its pixels are stored."""

SEPARATE = frozenset({700, 33723, 34377, 34675})
"""Tags of a TIFF's main directory that hold XMP, IPTC, Photoshop's resources and the colour profile."""

_BOUND = frozenset({33550, 33922, 34264, 34735, 34736, 34737, 37724, 52545})
"""What holds for the pixels of the source only: places on a map, layers, signatures of the content."""

# Of a RAW file: title, camera, software, date, author, resolution, rating, exposure, lens; the rest is of the sensor.
_OF_RAW = (
    *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298, 0x011A, 0x011B, 0x0128, 0x4746, 0x4749),
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0x829A, 0x829D, 0x8822, 0x8827, 0x9003, 0x9004, *range(0x9201, 0x920B)),
    *(0xA405, *range(0xA430, 0xA436)),
)

Carried = tuple[bytes | None, list[str]]
"""A block, with its prefix, or None where there is nothing to carry; and what is left out, each in a few words."""


def directory_of(data: bytes) -> Directory:
    """The tags of a block, with or without its six-byte prefix; raises ValueError where it is damaged."""
    return read_directory(io.BytesIO(data.removeprefix(PREFIX)))


def orientation(data: bytes | None) -> int | None:
    """The orientation 1..8; None where there is none that is valid."""
    try:
        value = None if data is None else directory_of(data).number(_ORIENTATION)
    except ValueError:
        return None
    return value if value is not None and 1 <= value <= 8 else None


def upright(array: NDArray[Any], value: int) -> NDArray[Any]:
    """Turn an array (H, W, ...) stored with EXIF orientation `value` so that its first row is the top of the scene."""
    if value in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if value in (2, 3, 6, 7):
        array = array[:, ::-1]
    if value in (3, 4, 7, 8):
        array = array[::-1]
    return np.ascontiguousarray(array)


def says_adobe_rgb(data: bytes | None) -> bool:
    """Whether a camera marked its file as Adobe RGB the way DCF does: by interoperability index, without a profile."""
    try:
        directories = [] if data is None else [*directory_of(data).everywhere()]
    except ValueError:
        return False
    interop = [part.below[INTEROP] for part in directories if INTEROP in part.below]
    return any(e.tag == _INTEROP_INDEX and e.value.rstrip(b"\0 ") == b"R03" for part in interop for e in part.entries)


def carried_exif(data: bytes, *, turned: bool = False) -> Carried:
    """What is carried of a block.

    Args:
        data: the block, with or without its prefix.
        turned: whether what was the width of the source is the height of the picture.
    """
    block = data.removeprefix(PREFIX)
    try:
        directory = directory_of(block)
    except ValueError as error:
        return None, [f"the EXIF block, which is damaged ({error})"]
    gone = _thumbnail(block, directory)
    lost = directory.lost + [
        f"the EXIF tag {tag_name(entry.tag)}, which points to what is not carried"
        for entry in directory.entries
        if entry.tag in _POINTING
    ]
    lost += _leave_bound(directory)
    directory.entries = [entry for entry in directory.entries if entry.tag not in _POINTING]
    _turn(directory, turned)
    return PREFIX + in_place(block, directory, gone), lost


def exif_of_tiff(file: BinaryIO, *, turned: bool = False) -> Carried:
    """What is carried of the main directory of a TIFF file."""
    try:
        directory = read_directory(file, skip=STORAGE | SEPARATE)
    except ValueError as error:
        return None, [f"the EXIF tags, which are damaged ({error})"]
    lost = directory.lost + _leave_bound(directory)
    directory.entries = [e for e in directory.entries if e.tag != _DESCRIPTION or not e.value.startswith(_ARRAY)]
    if not directory.entries and not directory.below:
        return None, lost
    _turn(directory, turned)
    return PREFIX + as_block(directory), lost


def exif_of_raw(file: BinaryIO, *, turned: bool = False) -> Carried:
    """What describes the photograph, rather than the sensor, in a RAW file that is built like a TIFF."""
    directory = read_directory(file, skip=STORAGE)
    lost = [text for text in directory.lost if "EXIF tag 0x" not in text]
    for tag, name in ((700, "XMP, which may say how to develop the RAW file"), (33723, "IPTC")):
        lost += [name for entry in directory.entries if entry.tag == tag]
    directory.entries = [entry for entry in directory.entries if entry.tag in _OF_RAW]
    _turn(directory, turned)
    return PREFIX + as_block(directory), lost


def exif_for_size(data: bytes | None, width: int, height: int) -> bytes | None:
    """The carried block with its records of the image size, where it has some, brought up to date."""
    if data is None:
        return None
    block = data.removeprefix(PREFIX)
    directory = directory_of(block)
    for part in directory.everywhere():
        sizes = {_WIDTH: width, _HEIGHT: height, _PIXEL_X: width, _PIXEL_Y: height}
        part.entries = [
            _whole_number(part, entry, sizes[entry.tag]) if entry.tag in sizes else entry for entry in part.entries
        ]
    return data[: len(data) - len(block)] + in_place(block, directory, [])


def within(data: bytes, limit: int) -> Carried:
    """The block in at most so many bytes, its largest values left out where need be."""
    if len(data) <= limit:
        return data, []
    directory, lost = directory_of(data), list[str]()
    while len(block := PREFIX + as_block(directory)) > limit:
        parts = [part for part in directory.everywhere() if part.entries]
        if not parts:
            return None, ["the EXIF block, which is too large"]
        part = max(parts, key=lambda part: max(len(entry.value) for entry in part.entries))
        largest = max(part.entries, key=lambda entry: len(entry.value))
        part.entries.remove(largest)
        lost.append(f"the EXIF tag {tag_name(largest.tag)}, whose {len(largest.value)} bytes are too many here")
    return block, lost


def _whole_number(part: Directory, entry: Entry, value: int) -> Entry:
    return Entry(entry.tag, LONG, 1, value.to_bytes(4, part.byte_order))


def _turn(directory: Directory, turned: bool) -> None:
    """Say that the image is upright, where the block speaks of that, and swap what holds along x and along y."""
    for part in directory.everywhere():
        one = b"\1\0" if part.order == "<" else b"\0\1"
        part.entries = [
            Entry(entry.tag, SHORT, 1, one) if entry.tag == _ORIENTATION and part is directory else entry
            for entry in part.entries
        ]
        if turned:
            part.entries = [entry._replace(tag=_SWAPPED.get(entry.tag, entry.tag)) for entry in part.entries]


def _leave_bound(directory: Directory) -> list[str]:
    bound = [entry for entry in directory.entries if entry.tag in _BOUND]
    directory.entries = [entry for entry in directory.entries if entry.tag not in _BOUND]
    return [f"the tag {tag_name(entry.tag)}, which holds for the old pixels only" for entry in bound]


def _thumbnail(block: bytes, directory: Directory) -> list[tuple[int, int]]:
    """Where the thumbnail of a block lies, with all that describes it."""
    if not directory.following:
        return []
    head = block[:4] + directory.following.to_bytes(4, directory.byte_order)
    try:
        described = read_directory(io.BytesIO(head + block[8:]))
    except ValueError:
        return []
    gone = [described.place, *((e.place, len(e.value)) for e in described.entries if e.place >= 0)]
    for start, count in _CONTENTS.items():
        place, size = described.number(start), described.number(count)
        if place and size and place > 0 and size > 0:
            gone.append((place, size))
    return gone
