"""Colour profiles: from any embedded ICC profile to sRGB for the networks, and back for the file that is written.

Conversions run in float32 through linear light and are not clipped: a colour outside sRGB becomes a value below 0 or
above 1. The sRGB curve is continued point-symmetrically below 0, so that such values stay moderate (the greenest
Display P3 colour has a red of -0.51). Nothing is lost on the way to sRGB and back.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dp_ir.image.metadata.icc import BT709, D65, SRGB_CURVE, rgb_profile

FloatArray = NDArray[np.float32]

_ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_SPACES = {1: b"GRAY", 3: b"RGB ", 4: b"CMYK"}
_RELATIVE_COLORIMETRIC = 1
_BLACK_POINT_COMPENSATION = 0x2000  # cmsFLAGS_BLACKPOINTCOMPENSATION of Little CMS
_IDENTITY_TOLERANCE = 1.0 / 1024.0  # a quarter of an 8-bit level: profiles that close to sRGB are sRGB
_RETURN_TOLERANCE = 4.0 / 255.0  # table-based profiles invert approximately; beyond this there is no way back
_ENGINE_ERRORS = (RuntimeError, ValueError, TypeError)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """An ICC profile for sRGB."""
    return rgb_profile("sRGB", BT709, D65, SRGB_CURVE)


@lru_cache(maxsize=1)
def adobe_rgb_profile() -> bytes:
    """An ICC profile compatible with Adobe RGB (1998), for cameras that name the colour space but embed no profile."""
    return rgb_profile("Compatible with Adobe RGB (1998)", _ADOBE_RGB, D65, (563.0 / 256.0,))


@lru_cache(maxsize=1)
def linear_profile() -> bytes:
    """An ICC profile for linear light with the primaries of sRGB."""
    return rgb_profile("Linear sRGB", BT709, D65, (1.0,))


def srgb_encode(linear: FloatArray) -> FloatArray:
    """The sRGB curve (IEC 61966-2-1), odd: linear light to encoded values, of any sign and size."""
    magnitude = np.abs(linear)
    encoded = np.where(magnitude <= 0.0031308, 12.92 * magnitude, 1.055 * magnitude ** (1.0 / 2.4) - 0.055)
    return np.copysign(encoded, linear).astype(np.float32, copy=False)


def srgb_decode(encoded: FloatArray) -> FloatArray:
    """The inverse of `srgb_encode`."""
    magnitude = np.abs(encoded)
    linear = np.where(magnitude <= 0.04045, magnitude / 12.92, ((magnitude + 0.055) / 1.055) ** 2.4)
    return np.copysign(linear, encoded).astype(np.float32, copy=False)


def profile_space(profile: bytes | None) -> bytes | None:
    """The four letters naming the colour space that a profile describes (``b"RGB "``, ``b"GRAY"``, ...)."""
    return profile[16:20] if profile and len(profile) >= 128 else None


def to_srgb(values: FloatArray, profile: bytes | None) -> tuple[FloatArray, bytes | None]:
    """Convert samples to sRGB.

    Args:
        values: float32 (H, W, C) with C = 1 (grey), 3 (RGB) or 4 (CMYK, 1 = full ink), nominally in [0, 1].
        profile: the embedded ICC profile, or None.

    Returns:
        The values in (unclipped) sRGB, (H, W, 1) for grey and (H, W, 3) otherwise, and the profile to which an output
        should be converted back: the embedded one where the way back exists, sRGB where it does not (CMYK, scanner
        profiles), None where the source carried none. A profile that is damaged or belongs to another kind of image is
        ignored with a warning, and the values count as sRGB. CMYK without a profile is taken as ideal inks.
    """
    channels = values.shape[-1]
    if profile is not None and profile_space(profile) != _SPACES[channels]:
        if channels != 1 or profile_space(profile) != b"RGB ":  # grey photos tagged sRGB are common and harmless
            warnings.warn("A colour profile that does not fit its image was ignored; sRGB is assumed.", stacklevel=2)
        profile = None
    if profile is not None and (channels == 4 or not is_srgb(profile)):
        try:
            converted = srgb_encode(_linear_light(values, profile))
        except _ENGINE_ERRORS:
            warnings.warn("A damaged colour profile was ignored; sRGB is assumed.", stacklevel=2)
            profile = None
        else:
            if channels == 1:
                converted = converted.mean(axis=-1, keepdims=True)
            return converted, profile if _has_way_back(profile) else srgb_profile()
    if channels == 4:
        return (1.0 - values[..., :3]) * (1.0 - values[..., 3:]), srgb_profile()
    return values, profile


def from_srgb(pixels: FloatArray, profile: bytes | None) -> FloatArray:
    """Convert sRGB values (H, W, 1) or (H, W, 3), clipped or not, to the colour space of `profile`; None means sRGB.

    The profile must describe the same number of channels and have passed `to_srgb`.
    """
    if profile is None or is_srgb(profile):
        return pixels
    channels = pixels.shape[-1]
    linear = srgb_decode(np.repeat(pixels, 3, axis=-1) if channels == 1 else pixels)
    converted = imagecodecs.cms_transform(
        np.ascontiguousarray(linear),
        linear_profile(),
        profile,
        colorspace="rgb",
        outcolorspace="gray" if channels == 1 else "rgb",
        outdtype="float32",
        intent=_RELATIVE_COLORIMETRIC,
    )
    return np.asarray(converted, dtype=np.float32).reshape(pixels.shape)


def _linear_light(values: FloatArray, profile: bytes) -> FloatArray:
    channels = values.shape[-1]
    samples: NDArray[np.float32] | NDArray[np.uint16] = values[..., 0] if channels == 1 else values
    if channels == 4:  # the engine counts ink in percent when it is given floats; 16 bits avoid that convention
        samples = np.rint(np.clip(values, 0.0, 1.0) * 65535.0).astype(np.uint16)
    linear = imagecodecs.cms_transform(
        np.ascontiguousarray(samples),
        profile,
        linear_profile(),
        colorspace={1: "gray", 3: "rgb", 4: "cmyk"}[channels],
        outcolorspace="rgb",
        outdtype="float32",
        intent=_RELATIVE_COLORIMETRIC,
        flags=_BLACK_POINT_COMPENSATION if channels == 4 else 0,
    )
    return np.asarray(linear, dtype=np.float32).reshape(*values.shape[:2], 3)


def _probe(channels: int) -> FloatArray:
    """A grid over the cube of colours, as an image of shape (n, 1, channels)."""
    axis = np.linspace(0.0, 1.0, 9 if channels == 3 else 129, dtype=np.float32)
    grid = np.stack(np.meshgrid(*[axis] * channels, indexing="ij"), axis=-1)
    return grid.reshape(-1, 1, channels)


@lru_cache(maxsize=16)
def is_srgb(profile: bytes) -> bool:
    """Whether an RGB profile maps every colour to within a quarter of an 8-bit level of what sRGB maps it to."""
    if profile_space(profile) != b"RGB ":
        return False
    if profile == srgb_profile():
        return True
    probe = _probe(3)
    try:
        return bool(np.abs(srgb_encode(_linear_light(probe, profile)) - probe).max() < _IDENTITY_TOLERANCE)
    except _ENGINE_ERRORS:
        return False


@lru_cache(maxsize=16)
def _has_way_back(profile: bytes) -> bool:
    channels = {space: count for count, space in _SPACES.items()}[profile[16:20]]
    if channels == 4:  # a restored photo is not separated into inks again
        return False
    probe = _probe(channels)
    try:
        there = srgb_encode(_linear_light(probe, profile))
        if channels == 1:
            there = there.mean(axis=-1, keepdims=True)
        return bool(np.abs(from_srgb(there, profile) - probe).max() < _RETURN_TOLERANCE)
    except _ENGINE_ERRORS:
        return False
