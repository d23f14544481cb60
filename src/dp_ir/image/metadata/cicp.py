"""Colours by number, as ITU-T H.273 has them: in cICP chunks of PNG, and in the headers of AVIF and JPEG XL."""

from __future__ import annotations

from collections.abc import Mapping

from dp_ir.errors import ImageReadError
from dp_ir.image.metadata.icc import BT709, D65, SRGB_CURVE, Curve, grey_profile, rgb_profile

_ILLUMINANT_C, _ILLUMINANT_E = (0.310, 0.316), (1 / 3, 1 / 3)
_NTSC, _SMPTE170M, _P3 = (
    (0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
)
PRIMARIES: Mapping[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
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
TRANSFERS: Mapping[int, Curve] = {
    **dict.fromkeys((1, 6, 11, 12, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    7: (1 / 0.45, 1 / 1.1115, 0.1115 / 1.1115, 1 / 4.0, 4 * 0.0228),
    8: (1.0,),
    13: SRGB_CURVE,
    17: (2.6, (52.37 / 48.0) ** (1 / 2.6), 0.0, 0.0, 0.0),
}
_HIGH_DYNAMIC_RANGE = {16: "PQ", 18: "HLG"}
UNSPECIFIED = 2


def check_range(transfer: int, kind: str, name: str) -> None:
    """Refuse the transfer functions of high dynamic range.

    Args:
        transfer: its number.
        kind: of the file, to follow "is".
        name: what to call the file.

    Raises:
        ImageReadError: it is PQ or HLG.
    """
    if transfer in _HIGH_DYNAMIC_RANGE:
        raise ImageReadError(
            f"'{name}' is {kind} of high dynamic range ({_HIGH_DYNAMIC_RANGE[transfer]}, says its header), expected "
            "standard dynamic range: convert it to a 16-bit PNG or TIFF of sRGB or Display P3 first."
        )


def profile_by_number(primaries: int, transfer: int, channels: int) -> bytes | None:
    """The profile of numbers, for 1 (grey) or 3 (RGB) channels; None for numbers that describe no colours."""
    if transfer not in TRANSFERS or (primaries not in PRIMARIES and channels == 3):
        return None
    return profile_of(channels, TRANSFERS[transfer], *PRIMARIES.get(primaries, (BT709, D65)))


def profile_of(channels: int, curve: Curve, primaries: tuple[float, ...], white: tuple[float, ...]) -> bytes:
    """A profile for grey or RGB; raises ValueError as `rgb_profile`."""
    standard = curve == SRGB_CURVE and (channels == 1 or (primaries, white) == (BT709, D65))
    name = "sRGB" if standard else "Colours of an image"
    return grey_profile(name, curve) if channels == 1 else rgb_profile(name, primaries, white, curve)
