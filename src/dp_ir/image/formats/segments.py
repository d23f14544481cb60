"""Segments of JPEG files beside the pixels: read into metadata, and written from it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dp_ir.image.metadata.exif import PREFIX
from dp_ir.image.metadata.metadata import XMP_SEGMENT, Metadata, gathered
from dp_ir.image.metadata.resolution import Resolution
from dp_ir.image.metadata.xmp import GAIN_MAP

LONGEST = 65533
"""Bytes of a segment."""

_XMP_EXTENSION, _PHOTOSHOP, _JFIF = b"http://ns.adobe.com/xmp/extension/\0", b"Photoshop 3.0\0", b"JFIF\0"
_APP0, _APP1, _APP2, _APP11, _APP13, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xEF, 0xFE
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# What says how the file is stored: thumbnails beside JFIF, profiles, pointers to pictures behind, marks of programs.
_STORAGE = ((_APP0, b""), (_APP2, b"ICC_PROFILE\0"), (_APP2, b"MPF\0"), (0xEC, b"Ducky"), (0xEE, b"Adobe"))
_FOR_DECODER = ((_APP2, b"ICC_PROFILE\0"), (0xEE, b"Adobe"))
_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
_GAIN_MAPS = (b"hdr-gain-map", b"HDRGainMap", _ISO_GAIN_MAP)
_VIDEO = re.compile(rb"\0\0\0.ftyp", re.DOTALL)
_UNITS = {1: "inch", 2: "cm"}
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")


def jpeg_metadata(data: bytes, name: str) -> tuple[Metadata, int]:
    """The metadata of a JPEG file, and the orientation that is to be undone."""
    exif = xmp = resolution = None
    resources, comments, lost = b"", list[bytes](), list[str]()
    for marker, body, _ in _segments(data):
        if marker == _APP1 and body.startswith(PREFIX[:5]):
            more = body[len(PREFIX) :]
            if exif is None:
                exif = more
            elif more[:2] in (b"II", b"MM"):
                lost.append("a second EXIF block")
            else:  # a block that takes more than one segment
                exif += more
        elif marker == _APP1 and body.startswith(XMP_SEGMENT):
            if xmp is None:
                xmp = body[len(XMP_SEGMENT) :]
            else:
                lost.append("a second XMP packet")
        elif marker == _APP1 and body.startswith(_XMP_EXTENSION):
            lost.append("extended XMP")
        elif marker == _APP13 and body.startswith(_PHOTOSHOP):
            resources += body[len(_PHOTOSHOP) :]
        elif marker == _COMMENT:
            comments.append(body)
        elif marker == _APP0 and body.startswith(_JFIF) and len(body) >= 12:
            across, down = (int.from_bytes(body[at : at + 2], "big") for at in (8, 10))
            resolution = Resolution(across, down, _UNITS.get(body[7], ""))
        elif marker == _APP2 and body.startswith(_ISO_GAIN_MAP):
            lost.append(GAIN_MAP)
        elif not any(marker == number and body.startswith(start) for number, start in _STORAGE):
            lost.append(_named(marker, body))
    lost += _behind(data, xmp or b"")
    return gathered(
        name,
        exif=exif,
        xmp=xmp,
        resources=resources or None,
        resolution=resolution,
        comments=comments,
        lost=lost,
    )


def without_metadata(data: bytes) -> bytes:
    """A JPEG file with what its decoder needs alone, so that nothing damaged beside the pixels keeps it from them."""
    pieces, end = list[bytes](), 0
    for marker, body, start in _segments(data):
        pieces.append(data[end:start])
        end = start + 4 + len(body)
        jfif = marker == _APP0 and body.startswith(_JFIF) and len(body) >= 14
        if jfif or any(marker == number and body.startswith(mark) for number, mark in _FOR_DECODER):
            pieces.append(data[start:end])
    return b"".join([*pieces, data[end:]])


def with_segments(data: bytes, metadata: Metadata) -> bytes:
    """A JPEG file, from its encoder with a JFIF segment, with metadata."""
    end = 4 + int.from_bytes(data[4:6], "big")
    jfif = bytearray(data[:end])
    if metadata.resolution is not None:
        jfif[13] = 1 if metadata.resolution.unit else 0
        jfif[14:18] = b"".join(number.to_bytes(2, "big") for number in metadata.resolution.per("inch"))
    segments = [] if metadata.exif is None else [(_APP1, metadata.exif)]
    if metadata.xmp is not None:
        segments.append((_APP1, XMP_SEGMENT + metadata.xmp))
    resources, most = metadata.resources or b"", LONGEST - len(_PHOTOSHOP)
    segments += [(_APP13, _PHOTOSHOP + resources[at : at + most]) for at in range(0, len(resources), most)]
    segments += [(_COMMENT, comment) for comment in metadata.comments]
    written = (b"\xff" + bytes([marker]) + (len(body) + 2).to_bytes(2, "big") + body for marker, body in segments)
    return b"".join([bytes(jfif), *written, data[end:]])


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Application segments and comments before the pixels: marker, content and first byte."""
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        length = int.from_bytes(data[position : position + 2], "big")
        if _APP0 <= marker <= _APP15 or marker == _COMMENT:
            yield marker, data[position + 2 : position + length], found.start()
        position += length


def _named(marker: int, body: bytes) -> str:
    if marker == _APP11 and body.startswith(b"JP"):
        return "content credentials (JUMBF), which hold for the old file only"
    name = body[:32].partition(b"\0")[0].decode("ascii", "replace")
    return f"the segment APP{marker - _APP0} {name!r}"


def _behind(data: bytes, xmp: bytes) -> list[str]:
    """What lies behind the end of the photo, in a few words; its XMP may say."""
    position = 2
    while found := _MARKER.search(data, position):
        position = found.end()
        if found[1][0] == _END_OF_IMAGE:
            break
        position += int.from_bytes(data[position : position + 2], "big")
    rest = data[position:].rstrip(b"\0") if found else b""
    words = []
    if b"\xff\xd8\xff" in rest:
        is_gain_map = any(mark in part for mark in _GAIN_MAPS for part in (rest, xmp))
        words.append(GAIN_MAP if is_gain_map else "the further pictures in its file")
    if _VIDEO.search(rest):
        words.append("the video in its file")
    return words or ([f"{len(rest)} bytes behind the photo"] if rest else [])
