"""Reading photographs from files."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from PIL import BmpImagePlugin, GifImagePlugin, ImageFile, JpegImagePlugin

from dp_ir.errors import ImageReadError
from dp_ir.image.files.headers import (
    FORMATS,
    HEAD_BYTES,
    MAX_PIXELS,
    check_bytes,
    check_size,
    describe_foreign,
    dimensions,
    identify,
    way_round,
)
from dp_ir.image.files.samples import Samples, further_frames, to_picture
from dp_ir.image.formats.avif import decode_avif
from dp_ir.image.formats.jpeg import check_jpeg, check_kind, with_end
from dp_ir.image.formats.jxl import decode_jxl, stored_jpeg
from dp_ir.image.formats.png import decode_png
from dp_ir.image.formats.pnm import decode_pnm
from dp_ir.image.formats.segments import jpeg_metadata, without_metadata
from dp_ir.image.formats.tiff import decode_tiff, tiff_dimensions
from dp_ir.image.formats.webp import decode_webp
from dp_ir.image.metadata.metadata import gathered
from dp_ir.image.metadata.resolution import Resolution
from dp_ir.image.picture.memory import samples_from_pil
from dp_ir.image.picture.picture import Picture

# Each file is given to the one decoder its signature names, and to its class rather than through Image.open: the
# latter has a limit on pixels of its own, which is one number for the whole process and not ours to change.
# Of a multi-picture JPEG file (phones, gain maps) that gives the photo itself.
_PILLOW: dict[str, type[ImageFile.ImageFile]] = {
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
}


def read_image(path: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Read a photograph from a file of one of `FORMATS`; the content decides, not the suffix.

    The picture is upright (EXIF orientation applied, and 1 in the EXIF carried on) and in sRGB. Palettes and
    transparent colours are expanded, alpha is straight, grey stays grey, 16-bit and float samples keep their precision.
    Of an animation the first frame is read. Pixels with a colour profile, or with a header that describes their
    colours, are converted to sRGB for the networks; colours that sRGB cannot hold are kept in `Picture.out_of_gamut`,
    so that `write_image` returns to the profile of the source without loss. CMYK photos become sRGB for good. Files
    that cameras mark as Adobe RGB without a profile count as Adobe RGB; without any mark, as sRGB. A JPEG that lacks
    only its end marker is whole.
    EXIF, XMP, IPTC, resolution and text are in `Picture.metadata`, for what is written.

    Args:
        path: the file; or its content, as bytes or as a file that is open for reading bytes.
        max_pixels: limit on width times height, checked on the header before anything is decoded; files of more bytes
            than so many pixels can take are not read at all.

    Raises:
        ImageReadError: a missing, empty, damaged or truncated file; no file of these formats; a TIFF with several
            pages, a camera RAW file, an image of high dynamic range; more than `max_pixels`; float samples that are
            NaN, infinite or far outside [0, 1].
    """
    return to_picture(read_samples(path, max_pixels=max_pixels))


def read_samples(path: str | os.PathLike[str] | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> Samples:
    """Decode a photograph, but leave it as it is stored; arguments and errors are those of `read_image`."""
    with _identified(path) as (kind, file, name):
        check_bytes(name, file.seek(0, io.SEEK_END), max_pixels, "is a file of")
        return _decode(kind, file, name, max_pixels)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The (height, width) that a file announces, before it is turned upright; no pixel is decoded.

    Raises:
        ImageReadError: as `read_image`, of what the header shows.
    """
    with _identified(path) as (kind, file, name):
        width, height = tiff_dimensions(file, name) if kind == "TIFF" else dimensions(kind, file)
    return height, width


@contextmanager
def _identified(source: str | os.PathLike[str] | bytes | BinaryIO) -> Iterator[tuple[str, BinaryIO, str]]:
    """A file of one of `FORMATS`: which, opened, and its name; errors of decoders become sentences about it."""
    name, opened = (str(source), _opened(Path(source))) if isinstance(source, str | os.PathLike) else _given(source)
    with opened as file:
        head = file.read(HEAD_BYTES)
        kind = identify(head)
        if not head:
            raise ImageReadError(f"'{name}' is empty (0 bytes), expected an image: copy or export it again.")
        if kind is None:
            found = describe_foreign(head)
            raise ImageReadError(
                f"'{name}' is {found}, expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}: {way_round(found)}."
            )
        try:
            yield kind, file, name
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
    if kind == "AVIF":
        return decode_avif(file.read(), name)
    if kind == "JPEG XL":
        data = file.read()
        jpeg = stored_jpeg(data)
        if jpeg is None:
            return decode_jxl(data, name)
        check_bytes(name, len(jpeg), max_pixels, "unpacks to")
        return _decode_jpeg(jpeg, name, kind, (width, height))
    if kind == "JPEG":
        return _decode_jpeg(file.read(), name, kind, (width, height))
    if kind == "PPM":
        return decode_pnm(file, name)
    image = _PILLOW[kind](file, name)
    _check_announced(image, (width, height))
    if isinstance(image, GifImagePlugin.GifImageFile):
        comments = [] if "comment" not in image.info else [bytes(image.info["comment"])]
        metadata, turn = gathered(name, comments=comments, lost=further_frames(image.n_frames))
    else:
        metadata, turn = gathered(name, resolution=_bmp_resolution(file))
    return replace(samples_from_pil(image, kind), metadata=metadata, orientation=turn)


def _decode_jpeg(data: bytes, name: str, kind: str, size: tuple[int, int]) -> Samples:
    check_jpeg(data)
    check_kind(data, name)
    metadata, turn = jpeg_metadata(data, name)
    image = JpegImagePlugin.JpegImageFile(io.BytesIO(with_end(without_metadata(data))), name)
    _check_announced(image, size)
    return replace(samples_from_pil(image, kind), metadata=metadata, orientation=turn)


def _check_announced(image: ImageFile.ImageFile, size: tuple[int, int]) -> None:
    if image.size != size:
        raise ValueError(f"its headers announce {size[0]}x{size[1]} and {image.width}x{image.height} pixels")


def _bmp_resolution(file: BinaryIO) -> Resolution | None:
    file.seek(14)
    head = file.read(32)
    if len(head) < 32 or int.from_bytes(head[:4], "little") < 40:
        return None
    across, down = struct.unpack("<ii", head[24:32])
    return Resolution(across, down, "m")
