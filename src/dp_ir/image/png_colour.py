"""What a PNG says of its colours, as an ICC profile: of cICP, iCCP, sRGB, and gAMA with cHRM the first counts.

The order is that of the PNG specification, third edition, section 4.3; the numbers of cICP are those of ITU-T H.273.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping

from dp_ir.errors import ImageReadError
from dp_ir.image.icc import BT709, D65, SRGB_CURVE, Curve, grey_profile, rgb_profile

COLOUR_CHUNKS = frozenset((b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"))
"""The chunks that this reads, all of which stand before the pixels."""

_LARGEST_PROFILE = 1 << 24  # bytes; a compressed profile may announce anything
_LENGTHS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
_ILLUMINANT_C, _ILLUMINANT_E = (0.310, 0.316), (1 / 3, 1 / 3)
_NTSC, _SMPTE170M, _P3 = (
    (0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
)
_PRIMARIES: Mapping[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    1: (BT709, D65),
    4: (_NTSC, _ILLUMINANT_C),
    5: ((0.64, 0.33, 0.29, 0.60, 0.15, 0.06), D65),
    6: (_SMPTE170M, D65),
    7: (_SMPTE170M, D65),
    8: ((0.681, 0.319, 0.243, 0.692, 0.145, 0.049), _ILLUMINANT_C),
    9: ((0.708, 0.292, 0.170, 0.797, 0.131, 0.046), D65),
    10: ((1.0, 0.0, 0.0, 1.0, 0.0, 0.0), _ILLUMINANT_E),
    11: (_P3, (0.314, 0.351)),
    12: (_P3, D65),
    22: ((0.630, 0.340, 0.295, 0.605, 0.155, 0.077), D65),
}
_ALPHA, _BETA = 1.09929682680944, 0.018053968510807  # of BT.709 and BT.2020
_BT709_CURVE: Curve = (1 / 0.45, 1 / _ALPHA, 1 - 1 / _ALPHA, 1 / 4.5, 4.5 * _BETA)
_TRANSFERS: Mapping[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 4 * 0.0228),
    8: (1.0,),
    13: SRGB_CURVE,
    17: (2.6, (52.37 / 48.0) ** (1 / 2.6), 0.0, 0.0, 0.0),
}
_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2
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
        if transfer in _HIGH_DYNAMIC_RANGE:
            raise ImageReadError(
                f"'{name}' is a PNG of high dynamic range ({_HIGH_DYNAMIC_RANGE[transfer]}, says its cICP chunk), "
                "expected standard dynamic range: convert it to a 16-bit PNG or TIFF of sRGB or Display P3 first."
            )
        if matrix == 0 and full_range < 2 and transfer in _TRANSFERS and (primaries in _PRIMARIES or channels == 1):
            return _profile(channels, _TRANSFERS[transfer], *_PRIMARIES.get(primaries, (BT709, D65))), not full_range
        if _UNSPECIFIED not in (primaries, transfer):
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
        return _profile(channels, SRGB_CURVE, BT709, D65)
    if gamma is not None and not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
        _ignored(b"gAMA")
        gamma = None
    curve = SRGB_CURVE if gamma is None else (1 / gamma,)
    if chromaticities and channels == 3:
        try:
            return _profile(channels, curve, chromaticities[2:], chromaticities[:2])
        except ValueError:
            _ignored(b"cHRM")
    return None if gamma is None else _profile(channels, curve, BT709, D65)


def _profile(channels: int, curve: Curve, primaries: tuple[float, ...], white: tuple[float, ...]) -> bytes:
    standard = curve == SRGB_CURVE and (channels == 1 or (primaries, white) == (BT709, D65))
    name = "sRGB" if standard else "Colours of a PNG"
    return grey_profile(name, curve) if channels == 1 else rgb_profile(name, primaries, white, curve)


def _unpacked(body: bytes) -> bytes:
    """The profile in an iCCP chunk; empty where it is damaged."""
    _, _, compressed = body.partition(b"\0")
    try:
        return zlib.decompressobj().decompress(compressed[1:], _LARGEST_PROFILE)
    except zlib.error:
        return b""


def _ignored(kind: bytes) -> None:
    warnings.warn(f"The {kind.decode()} chunk of a PNG makes no sense and was ignored.", stacklevel=3)
