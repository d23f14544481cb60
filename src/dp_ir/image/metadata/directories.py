"""Directories of tags, as TIFF files and EXIF blocks have them, byte by byte: values are carried, not interpreted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from PIL import ExifTags

EXIF, GPS, INTEROP = 0x8769, 0x8825, 0xA005
_POINTERS = {EXIF: "EXIF", GPS: "GPS", INTEROP: "interoperability"}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, LONG8 = 1, 2, 3, 4, 5, 7, 16
# Bytes of a value of each type; 13 is a pointer to a directory, 16 to 18 are BigTIFF's, 129 is the UTF-8 of EXIF 3.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8, 129: 1}
_NUMBERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_UNITS = {5: 4, 10: 4}  # bytes that turn round together where that is not the whole value
_MAGIC = {42: False, 43: True, 0x55: False, 0x4F52: False, 0x5352: False}  # TIFF, BigTIFF, and RAW files built likewise
_ORDERS: dict[bytes, Literal["<", ">"]] = {b"II": "<", b"MM": ">"}
_LARGEST = 1 << 26  # bytes of a value; what is larger is no description of a photograph


class Entry(NamedTuple):
    """A tag: its type, the number of its values, these as they are stored, and where they lie; -1: within the entry."""

    tag: int
    kind: int
    number: int
    value: bytes
    place: int = -1


@dataclass
class Directory:
    """A directory and those below it.

    Args:
        order: of bytes, "<" or ">".
        place: its first byte in the block, and the bytes that it takes.
        entries: its tags, without pointers to the directories below.
        below: the EXIF, GPS and interoperability directories that it points to.
        following: where the next directory lies, 0 for nowhere; that of an EXIF block describes its thumbnail.
        lost: what could not be read, each in a few words.
    """

    order: Literal["<", ">"]
    place: tuple[int, int] = (0, 0)
    entries: list[Entry] = field(default_factory=list)
    below: dict[int, Directory] = field(default_factory=dict)
    following: int = 0
    lost: list[str] = field(default_factory=list)

    @property
    def byte_order(self) -> Literal["little", "big"]:
        """As Python calls it."""
        return "little" if self.order == "<" else "big"

    def number(self, tag: int) -> int | None:
        """The first of the values of a tag, where it is an integer or a digit in text."""
        for entry in self.entries:
            if entry.tag == tag and entry.number:
                if entry.kind == ASCII:
                    text = entry.value.rstrip(b"\0 ")
                    return int(text) if text.isdigit() and len(text) < 10 else None
                if code := _NUMBERS.get(entry.kind):
                    return int(struct.unpack_from(self.order + code, entry.value)[0])
        return None

    def put(self, tag: int, kind: int, *values: int | bytes) -> None:
        """Set a tag to integers, to pairs of integers that are fractions, or to bytes."""
        if values and isinstance(values[0], bytes):
            value = values[0]
        else:
            value = struct.pack(f"{self.order}{len(values)}{'I' if kind == RATIONAL else _NUMBERS[kind]}", *values)
        self.entries = [entry for entry in self.entries if entry.tag != tag]
        self.entries.append(Entry(tag, kind, len(value) // _SIZES[kind], value))

    def everywhere(self) -> Iterator[Directory]:
        """The directory and all below."""
        yield self
        for directory in self.below.values():
            yield from directory.everywhere()


def tag_name(tag: int, within: int = EXIF) -> str:
    """What a tag is called, with its number."""
    known = ExifTags.GPSTAGS if within == GPS else ExifTags.TAGS
    return f"{known[tag]} (0x{tag:04X})" if tag in known else f"0x{tag:04X}"


def read_directory(file: BinaryIO, *, skip: frozenset[int] = frozenset()) -> Directory:
    """Read the first directory of a TIFF file or an EXIF block, and those that it points to.

    Args:
        file: it begins with the header of a TIFF.
        skip: tags of the first directory that are not wanted.

    Returns:
        The directory; tags that cannot be read are left out and listed as lost.

    Raises:
        ValueError: there is no such header, or it points to no directory.
    """
    file.seek(0)
    head = file.read(16)
    order = _ORDERS.get(head[:2])
    magic = struct.unpack_from(f"{order}H", head, 2)[0] if order and len(head) >= 8 else 0
    if order is None or magic not in _MAGIC or (_MAGIC[magic] and len(head) < 16):
        raise ValueError("no header")
    big = _MAGIC[magic]
    (at,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", head, 8 if big else 4)
    directory = _Reader(file, order, big).directory(at, 0, skip)
    if directory is None:
        raise ValueError("no directory")
    return directory


def entries_of(file: BinaryIO, tags: frozenset[int]) -> list[Entry]:
    """Some tags of the first directory of a TIFF file, as far as they can be read; arguments as of `read_directory`."""
    others = frozenset(range(1 << 16)) - tags
    try:
        return read_directory(file, skip=others).entries
    except ValueError:
        return []


class _Reader:
    def __init__(self, file: BinaryIO, order: Literal["<", ">"], big: bool) -> None:
        self._file, self._order, self._big = file, order, big
        self._seen: set[int] = set()
        file.seek(0, 2)
        self._end = file.tell()

    def directory(self, at: int, tag: int, skip: frozenset[int] = frozenset()) -> Directory | None:
        head, size, inline, code = (8, 20, 8, "Q") if self._big else (2, 12, 4, "I")
        if not 8 <= at <= self._end - head or at in self._seen or len(self._seen) == 8:
            return None
        self._seen.add(at)
        (count,) = struct.unpack(self._order + ("Q" if self._big else "H"), self._bytes(at, head))
        there = min(count, (self._end - at - head) // size)
        found = Directory(self._order, (at, min(head + size * count + inline, self._end - at)))
        if there < count:
            found.lost.append(f"{count - there} EXIF tags beyond the end of their block")
        if self._end >= at + head + size * there + inline:
            (found.following,) = struct.unpack(self._order + code, self._bytes(at + head + size * there, inline))
        layout = struct.Struct(f"{self._order}HH{code}{inline}s")
        for number, kind, values, raw in layout.iter_unpack(self._bytes(at + head, there * size)):
            if number not in skip:
                self._add(found, tag, number, kind, values, raw)
        return found

    def _add(self, found: Directory, within: int, tag: int, kind: int, count: int, raw: bytes) -> None:
        size, reason = _SIZES.get(kind, 0) * count, ""
        (offset,) = struct.unpack(self._order + ("Q" if self._big else "I"), raw)
        if tag in _POINTERS:
            (pointer,) = struct.unpack_from(
                self._order + {SHORT: "H", LONG8: "Q", 18: "Q"}.get(kind, "I"), raw.ljust(8)
            )
            if tag not in found.below and (below := self.directory(pointer, tag)) is not None:
                found.below[tag] = below
                found.lost += below.lost
            else:
                found.lost.append(f"the {_POINTERS[tag]} directory (0x{tag:04X} points to none)")
            return
        if kind not in _SIZES:
            reason = f"of the unknown type {kind}"
        elif kind == 13:
            reason = "which points to a directory"
        elif self._big and kind in (16, 17, 18):
            reason = "a number of 64 bits"
        elif size <= len(raw):
            found.entries.append(Entry(tag, kind, count, raw[:size]))
        elif offset + size > self._end or offset < 8:
            reason = "whose value lies beyond the end"
        elif size > _LARGEST:
            reason = "which is too large"
        else:
            found.entries.append(Entry(tag, kind, count, self._bytes(offset, size), offset))
        if reason:
            found.lost.append(f"the EXIF tag {tag_name(tag, within)}, {reason}")

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)


def as_block(directory: Directory, *, big: bool = False) -> bytes:
    """A block of its own that holds a directory; `big` as in BigTIFF."""
    order = directory.order
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8))
    return head + _serialised(directory, len(head), big=big)


def little_endian(directory: Directory) -> Directory:
    """The same in the order of bytes that every program reads, also of a BigTIFF; bytes of unknown meaning stay."""
    if directory.order == "<":
        return directory
    entries = []
    for entry in directory.entries:
        unit = _UNITS.get(entry.kind, _SIZES[entry.kind])
        value = b"".join(entry.value[at : at + unit][::-1] for at in range(0, len(entry.value), unit))
        entries.append(Entry(entry.tag, entry.kind, entry.number, value))
    return Directory("<", entries=entries, below={tag: little_endian(part) for tag, part in directory.below.items()})


def in_place(block: bytes, directory: Directory, gone: list[tuple[int, int]]) -> bytes:
    """The block with what has changed in its directories; every value stays where it was.

    Maker's notes often count from the start of the block, so that only there their contents can be found.

    Args:
        block: what the directory was read from.
        directory: none of its directories has more tags than were read.
        gone: first bytes and numbers of bytes of what is not wanted any more, which are overwritten with zeros.
    """
    live, dead = (np.zeros(len(block), np.int32) for _ in range(2))
    for part in directory.everywhere():
        live[part.place[0] : sum(part.place)] += 1
    if (live > 1).any():
        return as_block(directory)  # directories that overlap, of a block that was written wrongly
    for entry in (entry for part in directory.everywhere() for entry in part.entries):
        if entry.place >= 0:
            place = slice(entry.place, entry.place + len(entry.value))
            if (live[place] == 1).any() or entry.place < 8:
                return as_block(directory)
            live[place] += 2
    live[:8] = 2
    for start, count in gone:
        dead[start : start + count] = 1
    dead[live > 0] = 0
    out = bytearray(np.where(dead, 0, np.frombuffer(block, np.uint8)).astype(np.uint8).tobytes())
    kept = np.flatnonzero(dead == 0)
    del out[int(kept[-1]) + 1 :]
    for part in directory.everywhere():
        order, start = part.order, part.place[0]
        lines = [
            (
                entry.tag,
                struct.pack(f"{order}HHI", entry.tag, entry.kind, entry.number)
                + (struct.pack(f"{order}I", entry.place) if entry.place >= 0 else entry.value.ljust(4, b"\0")),
            )
            for entry in part.entries
        ]
        lines += [(tag, struct.pack(f"{order}HHII", tag, LONG, 1, below.place[0])) for tag, below in part.below.items()]
        lines.sort(key=lambda line: line[0])
        written = struct.pack(f"{order}H", len(lines)) + b"".join(line for _, line in lines)
        end = max(start + len(written) + 4, min(sum(part.place), len(out)))
        out[start:end] = written.ljust(end - start, b"\0")
    return bytes(out)


def _serialised(directory: Directory, at: int, *, big: bool) -> bytes:
    """A directory with its values and those below it, to lie from byte `at` of a file on."""
    head, size, inline, code = (8, 20, 8, "Q") if big else (2, 12, 4, "I")
    order = directory.order
    entries = sorted(directory.entries, key=lambda entry: entry.tag)
    number = len(entries) + len(directory.below)
    at += head + size * number + inline
    lines: list[tuple[int, bytes]] = []
    behind = bytearray()

    def lay(data: bytes) -> bytes:
        place = at + len(behind)
        behind.extend(data + bytes(len(data) % 2))
        return struct.pack(order + code, place)

    for entry in entries:
        place = entry.value.ljust(inline, b"\0") if len(entry.value) <= inline else lay(entry.value)
        lines.append((entry.tag, struct.pack(f"{order}HH{code}", entry.tag, entry.kind, entry.number) + place))
    for tag, below in directory.below.items():
        place = lay(_serialised(below, at + len(behind), big=big))
        lines.append((tag, struct.pack(f"{order}HH{code}", tag, LONG8 if big else LONG, 1) + place))
    count = struct.pack(order + ("Q" if big else "H"), number)
    return count + b"".join(line for _, line in sorted(lines)) + bytes(inline) + behind
