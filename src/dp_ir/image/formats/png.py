"""PNG: pixels through libpng at their full precision, and the chunks beside them.

Ancillary chunks are kept from the decoder: they are read here, and libpng writes about them to the standard error
stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import imagecodecs
import numpy as np

from dp_ir.image.files.encoding import Encoded
from dp_ir.image.files.samples import Samples, further_frames, scaled, split_alpha
from dp_ir.image.formats.png_chunks import chunks_of_metadata, png_metadata
from dp_ir.image.formats.png_colour import COLOUR_CHUNKS, png_profile
from dp_ir.image.metadata.metadata import Metadata

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_IHDR_END = len(PNG_SIGNATURE) + 25


def decode_png(data: bytes, name: str) -> Samples:
    """Decode a PNG file; palettes, transparent colours and samples of less than 8 bits are expanded.

    Raises:
        ImageReadError: it is one of high dynamic range.
        EOFError, RuntimeError, ValueError: it is damaged.
    """
    pixels, colours, beside = bytearray(PNG_SIGNATURE), dict[bytes, bytes](), list[tuple[bytes, bytes]]()
    lost = list[str]()
    for kind, body, chunk in _chunks(data):
        if kind == b"acTL":
            lost = further_frames(int.from_bytes(body[:4], "big"))
        if kind in _PIXEL_CHUNKS:
            pixels += chunk
        elif kind in COLOUR_CHUNKS:
            colours.setdefault(kind, bytes(body))  # one of each is allowed
        else:
            beside.append((kind, bytes(body)))
    array = imagecodecs.png_decode(bytes(pixels))
    bit_depth = array.dtype.itemsize * 8
    values, alpha = split_alpha(array)
    full_scale = float((1 << bit_depth) - 1)
    profile, narrow = png_profile(colours, values.shape[-1], name)
    metadata, turn = png_metadata(beside, name, lost)
    samples = Samples(values, alpha, bit_depth, "PNG", profile, metadata, turn, full_scale)
    return _widened(samples, full_scale) if narrow else samples


def _widened(samples: Samples, full_scale: float) -> Samples:
    """Samples of narrow range, 16 to 235 where the full scale is 255, with black at 0 and white at 1."""
    unit = (full_scale + 1) / 256
    values = (samples.values.astype(np.float32) - np.float32(16 * unit)) / np.float32(219 * unit)
    alpha = None if samples.alpha is None else scaled(samples.alpha, full_scale)
    return replace(samples, values=values, alpha=alpha, full_scale=None)


def encode_png(encoded: Encoded, metadata: Metadata) -> bytes:
    """Encode uint8 or uint16 samples losslessly, with their profile and metadata."""
    values = encoded.values[..., 0] if encoded.values.shape[2] == 1 else encoded.values
    data = bytes(imagecodecs.png_encode(values))
    return data[:_IHDR_END] + png_companions(encoded.icc_profile, metadata) + data[_IHDR_END:]


def png_companions(icc_profile: bytes | None, metadata: Metadata) -> bytes:
    """The chunks of profile and metadata, which lie between header and pixels."""
    extra = b""
    if icc_profile is not None:
        extra += png_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc_profile, 9))
    return extra + b"".join(png_chunk(kind, body) for kind, body in chunks_of_metadata(metadata))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """All chunks up to IEND as (type, content, whole chunk)."""
    view, position = memoryview(data), len(PNG_SIGNATURE)
    while True:
        if position + 12 > len(data):
            raise EOFError("the file ends before its last chunk")
        (length,) = struct.unpack_from(">I", data, position)
        kind, end = data[position + 4 : position + 8], position + 12 + length
        if end > len(data):
            raise EOFError(f"the file ends within a chunk {kind!r}")
        yield kind, view[position + 8 : end - 4], view[position:end]
        if kind == b"IEND":
            return
        position = end


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and its checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
