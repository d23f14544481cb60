"""PPM and PGM in their binary forms: rows of numbers behind a short header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dp_ir.image.files.samples import Samples
from dp_ir.image.metadata.metadata import gathered

_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,9})"
_HEADER = re.compile(rb"P([56])" + 3 * _NUMBER + rb"\s")
_LONGEST_HEADER = 1 << 16  # bytes, with its comments


@dataclass(frozen=True)
class PnmHeader:
    """What the header of a PPM or PGM file states.

    Args:
        channels: 1 or 3.
        size: (width, height).
        largest: the number that stands for 1.
        end: where the pixels begin.
    """

    channels: int
    size: tuple[int, int]
    largest: int
    end: int


def is_pnm(head: bytes) -> bool:
    """Whether a file begins as a binary PPM or PGM file does."""
    return re.match(rb"P[56]\s+[\d#]", head) is not None


def pnm_header(file: BinaryIO) -> PnmHeader:
    """Read the header of a file that is at its beginning.

    Raises:
        ValueError: it is damaged.
    """
    found = _HEADER.match(file.read(_LONGEST_HEADER))
    if found is None:
        raise ValueError("its header does not give width, height and the largest value")
    kind, width, height, largest = map(int, found.groups())
    if not 1 <= largest <= 0xFFFF:
        raise ValueError(f"its largest value is {largest}, which must lie from 1 to 65535")
    return PnmHeader(1 if kind == 5 else 3, (width, height), largest, found.end())


def decode_pnm(file: BinaryIO, name: str) -> Samples:
    """Decode the first image of a file that is at its beginning.

    Raises:
        EOFError, ValueError: it is damaged.
    """
    header = pnm_header(file)
    file.seek(header.end)
    width, height = header.size
    dtype = np.dtype(np.uint8 if header.largest < 256 else ">u2")
    count = width * height * header.channels
    data = file.read(count * dtype.itemsize)
    if len(data) < count * dtype.itemsize:
        raise EOFError("the file ends within its pixels")
    values = np.frombuffer(data, dtype).reshape(height, width, header.channels)
    if values.max() > header.largest:
        raise ValueError(f"it holds {values.max()}, more than its largest value, {header.largest}")
    metadata, turn = gathered(name, lost=["what follows the first image"] * bool(file.read(1)))
    native = values.astype(dtype.newbyteorder("="))
    return Samples(native, None, 8 * dtype.itemsize, "PPM", None, metadata, turn, full_scale=float(header.largest))
