"""What an AVIF file says of its image beside the pixels (ISO/IEC 23008-12, MIAF): nothing is decoded here."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from dp_ir.image.formats.boxes import Box, boxes, content_of

_MOST_HEADER = 1 << 26  # bytes; EXIF and XMP may lie in it
_TURNS = (1, 8, 3, 6)  # the EXIF orientations of quarter turns anticlockwise
_MIRRORED = {1: (4, 2), 8: (5, 7), 3: (2, 4), 6: (7, 5)}  # then top and bottom, or left and right, exchanged


@dataclass
class AvifHeader:
    """What the header of an AVIF file says of its main image.

    Args:
        size: (width, height) as it is stored.
        bits: per sample, 8, 10 or 12.
        orientation: 1..8, that is to be undone.
        icc_profile: the profile, or None.
        numbers: of its colours, primaries and transfer function by ITU-T H.273; None where it names none.
        exif: place and length of the EXIF block, behind the four bytes that come before it; None where there is none.
        xmp: place and length of the XMP packet; likewise.
        frames: of a sequence; 1 for a single image.
        cropped: whether only a part of the pixels is to be shown.
        gain_map: whether there is one.
    """

    size: tuple[int, int]
    bits: int = 8
    orientation: int = 1
    icc_profile: bytes | None = None
    numbers: tuple[int, int] | None = None
    exif: tuple[int, int] | None = None
    xmp: tuple[int, int] | None = None
    frames: int = 1
    cropped: bool = False
    gain_map: bool = False


@dataclass
class _Items:
    """The items of a file: images, and what belongs to them."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)

    def of_kind(self, kind: bytes) -> tuple[int, int] | None:
        """Where the first item of a kind lies."""
        return next(
            (self.places[item] for item, found in self.kinds.items() if found == kind and item in self.places), None
        )


def avif_header(file: BinaryIO) -> AvifHeader:
    """Read the header of an AVIF file.

    Raises:
        EOFError: the file ends within it.
        ValueError: it contradicts its format.
    """
    items, frames = None, 1
    for box in boxes(file):
        if box.kind == b"meta" and items is None:
            items = _items(file, box)
        elif box.kind == b"moov":
            frames = max(_frames(file, box), 1)
        elif box.kind == b"mdat" and items is not None and frames > 1:
            break
    if items is None:
        raise ValueError("it is a film without a still image")
    return _described(file, items, frames)


def _described(file: BinaryIO, items: _Items, frames: int) -> AvifHeader:
    found = [
        items.properties[index - 1]
        for index in items.owned.get(items.primary, ())
        if 0 < index <= len(items.properties)
    ]
    size = next((struct.unpack(">II", body[4:12]) for kind, body in found if kind == b"ispe" and len(body) >= 12), None)
    if size is None:
        raise ValueError("its main image has no size")
    header = AvifHeader(size, frames=frames, gain_map=b"tmap" in items.kinds.values())
    depth = next((body for kind, body in (*found, *items.properties) if kind == b"av1C" and len(body) >= 4), None)
    if depth is None:
        raise ValueError("its main image has no AV1 configuration")
    header.bits = (12 if depth[2] & 0x20 else 10) if depth[2] & 0x40 else 8
    for kind, body in found:
        if kind == b"colr" and body[:4] in (b"prof", b"rICC"):
            header.icc_profile = body[4:]
        elif kind == b"colr" and body[:4] == b"nclx" and len(body) >= 10:
            primaries, transfer = struct.unpack(">HH", body[4:8])
            header.numbers = primaries, transfer
        elif kind == b"irot" and body:
            header.orientation = _TURNS[body[0] & 3]
        elif kind == b"clap":
            header.cropped = True
    mirror = next((body[0] & 1 for kind, body in found if kind == b"imir" and body), None)
    if mirror is not None:
        header.orientation = _MIRRORED[header.orientation][mirror]
    exif = items.of_kind(b"Exif")
    if exif is not None and exif[1] > 4:
        file.seek(exif[0])
        before = 4 + int.from_bytes(file.read(4), "big")
        if before < exif[1]:
            header.exif = exif[0] + before, exif[1] - before
    header.xmp = items.of_kind(b"XMP")
    return header


