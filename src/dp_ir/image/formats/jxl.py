"""JPEG XL: pixels through libjxl; the header and the boxes of the container tell the rest."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np

from dp_ir.errors import ImageReadError
from dp_ir.image.files.encoding import Encoded
from dp_ir.image.files.samples import FLOAT_RANGE, Samples, check_floats, scaled, split_alpha, straight
from dp_ir.image.formats.jxl_header import JxlHeader, jxl_boxes, jxl_header
from dp_ir.image.metadata.cicp import check_range, profile_of
from dp_ir.image.metadata.exif import PREFIX
from dp_ir.image.metadata.metadata import Metadata, gathered
from dp_ir.image.metadata.xmp import GAIN_MAP

_LARGEST_BOX = 1 << 24  # bytes unpacked; what is compressed may announce anything
_STORAGE = (b"JXL ", b"ftyp", b"jxlc", b"jxlp", b"jxll", b"jxli", b"jbrd")
_LOST = {b"jumb": "content credentials", b"jhgm": GAIN_MAP}


def stored_jpeg(data: bytes) -> bytes | None:
    """The JPEG file that a JPEG XL file was made from without loss, byte by byte; None where it was not.

    Raises:
        RuntimeError, ValueError: it is damaged.
    """
    if not any(box.kind == b"jbrd" for box in jxl_boxes(io.BytesIO(data))):
        return None
    return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))


def decode_jxl(data: bytes, name: str) -> Samples:
    """Decode a JPEG XL file.

    Raises:
        ImageReadError: its colours are described by an ICC profile, or are of high dynamic range; further channels.
        EOFError, RuntimeError, ValueError: it is damaged.
    """
    header = jxl_header(io.BytesIO(data))
    _check(header, name)
    array = np.asarray(imagecodecs.jpegxl_decode(data, index=0, keeporientation=True, numthreads=1))
    if array.shape[1::-1] != header.size or array.ndim > 3 or np.issubdtype(array.dtype, np.floating) != header.floats:
        raise ValueError(f"its header and its pixels, {array.shape} of {array.dtype}, contradict each other")
    values, alpha = split_alpha(array)
    depth, full_scale = (8 if header.bits <= 8 else 16), float((1 << header.bits) - 1)
    if header.floats:
        values, depth, full_scale = values.astype(np.float32), 32, 1.0
        check_floats(f"'{name}'", values, *FLOAT_RANGE)
    if alpha is not None and (header.floats or header.premultiplied):
        values, alpha = scaled(values, full_scale), np.clip(scaled(alpha, full_scale), 0.0, 1.0)
        if header.premultiplied:
            values = straight(values, alpha, FLOAT_RANGE if header.floats else (0.0, 1.0))
    profile = None
    if header.curve is not None and header.white is not None and header.primaries is not None:
        profile = profile_of(values.shape[-1], header.curve, header.primaries, header.white)
    metadata, turn = _metadata(data, header, name)
    scale = None if values.dtype == np.float32 else full_scale
    return Samples(values, alpha, depth, "JPEG XL", profile, metadata, turn, scale)


def encode_jxl(encoded: Encoded, metadata: Metadata, quality: int) -> bytes:
    """Encode uint8 samples of sRGB, without loss at quality 100, with their metadata."""
    values = encoded.values[..., 0] if encoded.values.shape[-1] == 1 else encoded.values
    lossless = quality == 100
    options = {"lossless": True} if lossless else {"level": quality}
    data = bytes(imagecodecs.jpegxl_encode(values, usecontainer=True, numthreads=1, **options))
    if metadata.exif is not None:
        data += _box(b"Exif", bytes(4) + metadata.exif.removeprefix(PREFIX))
    return data + (b"" if metadata.xmp is None else _box(b"xml ", metadata.xmp))


def _check(header: JxlHeader, name: str) -> None:
    """Refuse what would not be decoded to what it shows.

    Raises:
        ImageReadError: naming what was found.
    """
    if header.has_profile:
        raise ImageReadError(
            f"'{name}' is a JPEG XL file with an ICC profile, which the decoder here does not give, expected one that "
            "names its colours in its header: convert it to a PNG or TIFF first."
        )
    if header.further:
        raise ImageReadError(
            f"'{name}' is a JPEG XL file with {header.further} channels beside colours and transparency, expected a "
            "photo: convert it to a PNG or TIFF first."
        )
    check_range(header.transfer, "a JPEG XL file", name)


def _metadata(data: bytes, header: JxlHeader, name: str) -> tuple[Metadata, int]:
    found, lost = dict[bytes, bytes](), ["the further frames"] * header.animated
    for box in jxl_boxes(io.BytesIO(data)):
        kind, content = box.kind, data[box.start : box.end]
        if kind == b"brob":
            kind, content = content[:4], _unpacked(content[4:])
        if kind in (b"Exif", b"xml ") and kind not in found and content:
            found[kind] = content
        elif kind not in _STORAGE:
            lost.append(_LOST.get(kind, f"the box {kind.decode('latin-1')!r}"))
    exif = found.get(b"Exif")
    if exif is not None:  # begins with how many bytes come before it
        exif = exif[4 + int.from_bytes(exif[:4], "big") :]
    return gathered(name, exif=exif, xmp=found.get(b"xml "), lost=lost, turn=header.orientation)


def _unpacked(packed: bytes) -> bytes:
    """A box that is compressed; nothing where it is damaged, or too large."""
    try:
        return bytes(imagecodecs.brotli_decode(packed, out=_LARGEST_BOX))
    except RuntimeError:
        return b""


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content
