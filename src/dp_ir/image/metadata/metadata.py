"""What a photograph carries beside its pixels: EXIF, XMP, IPTC, resolution and text, from one file into another."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dp_ir.image.metadata import xmp as packets
from dp_ir.image.metadata.exif import Carried, carried_exif, exif_for_size, orientation, within
from dp_ir.image.metadata.photoshop import carried_resources
from dp_ir.image.metadata.resolution import Resolution, resolution_of, usable, with_resolution
from dp_ir.image.metadata.texts import Chunk, chunks_of, comments_of, described

XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0"
_MOST_NAMED = 20  # of what is left out; the rest is counted


class MetadataNote(UserWarning):
    """A file lacks something that its source had beside the pixels."""


@dataclass(frozen=True)
class Metadata:
    r"""What belongs to a picture beside its pixels; all of it holds for the upright picture.

    Args:
        exif: an EXIF block (starts with ``Exif\0\0``); its orientation, where it has one, is 1.
        xmp: an XMP packet in UTF-8.
        resources: Photoshop's image resources, which hold IPTC.
        resolution: as the file states it outside EXIF.
        comments: those of a JPEG file, in the encoding that they have there.
        chunks: of a PNG file, text and what may be copied to changed images.
        lost: what the source had and no file can be given, each in a few words.
        source: the name of the source, for people.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    resources: bytes | None = None
    resolution: Resolution | None = None
    comments: tuple[bytes, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    lost: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Room:
    """What a file format has room for.

    Args:
        exif: whether it holds EXIF.
        xmp: XMP.
        resources: Photoshop's image resources.
        resolution: the unit in which it states the resolution, and the largest number; None for in EXIF only.
        ratio: a resolution without a unit.
        comments: comments.
        chunks: chunks of PNG files.
        segment: bytes that a block, packet or comment may take at most.
    """

    exif: bool = True
    xmp: bool = True
    resources: bool = True
    resolution: tuple[str, int] | None = None
    ratio: bool = True
    comments: bool = False
    chunks: bool = False
    segment: int = 1 << 32


def gathered(
    name: str,
    *,
    exif: bytes | None = None,
    carried: Carried = (None, []),
    xmp: bytes | None = None,
    resources: bytes | None = None,
    resolution: Resolution | None = None,
    comments: Iterable[bytes] = (),
    chunks: Iterable[Chunk] = (),
    lost: Iterable[str] = (),
    turn: int | None = None,
) -> tuple[Metadata, int]:
    """Make metadata of what a file holds; nothing in it stops the photograph.

    Args:
        name: of the source, or the path to it.
        exif: a block as it was found.
        carried: in its place, what was carried of one already.
        xmp: a packet as it was found.
        resources: Photoshop's, as they were found.
        resolution: along the sides of the pixels as they are stored.
        comments: as `Metadata` has them.
        chunks: likewise.
        lost: what cannot be carried.
        turn: the orientation 1..8 where it is known; else that of EXIF or of XMP.

    Returns:
        The metadata of the upright picture, and the orientation that is to be undone.
    """
    if turn is None:
        turn = orientation(exif) or packets.orientation(xmp) or 1
    left_out = [*lost]
    block, more = carried if exif is None else carried_exif(exif, turned=turn >= 5)
    left_out += more
    if xmp is not None:
        xmp, more = packets.carried_xmp(xmp)
        left_out += more
    if resources is not None:
        resources, more = carried_resources(resources)
        left_out += more
    resolution = usable(resolution, turned=turn >= 5)
    metadata = Metadata(
        block, xmp, resources, resolution, tuple(comments), tuple(chunks), tuple(left_out), Path(name).name
    )
    return metadata, turn


def fitted(metadata: Metadata, room: Room, size: tuple[int, int]) -> Metadata:
    """What a file gets of the metadata of a picture.

    Args:
        metadata: of the picture.
        room: what the format of the file has.
        size: (H, W) of the picture that is written; sizes within the metadata are changed to it.

    Returns:
        What fits; what does not stands in its `lost`.
    """
    try:
        exif, resolution, lost = _exif_and_resolution(metadata, room, size)
    except ValueError as error:  # only of blocks that did not come from `gathered`
        exif, resolution, lost = None, None, [f"the EXIF block, which is damaged ({error})"]
    xmp, most = metadata.xmp, room.segment - len(XMP_SEGMENT)
    if xmp is not None:
        xmp = packets.xmp_for_size(xmp, size[1], size[0])
        xmp = xmp if len(xmp) <= most else packets.without_padding(xmp)
        if not room.xmp or len(xmp) > most:
            xmp = None
            lost.append("XMP")
    if metadata.resources is not None and not room.resources:
        lost.append("IPTC")
    comments, chunks = metadata.comments, metadata.chunks
    if room.chunks:
        comments, chunks = (), chunks + chunks_of(comments)
    elif room.comments:
        converted, more = comments_of(chunks, room.segment)
        comments, chunks = comments + converted, ()
        lost += more
    else:
        lost += ["the comment"] * bool(comments) + [described(chunk) for chunk in chunks]
        comments, chunks = (), ()
    resources = metadata.resources if room.resources else None
    return Metadata(exif, xmp, resources, resolution, comments, chunks, (*metadata.lost, *lost), metadata.source)


def tell(metadata: Metadata, *, stacklevel: int) -> None:
    """Warn, once, of all that is lost."""
    named = list(dict.fromkeys(metadata.lost))
    if named:
        rest = [f"{len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
        text = "; ".join([*named[:_MOST_NAMED], *rest])
        warnings.warn(f"{metadata.source or 'The picture'}: left out of the result: {text}.", MetadataNote, stacklevel)


def _exif_and_resolution(
    metadata: Metadata, room: Room, size: tuple[int, int]
) -> tuple[bytes | None, Resolution | None, list[str]]:
    exif, lost = exif_for_size(metadata.exif, size[1], size[0]), list[str]()
    stated = resolution_of(exif)
    resolution = metadata.resolution or stated
    if resolution is not None and not _states(room, resolution):
        if room.exif and stated is None:
            exif = with_resolution(exif, resolution)
        elif not room.exif:
            lost.append("the resolution")
        resolution = None
    if exif is not None and not room.exif:
        exif = None
        lost.append("EXIF")
    elif exif is not None:
        exif, more = within(exif, room.segment)
        lost += more
    return exif, resolution, lost


def _states(room: Room, resolution: Resolution) -> bool:
    if room.resolution is None or not (resolution.unit or room.ratio):
        return False
    unit, most = room.resolution
    return all(1 <= number <= most for number in resolution.per(unit))