def _items(file: BinaryIO, meta: Box) -> _Items:
    if meta.end - meta.start > _MOST_HEADER:
        raise ValueError(f"its header takes more than {_MOST_HEADER} bytes")
    items = _Items()
    parts = {box.kind: box for box in boxes(file, meta.start + 4, meta.end)}
    if b"pitm" in parts:
        body = content_of(file, parts[b"pitm"])
        items.primary = int.from_bytes(body[4 : 6 if body[0] == 0 else 8], "big")
    if b"iinf" in parts:
        items.kinds = dict(_kinds(file, parts[b"iinf"]))
    if b"iloc" in parts:
        inside = parts[b"idat"].start if b"idat" in parts else 0
        items.places = dict(_places(content_of(file, parts[b"iloc"]), inside))
    if b"iprp" in parts:
        for box in boxes(file, parts[b"iprp"].start, parts[b"iprp"].end):
            if box.kind == b"ipco":
                items.properties = [(part.kind, content_of(file, part)) for part in boxes(file, box.start, box.end)]
            elif box.kind == b"ipma":
                items.owned |= _owned(content_of(file, box))
    return items


def _kinds(file: BinaryIO, box: Box) -> Iterator[tuple[int, bytes]]:
    """Items with their types; an XMP packet is one of the type mime."""
    file.seek(box.start)
    start = box.start + (6 if file.read(1) == b"\0" else 8)
    for entry in boxes(file, start, box.end):
        body = content_of(file, entry)
        if entry.kind != b"infe" or body[0] < 2:
            continue
        wide = 4 if body[0] > 2 else 2
        kind, rest = body[6 + wide : 10 + wide], body[10 + wide :]
        if kind == b"mime" and rest.split(b"\0")[1:2] == [b"application/rdf+xml"]:
            kind = b"XMP"
        yield int.from_bytes(body[4 : 4 + wide], "big"), kind


def _places(body: bytes, inside: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Items with place and length; of those in several pieces only the first."""
    stream = io.BytesIO(body)
    version = _number(stream, 1)
    _number(stream, 3)
    sizes = _number(stream, 2)
    of_offset, of_length, of_base, of_index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    for _ in range(_number(stream, wide)):
        item = _number(stream, wide)
        method = _number(stream, 2) & 15 if version else 0
        _number(stream, 2)
        base, pieces = _number(stream, of_base), list[tuple[int, int]]()
        for _ in range(_number(stream, 2)):
            _number(stream, of_index if version else 0)
            pieces.append((_number(stream, of_offset), _number(stream, of_length)))
        if len(pieces) == 1 and method < 2:
            yield item, (base + pieces[0][0] + (inside if method == 1 else 0), pieces[0][1])


def _owned(body: bytes) -> dict[int, list[int]]:
    """Items with the numbers, from 1, of their properties."""
    stream, owned = io.BytesIO(body), dict[int, list[int]]()
    version, flags = _number(stream, 1), _number(stream, 3)
    for _ in range(_number(stream, 4)):
        item = _number(stream, 4 if version else 2)
        wide = 2 if flags & 1 else 1
        owned[item] = [_number(stream, wide) & (0x7FFF if wide == 2 else 0x7F) for _ in range(_number(stream, 1))]
    return owned


def _number(stream: BinaryIO, count: int) -> int:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError("it ends within its header")
    return int.from_bytes(data, "big")


def _frames(file: BinaryIO, box: Box) -> int:
    """How many samples the tracks of a film have at most."""
    most = 0
    for part in boxes(file, box.start, box.end):
        if part.kind in (b"trak", b"mdia", b"minf", b"stbl"):
            most = max(most, _frames(file, part))
        elif part.kind == b"stsz":
            most = max(most, int.from_bytes(content_of(file, part)[8:12], "big"))
    return most
