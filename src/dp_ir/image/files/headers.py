"""What a file is and how many pixels it announces, found without handing it to any decoder.

Only the formats that are named here are ever decoded. The announced size is checked here, before a decoder allocates
memory for it, so that a small file with a giant header is refused at once; so is a file larger than any image of the
permitted size, before it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO

from dp_ir.errors import ImageReadError
from dp_ir.image.formats.avif_header import avif_header
from dp_ir.image.formats.jxl_header import CODESTREAM, jxl_header
from dp_ir.image.formats.pnm import is_pnm, pnm_header

FORMATS = ("PNG", "JPEG", "WebP", "TIFF", "AVIF", "JPEG XL", "GIF", "PPM", "BMP")

MAX_PIXELS = 200_000_000
"""Default limit on width times height: above any camera sold, below what exhausts a workstation."""

_BYTES_PER_PIXEL = 16  # four channels of 32 bits, the most that a photo has
_RAISE_IT = "raise max_pixels (--max-pixels on the command line) if you trust the file"
_BESIDE_PIXELS = 1 << 26  # bytes: profiles, previews and the like of even the smallest image

HEAD_BYTES = 64
JPEG_LS = 0xF7  # its start-of-frame marker

_AVIF_BRANDS, _IMAGE_BRANDS = {b"avif", b"avis"}, {b"mif1", b"msf1", b"miaf"}
_HEIF = ("a HEIC file", "a HEIF file")

_FOREIGN_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"ftyphei", "a HEIC file"),
    (4, b"ftyphev", "a HEIC file"),
    (4, b"ftypmif1", "a HEIF file"),
    (4, b"ftypcrx", "a camera RAW file"),
    (4, b"ftyp", "a video file"),
    (0, b"FUJIFILM", "a camera RAW file"),
    (0, b"IIRO", "a camera RAW file"),
    (0, b"IIU\x00", "a camera RAW file"),
    (8, b"CR\x02\x00", "a camera RAW file"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (0, b"v/1\x01", "an OpenEXR file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)


def identify(head: bytes) -> str | None:
    """Name the format, one of `FORMATS`, that the first `HEAD_BYTES` bytes of a file announce; None for any other."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head[8:12] != b"CR\x02\x00" and head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "TIFF"
    if head.startswith(b"BM"):
        return "BMP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if is_pnm(head):
        return "PPM"
    if head.startswith((CODESTREAM, b"\0\0\0\x0cJXL \r\n\x87\n")):
        return "JPEG XL"
    if head[4:8] == b"ftyp" and _AVIF_BRANDS & {head[8:12], *_further_brands(head)}:
        return "AVIF"
    return None


def _further_brands(head: bytes) -> list[bytes]:
    """What a file of boxes says that it is as well, where it says at first only that it holds an image."""
    end = min(int.from_bytes(head[:4], "big"), len(head)) if head[8:12] in _IMAGE_BRANDS else 0
    return [head[place : place + 4] for place in range(16, end, 4)]


def describe_foreign(head: bytes) -> str:
    """Say in a few words what a file of no known format seems to be."""
    for offset, signature, words in _FOREIGN_SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return words
    return "no image of a known format"


def way_round(described: str) -> str:
    """What to do with a file of no known format."""
    if described in _HEIF:
        return "export it as a JPEG, or as a 16-bit TIFF or PNG (heif-convert, and the program that shows it, can)"
    return "convert it first"


def check_size(name: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse an announced size without pixels or with more than `max_pixels` of them.

    Raises:
        ImageReadError: naming the file, the size and the limit.
    """
    if width < 1 or height < 1:
        raise ImageReadError(
            f"'{name}' is {width}x{height} pixels, expected at least 1x1: the image is empty, export it again."
        )
    if width * height > max_pixels:
        raise ImageReadError(
            f"'{name}' announces {width}x{height} pixels ({width * height / 1e6:.1f} megapixels), expected at "
            f"most {max_pixels / 1e6:g} megapixels: reduce or crop it, or {_RAISE_IT}."
        )


def check_bytes(name: str, count: int, max_pixels: int, what: str) -> None:
    """Refuse what takes more bytes, in a file or unpacked, than any image of `max_pixels` does.

    Args:
        name: what to call the file.
        count: how many bytes there are.
        max_pixels: the limit on width times height that the limit on bytes follows from.
        what: what takes them, to follow the name: "is", "unpacks to".

    Raises:
        ImageReadError: naming the file, the size and the limit.
    """
    limit = _BYTES_PER_PIXEL * max_pixels + _BESIDE_PIXELS
    if count > limit:
        raise ImageReadError(
            f"'{name}' {what} {count / 1e9:.2f} GB, expected at most {limit / 1e9:.2f} GB, enough for "
            f"{max_pixels / 1e6:g} megapixels: reduce it, or {_RAISE_IT}."
        )


def dimensions(kind: str, file: BinaryIO) -> tuple[int, int]:
    """Read (width, height) from the header of a file of one of `FORMATS` but TIFF, whatever the position in `file`.

    Raises:
        EOFError: the file ends within its header.
        ValueError: the header contradicts its format.
    """
    file.seek(0)
    return _DIMENSIONS[kind](file)


def _take(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("the file ends within its header")
    return data


def _png(file: BinaryIO) -> tuple[int, int]:
    head = _take(file, 24)
    if head[12:16] != b"IHDR":
        raise ValueError("its first chunk is not IHDR")
    width, height = struct.unpack(">II", head[16:24])
    return width, height


def _jpeg(file: BinaryIO) -> tuple[int, int]:
    if _take(file, 2) != b"\xff\xd8":
        raise ValueError("it does not begin with a start of image")
    while True:
        if _take(file, 1) != b"\xff":
            raise ValueError("a marker is missing from its header")
        marker = _take(file, 1)[0]
        while marker == 0xFF:  # padding
            marker = _take(file, 1)[0]
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without content
            continue
        if marker in (0xD9, 0xDA):
            raise ValueError("it has no frame header")
        (length,) = struct.unpack(">H", _take(file, 2))
        # Start-of-frame markers; the three left out of the run are tables (DHT, DAC) and an extension (JPG).
        if marker == JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack(">xHH", _take(file, 5))
            return width, height
        _take(file, max(length - 2, 0))


def _webp(file: BinaryIO) -> tuple[int, int]:
    head = _take(file, 30)
    chunk = head[12:16]
    if chunk == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF  # the upper two bits are a scaling hint for displays
    raise ValueError("its first chunk is none of VP8, VP8L and VP8X")


def _bmp(file: BinaryIO) -> tuple[int, int]:
    head = _take(file, 26)
    (header_size,) = struct.unpack("<I", head[14:18])
    if header_size == 12:
        width, height = struct.unpack("<HH", head[18:22])
        return width, height
    width, height = struct.unpack("<ii", head[18:26])
    return width, abs(height)  # negative: rows run from the top


def _gif(file: BinaryIO) -> tuple[int, int]:
    width, height = struct.unpack("<HH", _take(file, 10)[6:])
    return width, height


_DIMENSIONS: dict[str, Callable[[BinaryIO], tuple[int, int]]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WebP": _webp,
    "AVIF": lambda file: avif_header(file).size,
    "JPEG XL": lambda file: jxl_header(file).size,
    "GIF": _gif,
    "PPM": lambda file: pnm_header(file).size,
    "BMP": _bmp,
}
