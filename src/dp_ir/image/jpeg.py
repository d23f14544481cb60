"""JPEG streams, as files and as strips of TIFF files: what they announce, before a decoder works on it."""

from __future__ import annotations

import io
import re

from dp_ir.image.headers import dimensions

_MOST_SCANS = 100  # the usual progressive file has ten; each costs the decoder a pass over the whole image
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # the others are data, padding and restarts within a scan
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9


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
    position, scans = 2, 0
    while found := _MARKER.search(data, position):
        marker, position = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        scans += marker == _START_OF_SCAN
        position += int.from_bytes(data[position : position + 2], "big")  # past what the marker brings along
    if scans > _MOST_SCANS:
        raise ValueError(f"it has {scans} scans, of which {_MOST_SCANS} are far more than any program writes")
    return size
