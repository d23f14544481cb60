"""JPEG streams, as files and as strips of TIFF files: what they announce, and whether they are whole."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from dp_ir.errors import ImageReadError
from dp_ir.image.files.headers import JPEG_LS, dimensions

_MOST_SCANS = 100  # the usual progressive file has ten; each costs the decoder a pass over the whole image
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # the others are data, padding and restarts within a scan
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SCAN, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", 0xDA, b"\xff\xd9"
_PROGRESSIVE = (0xC2, 0xCA)
_FRAMES = {  # start-of-frame markers, with what is wrong with their kind
    **dict.fromkeys((0xC0, 0xC1, *_PROGRESSIVE, 0xC9), ""),
    **dict.fromkeys((0xC3, 0xCB), "in lossless form"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "in hierarchical form"),
    JPEG_LS: "in JPEG-LS form",
}
_FILLER = b"\xaa" * 4096  # data of a scan whose first bit is not that which a decoder makes up for one that is missing


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Check that decoding a JPEG stream takes time in proportion to its pixels.

    Args:
        data: the stream; what follows its end, such as further pictures, is left alone.

    Returns:
        (width, height).

    Raises:
        EOFError: it ends within its header.
        ValueError: it is damaged, or has more scans than any program writes.
    """
    size = dimensions("JPEG", io.BytesIO(data))
    scans = sum(marker == _START_OF_SCAN for marker, _ in _segments(data))
    if scans > _MOST_SCANS:
        raise ValueError(f"it has {scans} scans, of which {_MOST_SCANS} are far more than any program writes")
    return size


def check_kind(data: bytes, name: str) -> None:
    """Refuse the kinds of JPEG that are not decoded, however sound they are.

    Raises:
        ImageReadError: more than 8 bits per sample, lossless or hierarchical, two or more than four channels.
    """
    frame = next(((marker, body) for marker, body in _segments(data) if marker in _FRAMES), None)
    if frame is None or len(frame[1]) < 6:
        return
    bits, channels, found = frame[1][0], frame[1][5], _FRAMES[frame[0]]
    if not found and bits != 8:
        found = f"of {bits} bits per sample"
    if not found and channels not in (1, 3, 4):
        found = f"of {channels} channels"
    if found:
        raise ImageReadError(
            f"'{name}' is a JPEG {found}, expected a baseline or progressive one of 8 bits per sample, grey, RGB or "
            "CMYK: convert it to a PNG or TIFF of 16 bits first."
        )


def with_end(data: bytes) -> bytes:
    """A JPEG file with its end marker, which is put where a file lacks nothing else.

    Whether pixels are missing shows when something else is put in the place of what may be missing: pixels that are all
    there do not change.

    Raises:
        EOFError: it ends before its last pixels.
        Exception: whatever the decoder raises on damaged files.
    """
    if any(marker == _END_OF_IMAGE[1] for marker, _ in _segments(data)):
        return data
    body = data.rstrip(b"\xff")  # half of the marker
    held = body.rstrip(b"\0")
    if len(held) < len(body) and _is_whole(body[:-1]):  # more than its pixels take: the file was given its size before
        body = held + b"\0" * held.endswith(b"\xff")  # which a scan never ends with
    if not _is_whole(body):
        raise EOFError("it ends before its last pixels")
    return body + _END_OF_IMAGE


def _is_whole(data: bytes) -> bool:
    """Whether all pixels are in a stream without its end."""
    data = data.rstrip(b"\xff")
    restarts = len(_RESTART.findall(data, data.rindex(_SCAN)))
    others = _FILLER, bytes([0xFF, 0xD0 + restarts % 8]) + _FILLER  # a decoder that waits for a restart skips all else
    pixels = _pixels(data)
    return _has_all_scans(data) and all(np.array_equal(pixels, _pixels(data + other)) for other in others)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The markers of a stream up to its end, each with what it brings along."""
    position = 2
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        length = int.from_bytes(data[position : position + 2], "big") if marker != _END_OF_IMAGE[1] else 0
        yield marker, data[position + 2 : position + length]
        if marker == _END_OF_IMAGE[1]:
            return
        position += length


def _has_all_scans(data: bytes) -> bool:
    """Whether every coefficient of every channel is in some scan, to its last bit."""
    missing: dict[int, NDArray[np.int64]] = {}  # bits of the 64 coefficients of each channel
    progressive = False
    for marker, body in _segments(data):
        if marker in _FRAMES:
            progressive = marker in _PROGRESSIVE
            missing = {body[place]: np.full(64, 99) for place in range(6, 6 + 3 * body[5], 3)}
        elif marker == _START_OF_SCAN:
            channels, (first, last, bits) = body[1 : 1 + 2 * body[0] : 2], body[-3:]
            for channel in channels:
                missing[channel][first : last + 1] = bits & 15
                if not progressive:
                    missing[channel][:] = 0
    return not any(bits.any() for bits in missing.values())


def _pixels(body: bytes) -> NDArray[Any]:
    return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(body + _END_OF_IMAGE)))
