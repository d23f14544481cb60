"""Text beside the pixels: that of PNG files, in chunks with a keyword, and the comments of JPEG files."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

Chunk = tuple[bytes, bytes]
"""Of a PNG file: type and content."""

_COMMENT = "Comment"  # the keyword of text that has no other
_LARGEST = 1 << 24  # bytes; compressed text may announce anything


def text_of(chunk: Chunk) -> tuple[str, bytes, str] | None:
    """Keyword, text and its encoding of a chunk; None where it holds no text, or that is damaged."""
    kind, body = chunk
    keyword, _, rest = body.partition(b"\0")
    try:
        if kind == b"tEXt":
            return keyword.decode("latin-1"), rest, "latin-1"
        if kind == b"zTXt":
            return keyword.decode("latin-1"), _unpacked(rest[1:]), "latin-1"
        if kind == b"iTXt" and len(rest) >= 4:
            packed, text = rest[0], rest[2:].split(b"\0", 2)[2]
            return keyword.decode("latin-1"), _unpacked(text) if packed else text, "utf-8"
    except (zlib.error, ValueError, IndexError):
        pass
    return None


def raw_profile(text: bytes) -> bytes:
    """What ImageMagick writes as text, in hexadecimal: a name, a number of bytes, and these; empty where damaged."""
    lines = text.strip().split(b"\n", 2)
    try:
        return bytes.fromhex(lines[2].decode("ascii"))
    except (IndexError, ValueError):
        return b""


def comments_of(chunks: Iterable[Chunk], longest: int) -> tuple[tuple[bytes, ...], list[str]]:
    """Chunks of text as comments of at most so many bytes, and those that cannot be one, each in a few words."""
    comments, lost = list[bytes](), list[str]()
    for chunk in chunks:
        found = text_of(chunk)
        if found is None:
            lost.append(described(chunk))
            continue
        keyword, text, encoding = found
        if encoding != "utf-8":
            text = text.decode(encoding).encode()
        comment = text if keyword == _COMMENT else f"{keyword}: ".encode() + text
        if len(comment) > longest:
            lost.append(described(chunk))
        else:
            comments.append(comment)
    return tuple(comments), lost


def chunks_of(comments: Iterable[bytes]) -> tuple[Chunk, ...]:
    """Comments as chunks of text."""
    chunks: list[Chunk] = []
    for comment in comments:
        text = comment.rstrip(b"\0")
        kind, head = (b"iTXt", bytes(5)) if _is_utf8(text) and not text.isascii() else (b"tEXt", bytes(1))
        chunks.append((kind, _COMMENT.encode() + head + text))
    return tuple(chunks)


def described(chunk: Chunk) -> str:
    """A chunk in a few words."""
    keyword = chunk[1].partition(b"\0")[0].decode("latin-1")[:79]
    kind = chunk[0].decode("latin-1")
    return f"the text {keyword!r}" if kind in ("tEXt", "zTXt", "iTXt") else f"the PNG chunk {kind}"


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, _LARGEST)
    if not unpacker.eof:
        raise ValueError("text that is cut off, or too long")
    return text


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
