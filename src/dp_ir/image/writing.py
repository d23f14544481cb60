"""Writing photographs to files, whole or not at all."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from dp_ir.errors import ImageWriteError
from dp_ir.image.encoding import Encoded, encode
from dp_ir.image.exif import exif_for_size
from dp_ir.image.memory import pil_from_samples
from dp_ir.image.part_files import part_path
from dp_ir.image.picture import Picture
from dp_ir.image.png import encode_png
from dp_ir.image.tiff import encode_tiff

QUALITY = 95
"""Of JPEG and WebP, 1 to 100, unless asked for otherwise."""

_LARGEST_JPEG_EXIF = 65533  # bytes in one application segment


@dataclass(frozen=True)
class Format:
    """What a file format can hold, and what encodes it: of the samples, EXIF, quality and the name of the file."""

    encoder: Callable[[Encoded, bytes | None, int, str], bytes]
    bit_depths: tuple[int, ...] = (8,)
    grey: bool = True
    alpha: bool = True
    profile: bool = True
    longest_side: int | None = None


def _png(encoded: Encoded, exif: bytes | None, quality: int, name: str) -> bytes:
    return encode_png(encoded, exif)


def _tiff(encoded: Encoded, exif: bytes | None, quality: int, name: str) -> bytes:
    return encode_tiff(encoded, exif, name)


def _jpeg(encoded: Encoded, exif: bytes | None, quality: int, name: str) -> bytes:
    if exif is not None and len(exif) > _LARGEST_JPEG_EXIF:
        warnings.warn(f"The EXIF block of {len(exif)} bytes does not fit into a JPEG and was left out.", stacklevel=2)
        exif = None
    return _through_pillow(encoded, exif, format="JPEG", quality=quality, subsampling="4:4:4", optimize=True)


def _webp(encoded: Encoded, exif: bytes | None, quality: int, name: str) -> bytes:
    # Lossy WebP always halves its colour planes; the sharp conversion keeps edges between colours crisp.
    return _through_pillow(encoded, exif, format="WEBP", quality=quality, use_sharp_yuv=True, exact=True)


def _bmp(encoded: Encoded, exif: bytes | None, quality: int, name: str) -> bytes:
    return _through_pillow(encoded, None, format="BMP")


def _through_pillow(encoded: Encoded, exif: bytes | None, **options: Any) -> bytes:
    if exif is not None:
        options["exif"] = exif
    if encoded.icc_profile is not None:
        options["icc_profile"] = encoded.icc_profile
    buffer = io.BytesIO()
    pil_from_samples(encoded.values).save(buffer, **options)
    return buffer.getvalue()


_PNG_FORMAT = Format(_png, bit_depths=(8, 16), longest_side=1_000_000)
_JPEG_FORMAT = Format(_jpeg, alpha=False, longest_side=65500)
_TIFF_FORMAT = Format(_tiff, bit_depths=(8, 16, 32))
_FORMATS: dict[str, Format] = {
    ".png": _PNG_FORMAT,
    ".jpg": _JPEG_FORMAT,
    ".jpeg": _JPEG_FORMAT,
    ".webp": Format(_webp, grey=False, longest_side=16383),
    ".tif": _TIFF_FORMAT,
    ".tiff": _TIFF_FORMAT,
    ".bmp": Format(_bmp, alpha=False, profile=False),
}

IMAGE_SUFFIXES = tuple(_FORMATS)
"""Suffixes of the files that are written, and that are looked for in folders; in lower case, with their dot."""

LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")
"""Those whose files have a quality."""


def write_image(
    path: str | os.PathLike[str], picture: Picture, *, quality: int = QUALITY, bit_depth: int | None = None
) -> None:
    """Write a picture as PNG, JPEG, WebP, TIFF or BMP, as the suffix says, replacing a file of that name.

    The file is written beside its destination and renamed, so it appears whole or not at all. Its samples are converted
    back to the colour profile of the source, which is embedded, so wide-gamut colours survive; what cannot be converted
    back (CMYK) is tagged as sRGB, a source without profile gives untagged sRGB, and BMP, which knows no profiles, gets
    sRGB. EXIF is carried into all but BMP. Grey stays grey (as R = G = B in WebP). JPEG is stored with full colour
    resolution (4:4:4), WebP lossily, PNG and TIFF losslessly.

    Where the format has no transparency (JPEG, BMP) the picture is laid over white, as on paper.

    Args:
        path: destination; its folder must exist.
        picture: what to write.
        quality: 1 to 100, of JPEG and WebP.
        bit_depth: bits per sample, 8, 16 (PNG, TIFF) or 32 (TIFF, as floats); by default that of the picture, or the
            most that the format has.

    Raises:
        ImageWriteError: an unknown suffix, a missing or unwritable folder, a full disk, sides longer than the format
            can hold, or a quality or bit depth it does not have. No file is left behind, and an older one stays as it
            was.
    """
    target = Path(path)
    layout, bit_depth = format_for(target, picture.size, picture.bit_depth, quality=quality, bit_depth=bit_depth)
    height, width = picture.size
    encoded = encode(
        picture, bit_depth=bit_depth, with_grey=layout.grey, with_alpha=layout.alpha, with_profile=layout.profile
    )
    write_whole(target, encoded_file(layout, encoded, exif_for_size(picture.exif, width, height), quality, target))


def encoded_file(layout: Format, encoded: Encoded, exif: bytes | None, quality: int, target: Path) -> bytes:
    """The content of a file.

    Raises:
        ImageWriteError: the samples cannot be encoded.
    """
    try:
        return layout.encoder(encoded, exif, quality, str(target))
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
    layout = _FORMATS.get(target.suffix.lower())
    if layout is None:
        found = f"has the suffix '{target.suffix}'" if target.suffix else "has no suffix"
        raise ImageWriteError(f"'{target}' {found}, expected one of {', '.join(IMAGE_SUFFIXES)}: rename the output.")
    if not 1 <= quality <= 100:
        raise ImageWriteError(f"The quality is {quality}, expected 1 to 100.")
    if bit_depth is None:
        bit_depth = max(depth for depth in layout.bit_depths if depth <= source_depth)
    elif bit_depth not in layout.bit_depths:
        raise ImageWriteError(
            f"'{target}' was to be written with {bit_depth} bits per sample, expected "
            f"{' or '.join(map(str, layout.bit_depths))}: choose another bit depth or format."
        )
    _check_destination(target)
    height, width = size
    if layout.longest_side is not None and max(height, width) > layout.longest_side:
        raise ImageWriteError(
            f"'{target}' would be {width}x{height} pixels, expected sides of at most {layout.longest_side} in this "
            "format: write a TIFF."
        )
    return layout, bit_depth


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
    """Write a file beside its destination and rename it, so that it appears whole or not at all.

    Raises:
        ImageWriteError: its folder cannot be written to, or the disk is full; an older file stays as it was.
    """
    with whole_file(target, len(data)) as file:
        file.write(data)


@contextmanager
def whole_file(target: Path, size: int) -> Iterator[BinaryIO]:
    """A file beside its destination, open for writing, that is renamed to it where all went well, and else removed.

    Args:
        target: the destination.
        size: bytes that it will take, or about so many.

    Raises:
        ImageWriteError: its folder cannot be written to, or the disk is full; an older file stays as it was.
    """
    beside = part_path(target)
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ImageWriteError(
            f"'{target}' cannot be written ({reason}), expected a writable folder with room for {size} bytes: "
            "check its permissions and free space."
        ) from error
    finally:  # also on an interrupt; after success there is nothing left by that name
        with suppress(OSError):
            beside.unlink(missing_ok=True)
