"""AVIF: pixels through libavif at their full depth; the header tells the rest."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np

from dp_ir.image.files.encoding import Encoded
from dp_ir.image.files.samples import Samples, further_frames, split_alpha
from dp_ir.image.formats.avif_header import avif_header
from dp_ir.image.metadata.cicp import check_range, profile_by_number
from dp_ir.image.metadata.exif import PREFIX
from dp_ir.image.metadata.metadata import Metadata, gathered
from dp_ir.image.metadata.xmp import GAIN_MAP
from dp_ir.image.picture.memory import pil_from_samples

_BRAND = slice(8, 12)  # of the file: whether its film or its still image counts


def decode_avif(data: bytes, name: str) -> Samples:
    """Decode the main image of an AVIF file.

    Raises:
        ImageReadError: it is of high dynamic range.
        EOFError, RuntimeError, ValueError: it is damaged.
    """
    header = avif_header(io.BytesIO(data))
    if header.icc_profile is None and header.numbers is not None:
        check_range(header.numbers[1], "an AVIF file", name)
    still = data[: _BRAND.start] + b"avif" + data[_BRAND.stop :]
    array = np.asarray(imagecodecs.avif_decode(still, numthreads=1))
    if array.shape[1::-1] != header.size or array.ndim > 3 or (array.dtype == np.uint8) != (header.bits == 8):
        raise ValueError(f"its header and its pixels, {array.shape} of {array.dtype}, contradict each other")
    values, alpha = split_alpha(array)
    profile = header.icc_profile
    if profile is None and header.numbers is not None:
        profile = profile_by_number(*header.numbers, values.shape[-1])
    lost = further_frames(header.frames) + [GAIN_MAP] * header.gain_map
    lost += ["the crop, which shows a part of the pixels"] * header.cropped
    exif, xmp = (None if place is None else data[place[0] : sum(place)] for place in (header.exif, header.xmp))
    metadata, turn = gathered(name, exif=exif, xmp=xmp, lost=lost, turn=header.orientation)
    depth = 8 if header.bits == 8 else 16
    return Samples(values, alpha, depth, "AVIF", profile, metadata, turn, full_scale=float((1 << header.bits) - 1))


def encode_avif(encoded: Encoded, metadata: Metadata, quality: int) -> bytes:
    """Encode uint8 samples with colour at full resolution, with their profile and metadata."""
    block = (metadata.exif or b"").removeprefix(PREFIX)
    # Pillow builds a block anew that states an orientation. So it gets an empty one of that length, which is replaced.
    empty = b"II*\0\x08\0\0\0".ljust(len(block), b"\0") if block else b""
    options: dict[str, Any] = {"exif": empty, "xmp": metadata.xmp or b"", "icc_profile": encoded.icc_profile}
    stream = io.BytesIO()
    grey = encoded.values.shape[-1] < 3
    subsampling = "4:0:0" if grey else "4:4:4"
    image = pil_from_samples(encoded.values)
    image.save(stream, "AVIF", quality=quality, subsampling=subsampling, max_threads=1, **options)
    data, place = stream.getvalue(), avif_header(stream).exif
    return data if place is None else data[: place[0]] + block + data[sum(place) :]
