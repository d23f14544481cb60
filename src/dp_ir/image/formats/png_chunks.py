"""Chunks of PNG files beside the pixels and their colours: read into metadata, and made of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from dp_ir.image.metadata.exif import PREFIX
from dp_ir.image.metadata.metadata import Metadata, gathered
from dp_ir.image.metadata.photoshop import resources_of
from dp_ir.image.metadata.resolution import Resolution
from dp_ir.image.metadata.texts import Chunk, described, raw_profile, text_of

_XMP = "XML:com.adobe.xmp"
_PROFILE = "Raw profile type "  # of the keyword of metadata that ImageMagick writes as text
# What says how pixels and colours are stored: for the decoder, not for people.
_STORAGE = frozenset(
    (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"iDOT", b"acTL", b"fcTL", b"fdAT")
)


def png_metadata(chunks: Iterable[Chunk], name: str, lost: Iterable[str] = ()) -> tuple[Metadata, int]:
    """The metadata of a PNG file, and the orientation to be undone.

    Args:
        chunks: those beside the pixels.
        name: of the file.
        lost: what is known to be lost of it.
    """
    exif = xmp = resources = resolution = None
    raw = dict[str, bytes]()
    kept, left_out = list[Chunk](), [*lost]
    for chunk in chunks:
        kind, body = chunk
        found = text_of(chunk)
        keyword, text = found[:2] if found else ("", b"")
        if kind == b"eXIf" and exif is None:
            exif = body
        elif kind == b"pHYs" and len(body) == 9 and resolution is None:
            across, down, unit = struct.unpack(">IIB", body)
            resolution = Resolution(across, down, "m" if unit == 1 else "")
        elif keyword == _XMP and xmp is None:
            xmp = text
        elif keyword.startswith(_PROFILE) and (content := raw_profile(text)):
            raw.setdefault(keyword.removeprefix(_PROFILE).lower(), content)
        elif kind not in _STORAGE:
            # The case of the last letter says whether a chunk may be copied to an image that has changed.
            if kind in (b"eXIf", b"pHYs") or keyword == _XMP or kind[3:].isupper():
                left_out.append(described(chunk))
            else:
                kept.append(chunk)
    app1 = raw.pop("app1", b"")
    if app1.startswith(PREFIX):
        raw.setdefault("exif", app1)
    elif app1:
        raw.setdefault("xmp", app1[app1.find(b"<") :])
    for key, content in raw.items():
        if key == "exif" and exif is None:
            exif = content
        elif key == "xmp" and xmp is None:
            xmp = content
        elif key in ("iptc", "8bim") and resources is None:
            resources = content if content.startswith(b"8BIM") else resources_of(content)
        else:
            left_out.append(f"the text '{_PROFILE}{key}'")
    return gathered(name, exif=exif, xmp=xmp, resources=resources, resolution=resolution, chunks=kept, lost=left_out)


def chunks_of_metadata(metadata: Metadata) -> list[Chunk]:
    """Metadata as chunks, which may stand anywhere between header and pixels."""
    chunks: list[Chunk] = []
    if metadata.exif is not None:
        chunks.append((b"eXIf", metadata.exif.removeprefix(PREFIX)))
    if metadata.resolution is not None:
        across, down = metadata.resolution.per("m")
        chunks.append((b"pHYs", struct.pack(">IIB", across, down, bool(metadata.resolution.unit))))
    if metadata.xmp is not None:
        chunks.append((b"iTXt", _XMP.encode() + bytes(5) + metadata.xmp))
    if metadata.resources is not None:
        digits = metadata.resources.hex()
        lines = [
            f"\niptc\n{len(metadata.resources):8}",
            *(digits[at : at + 72] for at in range(0, len(digits), 72)),
            "",
        ]
        packed = zlib.compress("\n".join(lines).encode())
        chunks.append((b"zTXt", f"{_PROFILE}iptc".encode() + bytes(2) + packed))
    return [*chunks, *metadata.chunks]
