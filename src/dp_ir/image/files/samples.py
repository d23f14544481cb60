"""Samples: what a decoder delivers, before orientation and colour, and the way from there to a picture.

Every source (each file format, PIL images, arrays) ends here, so that each rule about colour, orientation and ranges
exists once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dp_ir.errors import ImageReadError
from dp_ir.image.metadata import exif as exif_block
from dp_ir.image.metadata.metadata import Metadata
from dp_ir.image.picture import colour
from dp_ir.image.picture.picture import Picture

FloatArray = NDArray[np.float32]

FLOAT_RANGE = (-1.0, 16.0)
"""Of floats in files: four stops above white are highlights; beyond that, or far below black, is another scale."""

_BELOW_VISIBLE = 2e-6  # a quarter of a 16-bit level: less than that outside [0, 1] is rounding, not colour


@dataclass
class Samples:
    """Decoded samples of one image.

    Args:
        values: float32 (H, W, C), C = 1 grey, 3 RGB or 4 CMYK (1 = full ink), nominally in [0, 1]; or integers, which
            take less memory.
        alpha: straight alpha, float32 (H, W) in [0, 1], or None; or integers as well.
        bit_depth: 8, 16 or 32.
        format: name of the source's format.
        icc_profile: the embedded profile, or None.
        metadata: what belongs to the upright picture beside its pixels.
        orientation: 1..8, that is to be undone.
        full_scale: the number that stands for 1, where the samples are integers.
    """

    values: NDArray[Any]
    alpha: NDArray[Any] | None
    bit_depth: int
    format: str
    icc_profile: bytes | None = None
    metadata: Metadata = field(default_factory=Metadata)
    orientation: int = 1
    full_scale: float | None = None


def scaled(array: NDArray[np.generic], full_scale: float) -> FloatArray:
    """Integer samples as float32 in [0, 1]; the quotient is correctly rounded, so it comes back exactly."""
    quotient: FloatArray = np.divide(array, np.float32(full_scale), dtype=np.float32, casting="unsafe")
    return quotient


def split_alpha(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Split (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4) into colour (H, W, C) and alpha (H, W) or None."""
    if array.ndim == 2:
        return array[..., None], None
    if array.shape[2] in (2, 4):
        return array[..., :-1], np.ascontiguousarray(array[..., -1])
    return array, None


def straight(colours: FloatArray, alpha: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """Colours (H, W, C) that were multiplied by alpha (H, W), divided by it again, within limits; 0 where it is 0."""
    opacity = alpha[..., None]
    divided = np.divide(colours, opacity, out=np.zeros_like(colours), where=opacity > 0.0)
    return np.clip(divided, np.float32(limits[0]), np.float32(limits[1]))


def further_frames(count: int) -> list[str]:
    """What is said to be lost of an animation of so many frames, of which the first is taken."""
    return [] if count < 2 else ["the second frame" if count == 2 else f"the other {count - 1} frames"]


def check_floats(name: str, values: FloatArray, low: float, high: float) -> None:
    """Refuse NaN, infinity and samples outside [low, high].

    Raises:
        ImageReadError: naming what was found.
    """
    if not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise ImageReadError(
            f"{name} holds {count} samples that are NaN or infinite, expected numbers in [0, 1]: "
            "repair or mask them first."
        )
    smallest, largest = float(values.min()), float(values.max())
    if smallest < low or largest > high:
        raise ImageReadError(
            f"{name} holds float samples from {smallest:.4g} to {largest:.4g}, expected [0, 1]: rescale them first "
            "(for example divide by 255 or 65535, or map [-1, 1] to [0, 1])."
        )


def to_picture(samples: Samples) -> Picture:
    """Apply colour profile and orientation, and keep what lies outside sRGB beside the clipped pixels."""
    values, alpha, profile = samples.values, samples.alpha, samples.icc_profile
    if samples.full_scale is not None:
        values = scaled(values, samples.full_scale)
        alpha = None if alpha is None else scaled(alpha, samples.full_scale)
    if profile is None and values.shape[-1] == 3 and exif_block.says_adobe_rgb(samples.metadata.exif):
        profile = colour.adobe_rgb_profile()
    turn = samples.orientation
    converted, profile = colour.to_srgb(values, profile)
    grey = converted.shape[-1] == 1
    wide = exif_block.upright(np.repeat(converted, 3, axis=-1) if grey else converted, turn)
    pixels = np.clip(wide, np.float32(0.0), np.float32(1.0))
    remainder: FloatArray | None = None
    if max(float(wide.max()) - 1.0, -float(wide.min())) > _BELOW_VISIBLE:
        remainder = wide - pixels
    return Picture(
        pixels=pixels,
        alpha=None if alpha is None else exif_block.upright(alpha, turn),
        grey=grey,
        bit_depth=samples.bit_depth,
        icc_profile=profile,
        metadata=samples.metadata,
        format=samples.format,
        out_of_gamut=remainder,
    )
