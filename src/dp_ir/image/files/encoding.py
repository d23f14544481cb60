"""From a picture to the integers or floats that a file stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp_ir.image.picture import colour
from dp_ir.image.picture.picture import Picture

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # BT.601, as every converter to greyscale uses

_BEYOND = 0.5 / 255  # rounding to 8 bits loses as much


@dataclass(frozen=True)
class Encoded:
    """Samples as stored.

    Args:
        values: (H, W, C), C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16 or float32.
        icc_profile: the profile that describes them, or None for untagged sRGB.
        has_alpha: whether the last channel is straight alpha.
        clipped: whether colours that the source's format could hold were lost, because these samples cannot.
    """

    values: NDArray[Any]
    icc_profile: bytes | None
    has_alpha: bool
    clipped: bool = False


def encode(picture: Picture, *, bit_depth: int, with_grey: bool, with_alpha: bool, with_profile: bool) -> Encoded:
    """Convert a picture to what a format can store.

    Args:
        picture: what to store.
        bit_depth: 8, 16, or 32 for floats (which are not clipped).
        with_grey: the format has greyscale; otherwise grey pictures become RGB.
        with_alpha: the format has transparency; otherwise the picture is laid over white.
        with_profile: the format has colour profiles; otherwise the samples are sRGB.
    """
    grey = picture.grey and with_grey
    values = picture.pixels if picture.out_of_gamut is None else picture.pixels + picture.out_of_gamut
    if grey:
        values = (values @ _LUMA)[..., None]
    profile = picture.icc_profile
    if not with_profile or colour.profile_space(profile) != (b"GRAY" if grey else b"RGB "):
        # A grey profile cannot describe RGB samples: such a picture is tagged as what it is converted to, sRGB.
        profile = colour.srgb_profile() if with_profile and not grey and profile is not None else None
    values = colour.from_srgb(values, profile)
    clipped = bit_depth < picture.bit_depth == 32 or (picture.icc_profile is not None and not with_profile)
    clipped = clipped and bool(values.min() < -_BEYOND or values.max() > 1.0 + _BEYOND)
    has_alpha = picture.alpha is not None and with_alpha
    if picture.alpha is not None:
        opacity = picture.alpha[..., None]
        values = np.concatenate([values, opacity], axis=-1) if with_alpha else values * opacity + (1.0 - opacity)
    return Encoded(_quantised(values, bit_depth), profile, has_alpha, clipped)


def _quantised(values: NDArray[np.float32], bit_depth: int) -> NDArray[Any]:
    if bit_depth == 32:
        return np.ascontiguousarray(values)
    full_scale = (1 << bit_depth) - 1
    numbers = np.rint(np.clip(values, 0.0, 1.0) * np.float32(full_scale))
    return np.ascontiguousarray(numbers.astype(np.uint8 if bit_depth == 8 else np.uint16))
