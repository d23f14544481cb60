"""Reading photographs from files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

from PIL import BmpImagePlugin, ImageFile, JpegImagePlugin

from dp_ir.errors import ImageReadError
from dp_ir.image.headers import (
    FORMATS,
    HEAD_BYTES,
    MAX_PIXELS,
    check_bytes,
    check_size,
    describe_foreign,
    dimensions,
    identify,
)
from dp_ir.image.jpeg import check_jpeg
from dp_ir.image.memory import samples_from_pil
from dp_ir.image.picture import Picture
from dp_ir.image.png import decode_png
from dp_ir.image.samples import Samples, to_picture
from dp_ir.image.tiff import decode_tiff
from dp_ir.image.webp import decode_webp

# Each file is given to the one decoder its signature names, and to its class rather than through Image.open: the
# latter has a limit on pixels of its own, which is one number for the whole process and not ours to change.
_PILLOW: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,  # of a multi-picture file (phones, gain maps): the photo itself
    "BMP": BmpImagePlugin.BmpImageFile,
}


def read_image(path: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a photograph from a PNG, JPEG, WebP, TIFF or BMP file; the content decides, not the suffix.

    The picture is upright (EXIF orientation applied, and 1 in the EXIF carried on) and in sRGB. Palettes and
    transparent colours are expanded, alpha is straight, grey stays grey, 16-bit and float samples keep their precision.
    Pixels with a colour profile are converted to sRGB for the networks; colours that sRGB cannot hold are kept in
    `Picture.out_of_gamut`, so that `write_image` returns to the profile of the source without loss. CMYK photos become
    sRGB for good. Files that cameras mark as Adobe RGB without a profile count as Adobe RGB; without any mark, as sRGB.
    XMP and IPTC blocks are not carried on.

    Args:
        path: the file; or its content, as bytes or as a file that is open for reading bytes.
        max_pixels: limit on width times height, checked on the header before anything is decoded; files of more bytes
            than so many pixels can take are not read at all.

    Raises:
        ImageReadError: a missing, empty, damaged or truncated file; no file of these formats; an animation, a TIFF with
            several pages, a camera RAW file; more than `max_pixels`; float samples that are NaN, infinite or far
            outside [0, 1].
    """
    return to_picture(read_samples(path, max_pixels=max_pixels))


def read_samples(path: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Samples:
    """Decode a photograph, but leave it as it is stored; arguments and errors are those of `read_image`."""
    name, opened = (str(path), _opened(Path(path))) if isinstance(path, str | os.PathLike) else _given(path)
    with opened as file:
        head = file.read(HEAD_BYTES)
        kind = identify(head)
        if not head:
            raise ImageReadError(f"'{name}' is empty (0 bytes), expected an image: copy or export it again.")
        if kind is None:
            raise ImageReadError(
                f"'{name}' is {describe_foreign(head)}, expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}: "
                "convert it first."
            )
        check_bytes(name, file.seek(0, io.SEEK_END), max_pixels, "is a file of")
        try:
            samples = _decode(kind, file, name, max_pixels)
        except ImageReadError:
            raise
        except MemoryError as error:
            raise ImageReadError(f"'{name}' does not fit into memory: reduce or crop it.") from error
        except Exception as error:  # decoders meet damage with errors of every type
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise ImageReadError(
                f"'{name}' is a damaged or truncated {kind} file ({reason}), expected a complete one: "
                "copy or export it again."
            ) from error
    return samples


def _given(content: bytes | BinaryIO) -> tuple[str, BinaryIO]:
    """A name for what was given in place of a file, and its bytes; a file that is open is read from its beginning."""
    if isinstance(content, bytes | bytearray | memoryview):
        return "the bytes given as an image", io.BytesIO(content)
    name = f"the open file {getattr(content, 'name', type(content).__name__)}"
    try:
        if content.seekable():
            content.seek(0)
        return name, io.BytesIO(content.read())
    except (OSError, ValueError, TypeError, AttributeError) as error:  # closed, for writing, of text
        raise ImageReadError(
            f"{name} cannot be read ({error}), expected one that is open for reading bytes."
        ) from error


def _opened(source: Path) -> BinaryIO:
    try:
        if source.is_dir():
            raise ImageReadError(f"'{source}' is a folder, expected an image file: name the files in it.")
        if not source.exists():
            raise ImageReadError(f"'{source}' does not exist, expected an image file: check the path.")
        if not source.is_file():
            raise ImageReadError(f"'{source}' is a device or pipe, expected an image file: save it to a file first.")
        return source.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise ImageReadError(f"'{source}' cannot be opened ({error}), expected a readable image file.") from error


def _decode(kind: str, file: BinaryIO, name: str, max_pixels: int) -> Samples:
    if kind == "TIFF":
        return decode_tiff(file, name, max_pixels)
    width, height = dimensions(kind, file)
    check_size(name, width, height, max_pixels)
    file.seek(0)
    if kind == "PNG":
        return decode_png(file.read(), name)
    if kind == "WebP":
        return decode_webp(file.read(), name)
    if kind == "JPEG":
        check_jpeg(file.read())
        file.seek(0)
    image = _PILLOW[kind](file, name)
    if image.size != (width, height):
        raise ValueError(f"its headers announce {width}x{height} and {image.width}x{image.height} pixels")
    return samples_from_pil(image, kind)
