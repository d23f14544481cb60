"""Boxes of the ISO base media file format (ISO/IEC 14496-12), which AVIF files and JPEG XL containers are made of."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_MOST_BOXES = 10_000  # of one parent


class Box(NamedTuple):
    """A box: its type, and where its content begins and ends in the file."""

    kind: bytes
    start: int
    end: int


def boxes(file: BinaryIO, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that lie one after another between two places of a file.

    Raises:
        EOFError: the last one is cut off.
        ValueError: one is smaller than its own header, or there are more than any program writes.
    """
    whole = file.seek(0, io.SEEK_END)
    end = whole if end is None else end
    for _ in range(_MOST_BOXES):
        if start >= end:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            raise EOFError("it ends within the head of a box")
        size, kind = struct.unpack(">I4s", head[:8])
        content = start + 8
        if size == 1:  # a size of 64 bits follows
            if len(head) < 16:
                raise EOFError("it ends within the head of a box")
            size, content = int.from_bytes(head[8:], "big"), start + 16
        elif size == 0:  # to the end
            size = end - start
        if start + size < content:
            raise ValueError(f"its box {kind!r} is smaller than a box can be")
        if start + size > end:
            raise EOFError(f"it ends within its box {kind!r}")
        yield Box(kind, content, start + size)
        start += size
    raise ValueError(f"it has more than {_MOST_BOXES} boxes")


def content_of(file: BinaryIO, box: Box) -> bytes:
    """The bytes of a box."""
    file.seek(box.start)
    return file.read(box.end - box.start)
