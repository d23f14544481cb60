"""Writing photographs to files, whole or not at all."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dp_ir.errors import ImageWriteError
from dp_ir.image.files.encoding import Encoded, encode
from dp_ir.image.formats.avif import encode_avif
from dp_ir.image.formats.jxl import encode_jxl
from dp_ir.image.formats.png import encode_png
from dp_ir.image.formats.segments import LONGEST, with_segments
from dp_ir.image.formats.tiff import encode_tiff
from dp_ir.image.metadata.metadata import Metadata, Room, fitted, tell
from dp_ir.image.picture.memory import pil_from_samples
from dp_ir.image.picture.picture import Picture
from dp_ir.part_files import replacing

QUALITY = 95
"""Of JPEG, WebP, AVIF and JPEG XL, 1 to 100, unless asked for otherwise."""


@dataclass(frozen=True)
class Format:
    """What a file format can hold, and what encodes it: of the samples, metadata, quality and the name of the file."""

    encoder: Callable[[Encoded, Metadata, int, str], bytes]
    room: Room
    bit_depths: tuple[int, ...] = (8,)
    grey: bool = True
    alpha: bool = True
    profile: bool = True
    longest_side: int | None = None
    most_bytes: int | None = None  # of RGB, where samples are not compressed


def _png(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    return encode_png(encoded, metadata)


def _tiff(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    return encode_tiff(encoded, metadata)


def _jpeg(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    data = _through_pillow(encoded, format="JPEG", quality=quality, subsampling="4:4:4", optimize=True)
    return with_segments(data, metadata)


def _webp(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    # Lossy WebP always halves its colour planes; the sharp conversion keeps edges between colours crisp.
    options = {"format": "WEBP", "quality": quality, "use_sharp_yuv": True, "exact": True}
    return _through_pillow(encoded, **options, exif=metadata.exif or b"", xmp=metadata.xmp or b"")


def _bmp(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    data = _through_pillow(encoded, format="BMP")
    across, down = (0, 0) if metadata.resolution is None else metadata.resolution.per("m")
    return data[:38] + struct.pack("<ii", across, down) + data[46:]


def _avif(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    return encode_avif(encoded, metadata, quality)


def _jxl(encoded: Encoded, metadata: Metadata, quality: int, name: str) -> bytes:
    return encode_jxl(encoded, metadata, quality)


def _through_pillow(encoded: Encoded, **options: Any) -> bytes:
    if encoded.icc_profile is not None:
        options["icc_profile"] = encoded.icc_profile
    buffer = io.BytesIO()
    pil_from_samples(encoded.values).save(buffer, **options)
    return buffer.getvalue()


_MOST = (1 << 31) - 1  # numbers of a resolution
_PNG_FORMAT = Format(_png, Room(resolution=("m", _MOST), chunks=True), bit_depths=(8, 16), longest_side=1_000_000)
_JPEG_FORMAT = Format(
    _jpeg, Room(resolution=("inch", 65535), comments=True, segment=LONGEST), alpha=False, longest_side=65500
)
_TIFF_FORMAT = Format(_tiff, Room(resolution=("inch", _MOST)), bit_depths=(8, 16, 32))
_FORMATS: dict[str, Format] = {
    ".png": _PNG_FORMAT,
    ".jpg": _JPEG_FORMAT,
    ".jpeg": _JPEG_FORMAT,
    ".webp": Format(_webp, Room(resources=False), grey=False, longest_side=16383),
    ".tif": _TIFF_FORMAT,
    ".tiff": _TIFF_FORMAT,
    ".avif": Format(_avif, Room(resources=False), longest_side=16384),  # decoders refuse more
    # Of 8 bits in sRGB: imagecodecs marks samples of more bits as linear light, and takes no profile.
    ".jxl": Format(_jxl, Room(resources=False), profile=False, longest_side=1 << 18, most_bytes=3 << 28),
    ".bmp": Format(
        _bmp,
        Room(False, False, False, ("m", _MOST), ratio=False),
        alpha=False,
        profile=False,
        most_bytes=(1 << 32) - 1,
    ),
}

IMAGE_SUFFIXES = tuple(_FORMATS)
"""Suffixes of the files that are written, and that are looked for in folders; in lower case, with their dot."""

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp", ".avif", ".jxl")
"""Those whose files have a quality."""


def write_image(
    path: str | os.PathLike[str], picture: Picture, *, quality: int = QUALITY, bit_depth: int | None = None
) -> None:
    """Write a picture in the format that the suffix says, one of `IMAGE_SUFFIXES`, replacing a file of that name.

    The file is written beside its destination and renamed, so it appears whole or not at all. Its samples are converted
    back to the colour profile of the source, which is embedded, so wide-gamut colours survive; what cannot be converted
    back (CMYK) is tagged as sRGB, a source that describes no colours gives untagged sRGB, and BMP and JPEG XL get
    sRGB without a profile. Values below 0 or above 1 of a float source that the file cannot hold are clipped with a
    warning. Of the metadata (EXIF, XMP, IPTC, resolution, text) the file gets what its format can hold, with the new
    size. Grey stays grey (as R = G = B in WebP). JPEG is stored with full colour
    resolution (4:4:4), as is AVIF, WebP lossily, JPEG XL lossily below a quality of 100, PNG and TIFF losslessly.

    Where the format has no transparency (JPEG, BMP) the picture is laid over white, as on paper.

    Args:
        path: destination; its folder must exist.
        picture: what to write.
        quality: 1 to 100, of JPEG, WebP, AVIF and JPEG XL.
        bit_depth: bits per sample, 8, 16 (PNG, TIFF) or 32 (TIFF, as floats); by default that of
            the picture, or the most that the format has.

    Raises:
        ImageWriteError: an unknown suffix, a missing or unwritable folder, a full disk, sides longer than the format
            can hold, or a quality or bit depth it does not have. No file is left behind, and an older one stays as it
            was.

    Warns:
        MetadataNote: once, of all that the source had beside the pixels and the file has not.
    """
    target = Path(path)
    layout, bit_depth = format_for(target, picture.size, picture.bit_depth, quality=quality, bit_depth=bit_depth)
    metadata = fitted(picture.metadata, layout.room, picture.size)
    encoded = encode(
        picture, bit_depth=bit_depth, with_grey=layout.grey, with_alpha=layout.alpha, with_profile=layout.profile
    )
    if encoded.clipped:
        warn_of_clipping(target)
    write_whole(target, encoded_file(layout, encoded, metadata, quality, target))
    tell(metadata, stacklevel=2)


def encoded_file(layout: Format, encoded: Encoded, metadata: Metadata, quality: int, target: Path) -> bytes:
    """The content of a file.

    Raises:
        ImageWriteError: the samples cannot be encoded.
    """
    try:
        return layout.encoder(encoded, metadata, quality, str(target))
    except ImageWriteError:
        raise
    except Exception as error:  # encoders fail with errors of every type
        raise ImageWriteError(f"'{target}' cannot be encoded ({error}): try another format.") from error


def format_for(
    target: Path, size: tuple[int, int], source_depth: int, *, quality: int = QUALITY, bit_depth: int | None = None
) -> tuple[Format, int]:
    """The format of a file and its bits per sample, for a picture of this size (H, W) whose source has so many bits.

    Raises:
        ImageWriteError: as `write_image`, before anything is encoded.
    """
    layout = check_target(target, size)
    if not 1 <= quality <= 100:
        raise ImageWriteError(f"The quality is {quality}, expected 1 to 100.")
    if bit_depth is None:
        bit_depth = max(depth for depth in layout.bit_depths if depth <= source_depth)
    elif bit_depth not in layout.bit_depths:
        raise ImageWriteError(
            f"'{target}' was to be written with {bit_depth} bits per sample, expected "
            f"{' or '.join(map(str, layout.bit_depths))}: choose another bit depth or format."
        )
    return layout, bit_depth


def check_target(target: Path, size: tuple[int, int]) -> Format:
    """The format of a file, which can hold a picture of this size (H, W).

    Raises:
        ImageWriteError: it cannot, or there is no such format; a missing folder; a folder in the way.
    """
    layout = _FORMATS.get(target.suffix.lower())
    if layout is None:
        found = f"has the suffix '{target.suffix}'" if target.suffix else "has no suffix"
        raise ImageWriteError(f"'{target}' {found}, expected one of {', '.join(IMAGE_SUFFIXES)}: rename the output.")
    _check_destination(target)
    height, width = size
    limit = None
    if layout.longest_side is not None and max(size) > layout.longest_side:
        limit = f"sides of at most {layout.longest_side} pixels"
    elif layout.most_bytes is not None and 3 * height * (width + 1) > layout.most_bytes:
        limit = f"at most {layout.most_bytes / 1e9:.2f} GB"
    if limit is not None:
        others = " or ".join(
            suffix for suffix in (".png", ".tif") if max(size) <= (_FORMATS[suffix].longest_side or max(size))
        )
        raise ImageWriteError(
            f"'{target}' would be {width}x{height} pixels, expected {limit} in this format: write a {others} file, or "
            "a part of the image."
        )
    return layout


def warn_of_clipping(target: Path) -> None:
    """Say that a file does not hold all that its picture holds."""
    warnings.warn(
        f"'{target}' cannot hold values below 0 or above 1, which its source has: they were clipped; a .tif file keeps "
        "them.",
        stacklevel=3,
    )


def _check_destination(target: Path) -> None:
    folder = target.parent
    if target.is_dir():
        raise ImageWriteError(f"'{target}' is a folder, expected the name of a file: choose another name.")
    if not folder.exists():
        raise ImageWriteError(
            f"The folder '{folder}' does not exist, expected one to write '{target.name}' to: create it."
        )
    if not folder.is_dir():
        raise ImageWriteError(
            f"'{folder}' is a file, expected a folder to write '{target.name}' to: choose another path."
        )


def write_whole(target: Path, data: bytes) -> None:
    """Write a file so that it appears whole or not at all.

    Raises:
        ImageWriteError: its folder cannot be written to, or the disk is full; an older file stays as it was.
    """
    with whole_file(target) as file:
        file.write(data)


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A file, open for writing, that appears at its destination where all went well, and else not; raises likewise."""
    with replacing(target, ImageWriteError) as beside, beside.open("xb") as file:
        yield file
