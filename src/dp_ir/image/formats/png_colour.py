"""What a PNG says of its colours, as an ICC profile: of cICP, iCCP, sRGB, and gAMA with cHRM the first counts.

The order is that of the PNG specification, third edition, section 4.3; the numbers of cICP are those of ITU-T H.273.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping

from dp_ir.image.metadata.cicp import UNSPECIFIED, check_range, profile_by_number, profile_of
from dp_ir.image.metadata.icc import BT709, D65, SRGB_CURVE

COLOUR_CHUNKS = frozenset((b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"))
"""The chunks that this reads, all of which stand before the pixels."""

_LARGEST_PROFILE = 1 << 24  # bytes; a compressed profile may announce anything
_LENGTHS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
_GAMMAS = (16e-5, 6250.0)  # what libpng takes for the truth


def png_profile(chunks: Mapping[bytes, bytes], channels: int, name: str) -> tuple[bytes | None, bool]:
    """The profile of a PNG's samples.

    Args:
        chunks: contents of those of `COLOUR_CHUNKS` that it has.
        channels: 1 (grey) or 3 (RGB, palette) of what is decoded.
        name: what to call the file.

    Returns:
        The profile, None where there is no description; and whether the samples are of narrow range (16 to 235 of 255).

    Raises:
        ImageReadError: the image is of high dynamic range (PQ or HLG).

    Warns:
        UserWarning: a chunk cannot be made sense of; the next in order counts.
    """
    sound = {kind: body for kind, body in chunks.items() if len(body) == _LENGTHS.get(kind, len(body))}
    for kind in sorted(chunks.keys() - sound.keys()):
        _ignored(kind)
    if b"cICP" in sound:
        primaries, transfer, matrix, full_range = sound[b"cICP"]
        check_range(transfer, "a PNG", name)
        profile = profile_by_number(primaries, transfer, channels) if matrix == 0 and full_range < 2 else None
        if profile is not None:
            return profile, not full_range
        if UNSPECIFIED not in (primaries, transfer):
            _ignored(b"cICP")
    if b"iCCP" in sound:
        if profile := _unpacked(sound[b"iCCP"]):
            return profile, False
        _ignored(b"iCCP")
    gamma = int.from_bytes(sound[b"gAMA"], "big") / 1e5 if b"gAMA" in sound else None
    numbers = sound.get(b"cHRM", b"")
    corners = tuple(int.from_bytes(numbers[place : place + 4], "big") / 1e5 for place in range(0, len(numbers), 4))
    return described_profile(channels, srgb=b"sRGB" in sound, gamma=gamma, chromaticities=corners), False


def described_profile(
    channels: int, *, srgb: bool, gamma: float | None, chromaticities: tuple[float, ...]
) -> bytes | None:
    """The profile that the oldest chunks describe.

    Args:
        channels: 1 (grey) or 3 (RGB).
        srgb: there is an sRGB chunk, which outdoes the others.
        gamma: of gAMA, such as 0.45455: a sample is light to this power; None for the curve of sRGB.
        chromaticities: of cHRM: x, y of white, red, green and blue; empty for those of sRGB.

    Returns:
        None where nothing is described.

    Warns:
        UserWarning: numbers that make no sense, which are left out.
    """
    if srgb:
        return profile_of(channels, SRGB_CURVE, BT709, D65)
    if gamma is not None and not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        _ignored(b"gAMA")
        gamma = None
    curve = SRGB_CURVE if gamma is None else (1 / gamma,)
    if chromaticities and channels == 3:
        try:
            return profile_of(channels, curve, chromaticities[2:], chromaticities[:2])
        except ValueError:
            _ignored(b"cHRM")
    return None if gamma is None else profile_of(channels, curve, BT709, D65)


def _unpacked(body: bytes) -> bytes:
    """The profile in an iCCP chunk; empty where it is damaged."""
    _, _, compressed = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(compressed[1:], _LARGEST_PROFILE)
    except zlib.error:
        return b""


def _ignored(kind: bytes) -> None:
    warnings.warn(f"The {kind.decode()} chunk of a PNG makes no sense and was ignored.", stacklevel=3)
