"""WebP: pixels through libwebp, and the chunks that carry profile and metadata."""

from __future__ import annotations

import imagecodecs

from dp_ir.image.files.samples import Samples, further_frames, split_alpha
from dp_ir.image.metadata.metadata import gathered

_FIRST_CHUNK = 12
_PIXEL_CHUNKS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")


def decode_webp(data: bytes, name: str) -> Samples:
    """Decode a WebP file, or the first frame of one that is animated.

    Raises:
        RuntimeError, ValueError: it is damaged.
    """
    chunks: dict[bytes, bytes] = {}
    frames, position, lost = 0, _FIRST_CHUNK, list[str]()
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if kind in (b"ICCP", b"EXIF", b"XMP "):
            chunks.setdefault(kind, data[position + 8 : position + 8 + length])
        elif kind not in _PIXEL_CHUNKS:
            lost.append(f"the WebP chunk {kind.decode('latin-1')}")
        frames += kind == b"ANMF"
        position += 8 + length + length % 2
    values, alpha = split_alpha(imagecodecs.webp_decode(data))
    lost += further_frames(frames)
    metadata, turn = gathered(name, exif=chunks.get(b"EXIF"), xmp=chunks.get(b"XMP "), lost=lost)
    return Samples(values, alpha, 8, "WebP", chunks.get(b"ICCP"), metadata, turn, full_scale=255.0)
