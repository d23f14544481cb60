"""Photoshop's image resources, which hold IPTC in JPEG and TIFF files."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_IPTC = 0x0404
# What is kept elsewhere (profile, EXIF, XMP), or holds for the old pixels only: layers, guides, thumbnails, slices.
_LEFT_OUT = frozenset({0x040F, 0x0422, 0x0423, 0x0424, 0x0400, 0x0402, 0x0408, 0x0409, 0x040C, 0x041A})
_NAMED = frozenset({0x0408, 0x041A})


def carried_resources(data: bytes) -> tuple[bytes | None, list[str]]:
    """What is carried of resources, and what is left out, each in a few words."""
    kept, end, lost = bytearray(), 0, list[str]()
    for number, start, end in _resources(data):
        if number not in _LEFT_OUT:
            kept += data[start:end]
        elif number in _NAMED:
            lost.append(f"the Photoshop resource 0x{number:04X}, which holds for the old pixels only")
    if data[end:].strip(b"\0"):
        lost.append("Photoshop resources (IPTC) that are damaged")
    return bytes(kept) or None, lost


def iptc_of(resources: bytes) -> bytes | None:
    """The IPTC records within resources."""
    for number, start, end in _resources(resources):
        if number == _IPTC:
            at = start + 6 + (resources[start + 6] + 2) // 2 * 2
            (size,) = struct.unpack_from(">I", resources, at)
            return resources[at + 4 : min(at + 4 + size, end)]
    return None


def resources_of(iptc: bytes) -> bytes:
    """Resources that hold nothing but IPTC records."""
    return b"8BIM" + struct.pack(">HHI", _IPTC, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def _resources(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Number, first byte and end of each resource."""
    at = 0
    while at + 12 <= len(data) and data[at : at + 4] in (b"8BIM", b"MeSa", b"PHUT", b"AgHg", b"DCSR"):
        (number,) = struct.unpack_from(">H", data, at + 4)
        sized = at + 6 + (data[at + 6] + 2) // 2 * 2  # behind its name
        if sized + 4 > len(data):
            return
        (size,) = struct.unpack_from(">I", data, sized)
        end = sized + 4 + size + size % 2
        if end > len(data) + 1:
            return
        yield number, at, min(end, len(data))
        at = end
