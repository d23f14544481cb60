"""WebP: pixels through libwebp, and the chunks that carry profile and EXIF."""

from __future__ import annotations

import imagecodecs

from dp_ir.image.exif import parse_exif
from dp_ir.image.samples import Samples, several_frames, split_alpha

_FIRST_CHUNK = 12


def decode_webp(data: bytes, name: str) -> Samples:
    """Decode a WebP file.

    Raises:
        ImageReadError: it is an animation.
        RuntimeError, ValueError: it is damaged.
    """
    chunks: dict[bytes, bytes] = {}
    frames, position = 0, _FIRST_CHUNK
    while position + 8 <= len(data):
        kind = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        if kind in (b"ICCP", b"EXIF"):
            chunks.setdefault(kind, data[position + 8 : position + 8 + length])
        frames += kind == b"ANMF"
        position += 8 + length + length % 2
    if frames > 1:
        raise several_frames(name, frames)
    values, alpha = split_alpha(imagecodecs.webp_decode(data))
    return Samples(values, alpha, 8, "WebP", chunks.get(b"ICCP"), parse_exif(chunks.get(b"EXIF")), full_scale=255.0)
