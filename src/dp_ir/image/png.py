"""PNG: pixels through libpng at their full precision, and the chunks beside them.

Ancillary chunks are kept from the decoder: they are read here, and libpng writes about them to the standard error
stream.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import imagecodecs

from dp_ir.image.encoding import Encoded
from dp_ir.image.metadata import Metadata
from dp_ir.image.png_chunks import chunks_of_metadata, png_metadata
from dp_ir.image.samples import Samples, several_frames, split_alpha

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_IHDR_END = len(PNG_SIGNATURE) + 25
_LARGEST_PROFILE = 1 << 24  # bytes; a compressed profile may announce anything


def decode_png(data: bytes, name: str) -> Samples:
    """Decode a PNG file; palettes, transparent colours and samples of less than 8 bits are expanded.

    Raises:
        ImageReadError: it is an animated PNG.
        EOFError, RuntimeError, ValueError: it is damaged.
    """
    pixels, profile, beside = bytearray(PNG_SIGNATURE), None, list[tuple[bytes, bytes]]()
    for kind, body, chunk in _chunks(data):
        if kind == b"acTL" and int.from_bytes(body[:4], "big") > 1:
            raise several_frames(name, int.from_bytes(body[:4], "big"))
        if kind in _PIXEL_CHUNKS:
            pixels += chunk
        elif kind == b"iCCP" and profile is None:  # one is allowed; each could unpack to much
            profile = _profile(bytes(body))
        else:
            beside.append((kind, bytes(body)))
    array = imagecodecs.png_decode(bytes(pixels))
    bit_depth = array.dtype.itemsize * 8
    values, alpha = split_alpha(array)
    full_scale = float((1 << bit_depth) - 1)
    metadata, turn = png_metadata(beside, name)
    return Samples(values, alpha, bit_depth, "PNG", profile, metadata, turn, full_scale)


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


def _profile(body: bytes) -> bytes | None:
    _, _, compressed = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(compressed[1:], _LARGEST_PROFILE)
    except zlib.error:
        return b""  # present but unreadable: reported like any damaged profile
