"""TIFF: 1 to 16-bit integers, 32-bit integers and floats, at full precision in both directions.

Reading goes through tifffile. Writing is done here, because that is what carries EXIF along, byte by byte: its
directories hang below the image's own.
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO, Literal

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from dp_ir.errors import ImageReadError
from dp_ir.image.files.encoding import Encoded
from dp_ir.image.files.headers import check_bytes, check_size
from dp_ir.image.files.samples import FLOAT_RANGE, Samples, check_floats, scaled, straight
from dp_ir.image.formats.jpeg import check_jpeg
from dp_ir.image.metadata.directories import (
    BYTE,
    LONG,
    LONG8,
    SHORT,
    UNDEFINED,
    Directory,
    as_block,
    entries_of,
    little_endian,
)
from dp_ir.image.metadata.exif import SEPARATE, STORAGE, directory_of, exif_of_tiff
from dp_ir.image.metadata.metadata import Metadata, gathered
from dp_ir.image.metadata.photoshop import iptc_of, resources_of
from dp_ir.image.metadata.resolution import put_resolution

FloatArray = NDArray[np.float32]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _SEPARATED: 4, _YCBCR: 3}
_NO_COMPRESSION, _JPEG, _DEFLATE = 1, 7, 8
# None, CCITT, LZW, JPEG, Deflate, PackBits, Deflate (old number), LZMA, Zstandard: what photo software writes.
_COMPRESSIONS = frozenset((_NO_COMPRESSION, 2, 3, 4, 5, _JPEG, _DEFLATE, 32773, 32946, 34925, 50000))
_RAW_PHOTOMETRICS = (32803, 34892)  # colour filter array, linear raw
_DNG_VERSION = 50706
_ASSOCIATED, _UNASSOCIATED = 1, 2
_UNSIGNED, _FLOAT = 1, 3
_XMP, _IPTC, _RESOURCES, _PROFILE = 700, 33723, 34377, 34675
_MOST_SAMPLES = 16  # per pixel; bounds what a header can make the decoder allocate
_MOST_PAGES = 100  # previews and masks beside the image
_LARGEST_TILE = 1 << 24  # pixels of a tile that is larger than the image
_STRIP_BYTES = 1 << 18

LARGEST_TIFF = (1 << 32) - (1 << 26)
"""Bytes of samples that a TIFF can address, with room left for what compression may add and all else."""


def decode_tiff(file: BinaryIO, name: str, max_pixels: int) -> Samples:
    """Decode a TIFF file that holds one full-size image.

    Raises:
        ImageReadError: too many pixels, several pages, a RAW file, or a kind of samples that is no photograph.
        Exception: whatever the decoders raise on damaged files.
    """
    file.seek(0, 2)
    file_size = file.tell()
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _only_page(tiff, name)
        width, height = int(page.imagewidth), int(page.imagelength)
        check_size(name, width, height, max_pixels)
        _check_kind(page, name)
        _check_sizes(page, name, max_pixels)
        _check_complete(page, file_size)
        if int(page.compression) == _JPEG:
            _check_jpegs(page, file)
        array = page.asarray(squeeze=False)  # (planes, 1, H, W, interleaved samples)
        array = array[:, 0, ..., 0].transpose(1, 2, 0) if array.shape[0] > 1 else array[0, 0]
        values, bit_depth, full_scale = _values(page, array, name)
        colours = 3 if page.photometric == _PALETTE else _COLOURS[int(page.photometric)]
        limits = FLOAT_RANGE if array.dtype.kind == "f" else (0.0, 1.0)
        values, alpha = _straight_alpha(values, colours, tuple(int(kind) for kind in page.extrasamples), limits)
        profile = page.iccprofile
        metadata, turn = _metadata(page, file, name)  # before tifffile closes the file
    return Samples(
        values,
        alpha,
        bit_depth,
        "TIFF",
        None if profile is None else bytes(profile),
        metadata,
        turn,
        full_scale,
    )


def tiff_dimensions(file: BinaryIO, name: str) -> tuple[int, int]:
    """Read (width, height) of the one full-size image of a TIFF file, whatever the position in `file`.

    Raises:
        ImageReadError, Exception: as `decode_tiff`.
    """
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = _only_page(tiff, name)
        return int(page.imagewidth), int(page.imagelength)


def _metadata(page: Any, file: BinaryIO, name: str) -> tuple[Metadata, int]:
    turn = page.tags.valueof(274, default=1)
    turn = turn if turn in range(1, 9) else 1
    separate = {entry.tag: entry.value for entry in entries_of(file, SEPARATE)}
    resources, iptc = separate.get(_RESOURCES), separate.get(_IPTC)
    if iptc is not None and (resources is None or iptc_of(resources) is None):
        resources = resources_of(iptc) + (resources or b"")
    carried = exif_of_tiff(file, turned=turn >= 5)
    return gathered(name, carried=carried, xmp=separate.get(_XMP), resources=resources, turn=turn)


def _only_page(tiff: Any, name: str) -> Any:
    full = None
    for number, page in enumerate(tiff.pages):
        if number == _MOST_PAGES:
            raise ImageReadError(
                f"'{name}' is a TIFF of more than {_MOST_PAGES} pages, expected one image: split it into one file per "
                "page."
            )
        if page.tags.get(_DNG_VERSION) is not None or int(page.photometric) in _RAW_PHOTOMETRICS:
            raise ImageReadError(
                f"'{name}' is a camera RAW file, expected a developed photo: export it as 16-bit TIFF first."
            )
        if page.is_reduced or page.is_mask:
            continue
        if full is not None:
            raise ImageReadError(
                f"'{name}' is a TIFF of {len(tiff.pages)} pages, expected one image: split it into one file per page."
            )
        full = page
    if full is None:
        raise ImageReadError(f"'{name}' is a TIFF without a full-size image, expected one photo: export it again.")
    return full


def _check_kind(page: Any, name: str) -> None:
    photometric, compression, samples = int(page.photometric), int(page.compression), int(page.samplesperpixel)
    kind = int(page.sampleformat)
    found = None
    if compression not in _COMPRESSIONS:
        found = f"compression {getattr(page.compression, 'name', compression)}"
    elif photometric not in _COLOURS or (photometric == _YCBCR and compression != _JPEG):
        found = f"colour model {getattr(page.photometric, 'name', photometric)}"
    elif samples < _COLOURS[photometric] or samples > _MOST_SAMPLES or page.imagedepth > 1:
        found = f"{samples} samples per pixel and depth {page.imagedepth}"
    elif page.dtype is None or kind not in (_UNSIGNED, _FLOAT):
        found = f"{page.bitspersample}-bit samples of sample format {kind}"
    if found is not None:
        raise ImageReadError(
            f"'{name}' is a TIFF with {found}, expected a grey, RGB, palette or CMYK photo of unsigned integers or "
            "floats: convert it to 16-bit RGB."
        )


def _check_sizes(page: Any, name: str, max_pixels: int) -> None:
    """Bound what the decoder allocates: all samples of the image, and one tile, which may be larger than the image."""
    pixels = int(page.imagewidth) * int(page.imagelength)
    sample = int(page.samplesperpixel) * page.dtype.itemsize
    check_bytes(name, pixels * sample, max_pixels, "unpacks to")
    if page.is_tiled and int(page.tilewidth) * int(page.tilelength) > max(pixels, _LARGEST_TILE):
        raise ValueError(f"it has tiles of {page.tilewidth}x{page.tilelength} pixels")


def _check_jpegs(page: Any, file: BinaryIO) -> None:
    """Find strips and tiles whose own header announces more pixels than they have: the decoder would believe it."""
    height, width = page.chunks[:2] if page.planarconfig == 1 else page.chunks[-2:]
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        file.seek(offset)
        found = check_jpeg(file.read(count))
        if found[0] > width or found[1] > height:
            raise ValueError(f"a strip or tile of {width}x{height} pixels announces {found[0]}x{found[1]}")


def _check_complete(page: Any, file_size: int) -> None:
    """Find strips or tiles that are missing: the decoder would silently fill them with black."""
    offsets, counts = page.dataoffsets, page.databytecounts
    chunks = int(np.prod(page.chunked))
    if min(len(offsets), len(counts)) < chunks:
        raise EOFError(f"it lists {min(len(offsets), len(counts))} of {chunks} strips or tiles")
    for offset, count in zip(offsets, counts, strict=False):
        if count == 0 or offset + count > file_size:
            raise EOFError("the file ends before its last strip or tile")
    bits = int(page.imagewidth) * int(page.imagelength) * int(page.samplesperpixel) * int(page.bitspersample)
    if int(page.compression) == _NO_COMPRESSION and 8 * sum(counts) < bits:
        raise EOFError("its strips or tiles are too short")


def _values(page: Any, array: NDArray[Any], name: str) -> tuple[NDArray[Any], int, float | None]:
    """Samples (H, W, S) with palettes looked up and white-is-zero turned round, the bit depth, and the full scale.

    They are float32 and have no full scale, or integers as they were found, where nothing is to be computed with them.
    """
    bits = int(page.bitspersample)
    if page.photometric == _PALETTE:
        table = np.asarray(page.colormap)
        table = table >> 8 if table.max() > 255 else table  # some writers leave 8-bit entries unshifted
        return scaled(table.T[array[..., 0]], 255.0), 8, None
    if array.dtype.kind == "f":
        values = array.astype(np.float32)
        check_floats(f"'{name}'", values, *FLOAT_RANGE)
        bit_depth = 32
    elif bits > 16:
        values, bit_depth = (array / float((1 << bits) - 1)).astype(np.float32), 32
    else:
        full_scale, bit_depth = float((1 << bits) - 1), 8 if bits <= 8 else 16
        if page.photometric != _WHITE_IS_ZERO and _ASSOCIATED not in map(int, page.extrasamples):
            return array, bit_depth, full_scale
        values = scaled(array, full_scale)
    return (1.0 - values if page.photometric == _WHITE_IS_ZERO else values), bit_depth, None


def _straight_alpha(
    values: NDArray[Any], colours: int, extra: tuple[int, ...], limits: tuple[float, float]
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split off the first extra sample that is an opacity, and divide it out, within limits, of premultiplied ones."""
    for index, kind in enumerate(extra, start=colours):
        if kind in (_ASSOCIATED, _UNASSOCIATED) and index < values.shape[-1]:
            alpha, colour = values[..., index], values[..., :colours]
            if values.dtype.kind == "f":
                alpha = np.clip(alpha, np.float32(0.0), np.float32(1.0))
            return straight(colour, alpha, limits) if kind == _ASSOCIATED else colour, alpha
    return values[..., :colours], None


