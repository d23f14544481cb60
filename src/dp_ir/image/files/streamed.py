"""Writing photographs that do not fit into memory: from top to bottom, in bands of rows.

TIFF (tiled; BigTIFF where it takes more than 4 GiB) and PNG are encoded as the rows come. Other formats are limited in
size by themselves, and are encoded when their last row has come.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from dp_ir.errors import ImageWriteError
from dp_ir.image.files.encoding import Encoded, encode
from dp_ir.image.files.writing import QUALITY, Format, encoded_file, format_for, warn_of_clipping, whole_file
from dp_ir.image.formats.png import PNG_SIGNATURE, png_chunk, png_companions
from dp_ir.image.formats.tiff import LARGEST_TIFF, predicted, tiff_directory
from dp_ir.image.metadata.directories import LONG, LONG8, as_block, little_endian
from dp_ir.image.metadata.metadata import Metadata, fitted, tell
from dp_ir.image.picture.picture import Picture

_TILE = 256  # pixels
_TILE_OFFSETS, _TILE_SIZES = 324, 325


class Stream(Protocol):
    """What takes the rows of a photograph."""

    def write(self, band: Picture) -> None:
        """Take the next rows; all bands have the same width, profile and kind."""
        ...


@contextmanager
def stream_image(
    path: str | os.PathLike[str], size: tuple[int, int], source_depth: int, *, quality: int = QUALITY
) -> Iterator[Stream]:
    """Write a photograph band by band; what is written is what `write_image` writes of the whole.

    Args:
        path: destination; its folder must exist.
        size: (H, W) of the photograph.
        source_depth: bits per sample of its source; the file has as many, or the most that its format has.
        quality: 1 to 100, of JPEG, WebP, AVIF and JPEG XL.

    Raises:
        ImageWriteError: as `write_image`; fewer or more rows than announced. No file is left behind.
    """
    target = Path(path)
    layout, bit_depth = format_for(target, size, source_depth, quality=quality)
    with whole_file(target) as file:
        stream = _Stream(file, target, layout, size, bit_depth, quality)
        yield stream
        stream.finish()


class _Encoder(Protocol):
    def add(self, values: NDArray[Any]) -> None:
        """Take the next rows (rows, W, samples)."""
        ...

    def finish(self) -> None:
        """All rows are there."""
        ...


class _Stream:
    """Bands of pictures on their way to the encoder of a format."""

    def __init__(
        self, file: BinaryIO, target: Path, layout: Format, size: tuple[int, int], bit_depth: int, quality: int
    ) -> None:
        self._file, self._target, self._layout, self._size = file, target, layout, size
        self._bit_depth, self._quality = bit_depth, quality
        self._encoder: _Encoder | None = None
        self._rows, self._clipped = 0, False

    def write(self, band: Picture) -> None:
        layout = self._layout
        encoded = encode(
            band,
            bit_depth=self._bit_depth,
            with_grey=layout.grey,
            with_alpha=layout.alpha,
            with_profile=layout.profile,
        )
        self._clipped |= encoded.clipped
        self._rows += len(encoded.values)
        if self._rows > self._size[0]:
            raise self._miscounted()
        if self._encoder is None:
            metadata = fitted(band.metadata, layout.room, self._size)
            tell(metadata, stacklevel=3)
            self._encoder = self._begin(encoded, metadata)
        self._encoder.add(encoded.values)

    def finish(self) -> None:
        if self._encoder is None or self._rows != self._size[0]:
            raise self._miscounted()
        if self._clipped:
            warn_of_clipping(self._target)
        self._encoder.finish()

    def _miscounted(self) -> ImageWriteError:
        return ImageWriteError(
            f"'{self._target}' got {self._rows} rows of pixels, expected {self._size[0]}: write every row once."
        )

    def _begin(self, like: Encoded, metadata: Metadata) -> _Encoder:
        match self._target.suffix.lower():
            case ".tif" | ".tiff":
                return _TiffTiles(self._file, like, self._size, metadata)
            case ".png":
                return _PngRows(self._file, like, self._size, metadata)
            case _:
                return _Collected(self._file, like, self._size, metadata, self._layout, self._quality, self._target)


class _TiffTiles:
    """A tiled TIFF: the directory first, filled in at the end, when it is known where the tiles lie."""

    def __init__(self, file: BinaryIO, like: Encoded, size: tuple[int, int], metadata: Metadata) -> None:
        self._file, self._like, self._size, self._metadata = file, like, size, metadata
        samples = like.values.shape[2]
        height, width = (-(-side // _TILE) * _TILE for side in size)
        self._big = height * width * samples * like.values.dtype.itemsize > LARGEST_TIFF
        self._places = [0] * (height * width // _TILE**2)
        self._sizes = list(self._places)
        self._done = 0
        self._waiting = np.empty((0, size[1], samples), like.values.dtype)
        file.write(self._directory())

    def _directory(self) -> bytes:
        """Header and directory; as long as this whatever the tiles are."""
        directory = tiff_directory(self._like, self._size, self._metadata)
        if self._big:
            directory = little_endian(directory)
        directory.put(322, LONG, _TILE)
        directory.put(323, LONG, _TILE)
        for tag, numbers in ((_TILE_OFFSETS, self._places), (_TILE_SIZES, self._sizes)):
            directory.put(tag, LONG8 if self._big else LONG, *numbers)
        self._order = directory.order
        return as_block(directory, big=self._big)

    def add(self, values: NDArray[Any]) -> None:
        rows = np.concatenate([self._waiting, values]) if len(self._waiting) else values
        whole = len(rows) // _TILE * _TILE
        for top in range(0, whole, _TILE):
            self._write_row(rows[top : top + _TILE])
        self._waiting = rows[whole:].copy()

    def finish(self) -> None:
        if len(self._waiting):
            self._write_row(self._waiting)
        self._file.seek(0)
        self._file.write(self._directory())

    def _write_row(self, rows: NDArray[Any]) -> None:
        """A row of tiles; what lies beyond the image repeats its edge."""
        width = self._size[1]
        padded = np.pad(rows, ((0, _TILE - len(rows)), (0, -width % _TILE), (0, 0)), mode="edge")
        for left in range(0, width, _TILE):
            data = predicted(padded[:, left : left + _TILE], self._order)
            self._places[self._done], self._sizes[self._done] = self._file.tell(), len(data)
            self._done += 1
            self._file.write(data + b"\0" * (len(data) % 2))


class _PngRows:
    """A PNG whose rows are filtered and compressed as they come."""

    def __init__(self, file: BinaryIO, like: Encoded, size: tuple[int, int], metadata: Metadata) -> None:
        samples, self._bytes = like.values.shape[2], like.values.dtype.itemsize
        self._file, self._compress = file, zlib.compressobj(6)
        self._pixel = samples * self._bytes
        self._above = np.zeros((1, size[1] * self._pixel), np.uint8)
        colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[samples]
        numbers = (
            size[1].to_bytes(4, "big"),
            size[0].to_bytes(4, "big"),
            bytes([8 * self._bytes, colour_type, 0, 0, 0]),
        )
        file.write(PNG_SIGNATURE + png_chunk(b"IHDR", b"".join(numbers)) + png_companions(like.icc_profile, metadata))

    def add(self, values: NDArray[Any]) -> None:
        ordered = values if self._bytes == 1 else values.astype(">u2")
        raw = np.frombuffer(np.ascontiguousarray(ordered).tobytes(), np.uint8).reshape(len(values), -1)
        for top in range(0, len(raw), 64):
            rows = raw[top : top + 64]
            self._emit(self._compress.compress(self._filtered(rows)))
            self._above = rows[-1:].copy()

    def finish(self) -> None:
        self._emit(self._compress.flush())
        self._file.write(png_chunk(b"IEND", b""))

    def _emit(self, data: bytes) -> None:
        if data:
            self._file.write(png_chunk(b"IDAT", data))

    def _filtered(self, rows: NDArray[np.uint8]) -> bytes:
        """Each row by the filter that leaves the smallest differences, with the number of the filter before it."""
        here = rows.astype(np.int16)
        up = np.concatenate([self._above, rows[:-1]]).astype(np.int16)
        left, corner = np.zeros_like(here), np.zeros_like(here)
        left[:, self._pixel :], corner[:, self._pixel :] = here[:, : -self._pixel], up[:, : -self._pixel]
        by_left, by_up, by_corner = abs(up - corner), abs(left - corner), abs(left + up - 2 * corner)
        paeth = np.where((by_left <= by_up) & (by_left <= by_corner), left, np.where(by_up <= by_corner, up, corner))
        choices = {1: left, 2: up, 4: paeth}
        differences = np.stack([(here - guess).astype(np.uint8) for guess in choices.values()])
        best = np.abs(differences.view(np.int8).astype(np.int16)).sum(-1, dtype=np.int64).argmin(0)
        numbers = np.array(list(choices), np.uint8)[best]
        chosen = differences[best, np.arange(len(rows))]
        return np.concatenate([numbers[:, None], chosen], axis=1).tobytes()


class _Collected:
    """Any other format: its samples are held as they are stored, and encoded at the end."""

    def __init__(
        self,
        file: BinaryIO,
        like: Encoded,
        size: tuple[int, int],
        metadata: Metadata,
        layout: Format,
        quality: int,
        target: Path,
    ) -> None:
        self._file, self._like, self._metadata = file, like, metadata
        self._layout, self._quality, self._target = layout, quality, target
        self._values = np.empty((*size, like.values.shape[2]), like.values.dtype)
        self._rows = 0

    def add(self, values: NDArray[Any]) -> None:
        self._values[self._rows : self._rows + len(values)] = values
        self._rows += len(values)

    def finish(self) -> None:
        whole = Encoded(self._values, self._like.icc_profile, self._like.has_alpha)
        self._file.write(encoded_file(self._layout, whole, self._metadata, self._quality, self._target))
