"""XMP packets, carried as they are but for what would not be true of the result: sizes, orientation, companions."""

from __future__ import annotations

import re
from xml.parsers import expat

_TIFF, _EXIF = b"http://ns.adobe.com/tiff/1.0/", b"http://ns.adobe.com/exif/1.0/"
_GAIN_MAPS = (b"http://ns.adobe.com/hdr-gain-map/1.0/", b"http://ns.apple.com/HDRGainMap/1.0/")
# What else speaks of data outside the packet, or beside the photo in its file, which are named where they are found.
_COMPANIONS = (
    *(b"http://ns.google.com/photos/1.0/container/", b"http://ns.google.com/photos/1.0/camera/"),
    b"http://ns.adobe.com/xmp/note/",
)
GAIN_MAP = "the gain map"


def orientation(packet: bytes | None) -> int | None:
    """The orientation 1..8 that a packet states; None where there is none."""
    packet = packet or b""
    for pattern in _patterns(packet, _TIFF, b"Orientation"):
        if (found := re.search(pattern, packet)) and 1 <= int(found[2][:9]) <= 8:
            return int(found[2])
    return None


def carried_xmp(packet: bytes) -> tuple[bytes | None, list[str]]:
    """What is carried of a packet, and what is left out, each in a few words."""
    try:
        packet.decode()
    except UnicodeDecodeError:
        return None, ["XMP, which is not in UTF-8"]
    if b"\0" in packet.rstrip(b"\0"):
        return None, ["XMP, which is not in UTF-8"]
    lost = [GAIN_MAP] if any(_prefixed(packet, space, rb"[\w.-]+") for space in _GAIN_MAPS) else []
    clean = _changed(packet, _TIFF, b"Orientation", 1)
    for space in (*_GAIN_MAPS, *_COMPANIONS):
        for name in _prefixed(clean, space, rb"[\w.-]+"):
            clean = re.sub(
                rb"<(%b)(\s[^<>]*[^<>/]|\s*)>.*?</\1\s*>|<%b(\s[^<>]*)?/>" % (name, name), b"", clean, flags=re.S
            )
            clean = re.sub(rb"\s%b\s*=\s*(\"[^\"]*\"|'[^']*')" % name, b"", clean)
    if _well_formed(packet) and not _well_formed(clean):
        return None, [*lost, "XMP, which names companions of the photo in a way that cannot be taken out"]
    return clean, lost


def xmp_for_size(packet: bytes, width: int, height: int) -> bytes:
    """The packet with its records of the image size, where it has some, brought up to date."""
    for space, across, down in (
        (_TIFF, b"ImageWidth", b"ImageLength"),
        (_EXIF, b"PixelXDimension", b"PixelYDimension"),
    ):
        packet = _changed(_changed(packet, space, across, width), space, down, height)
    return packet


def without_padding(packet: bytes) -> bytes:
    """The packet without the room that it leaves for editing in place."""
    return re.sub(rb"\s+(<\?xpacket end=)", rb"\n\1", packet)


def _patterns(packet: bytes, space: bytes, name: bytes) -> list[bytes]:
    """How a number may stand in a packet, as an attribute or as an element; its digits are the second group."""
    return [
        pattern % qualified
        for qualified in _prefixed(packet, space, name)
        for pattern in (rb"(\s%b\s*=\s*[\"']\s*)(\d+)", rb"(<%b\s*>\s*)(\d+)")
    ]


def _prefixed(packet: bytes, space: bytes, name: bytes) -> list[bytes]:
    """Names of a namespace that are used, as patterns with the prefix that the packet declares for it."""
    prefixes = re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']%b[\"']" % re.escape(space), packet)
    used = (re.findall(rb"[<\s](%b:%b)(?=[\s=>/])" % (re.escape(prefix), name), packet) for prefix in set(prefixes))
    return [re.escape(found) for names in used for found in dict.fromkeys(names)]


def _changed(packet: bytes, space: bytes, name: bytes, value: int) -> bytes:
    for pattern in _patterns(packet, space, name):
        packet = re.sub(pattern, rb"\g<1>%d" % value, packet)
    return packet


def _well_formed(packet: bytes) -> bool:
    try:
        expat.ParserCreate().Parse(packet.strip(b"\0 \r\n\t"), True)
    except expat.ExpatError:
        return False
    return True