def encode_tiff(encoded: Encoded, metadata: Metadata) -> bytes:
    """Encode uint8, uint16 or float32 samples as a Deflate-compressed TIFF, with their profile and metadata.

    It is a BigTIFF where its samples take more bytes than a TIFF can address.
    """
    height, width, samples = encoded.values.shape
    big = encoded.values.nbytes > LARGEST_TIFF
    directory = tiff_directory(encoded, (height, width), metadata)
    if big:
        directory = little_endian(directory)
    rows = max(1, _STRIP_BYTES // (width * samples * encoded.values.dtype.itemsize))
    strips = [predicted(encoded.values[top : top + rows], directory.order) for top in range(0, height, rows)]
    counts, number = [len(strip) for strip in strips], LONG8 if big else LONG
    directory.put(278, LONG, rows)
    directory.put(279, number, *counts)
    directory.put(273, number, *counts)
    begin = len(as_block(directory, big=big))  # as long whatever the offsets are
    directory.put(273, number, *(int(offset) for offset in np.cumsum([begin, *counts[:-1]])))
    return b"".join([as_block(directory, big=big), *strips])


def tiff_directory(encoded: Encoded, size: tuple[int, int], metadata: Metadata) -> Directory:
    """What a directory says of an image of this size (H, W), all but where its strips or tiles lie."""
    samples, is_float = encoded.values.shape[2], encoded.values.dtype.kind == "f"
    directory = Directory("<") if metadata.exif is None else directory_of(metadata.exif)
    directory.entries = [entry for entry in directory.entries if entry.tag not in STORAGE | SEPARATE]
    directory.put(256, LONG, size[1])
    directory.put(257, LONG, size[0])
    directory.put(258, SHORT, *[encoded.values.dtype.itemsize * 8] * samples)
    directory.put(259, SHORT, _DEFLATE)
    directory.put(262, SHORT, _RGB if samples >= 3 else _BLACK_IS_ZERO)
    directory.put(277, SHORT, samples)
    directory.put(284, SHORT, 1)  # samples interleaved
    directory.put(317, SHORT, 3 if is_float else 2)
    if encoded.has_alpha:
        directory.put(338, SHORT, _UNASSOCIATED)
    directory.put(339, SHORT, *[_FLOAT if is_float else _UNSIGNED] * samples)
    if metadata.resolution is not None:
        put_resolution(directory, metadata.resolution)
    iptc = None if metadata.resources is None else iptc_of(metadata.resources)
    for tag, kind, value in (
        (_XMP, BYTE, metadata.xmp),
        (_IPTC, UNDEFINED, iptc),
        (_RESOURCES, BYTE, metadata.resources),
        (_PROFILE, UNDEFINED, encoded.icc_profile),
    ):
        if value is not None:
            directory.put(tag, kind, value)
    return directory


def predicted(values: NDArray[Any], order: Literal["<", ">"]) -> bytes:
    """Compress a strip or a tile (rows, columns, samples) with the predictor of its type, in an order of bytes."""
    predict = imagecodecs.floatpred_encode if values.dtype.kind == "f" else imagecodecs.delta_encode
    values = values.astype(values.dtype.newbyteorder(order), copy=False)
    return zlib.compress(predict(np.ascontiguousarray(values), axis=-2).tobytes(), 6)
