"""The picture: what every file becomes on reading, and what every file is written from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dp_ir.errors import ImageReadError, ImageWriteError
from dp_ir.image.metadata.metadata import Metadata
from dp_ir.image.picture.resize import resize_alpha, resize_plane

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float32]

# Where a restored channel has moved away from the gamut boundary its out-of-gamut remainder fades out between these
# distances from the boundary: beyond them the network drew something else there, such as the other side of an edge.
_FADE_BEGINS, _FADE_ENDS = 0.1, 0.3

_COLOUR = 1 / 1024  # differences between channels below a quarter of an 8-bit level are rounding of a profile


@dataclass(frozen=True, eq=False)
class Picture:
    """A photograph, upright and in sRGB, with what is needed to write it back the way it came.

    Raises:
        ImageReadError: on construction, where the arrays do not fit together.
    """

    pixels: FloatArray
    """float32 (H, W, 3) in [0, 1], sRGB-encoded; three equal channels where `grey`."""
    alpha: FloatArray | None = None
    """Straight (not premultiplied) opacity, float32 (H, W) in [0, 1]; None where the source has no transparency."""
    grey: bool = False
    """Whether the source is greyscale, and an output of it shall be."""
    bit_depth: int = 8
    """Bits per sample of the source: 8, 16 or 32 (float)."""
    icc_profile: bytes | None = None
    """The profile an output is converted to and tagged with; None: sRGB values, untagged, as the source was."""
    metadata: Metadata = field(default_factory=Metadata)
    """What an output carries beside the pixels, as far as its format can hold it."""
    format: str = "PNG"
    """The format of the source: PNG, JPEG, WebP, TIFF, BMP, or the kind of object it was made from."""
    out_of_gamut: FloatArray | None = None
    """float32 (H, W, 3): what must be added to `pixels` to give the source's colours where they lie outside [0, 1] in
    sRGB (a wide-gamut profile, or highlights of a float image); None where they all lie inside."""

    def __post_init__(self) -> None:
        if (
            self.pixels.ndim != 3
            or self.pixels.shape[2] != 3
            or self.pixels.dtype != np.float32
            or not self.pixels.size
        ):
            raise ImageReadError(
                f"The pixels of a picture have shape {self.pixels.shape} and type {self.pixels.dtype}, expected "
                "float32 (H, W, 3) with H, W >= 1: build pictures with from_array."
            )
        if self.bit_depth not in (8, 16, 32):
            raise ImageReadError(f"The bit depth of a picture is {self.bit_depth}, expected 8, 16 or 32.")
        for name, array, shape in (
            ("alpha", self.alpha, self.size),
            ("out-of-gamut remainder", self.out_of_gamut, self.pixels.shape),
        ):
            if array is not None and (array.shape != shape or array.dtype != np.float32):
                raise ImageReadError(
                    f"The {name} of a picture has shape {array.shape} and type {array.dtype}, expected float32 "
                    f"{shape}: use with_pixels to change the size of a picture."
                )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write it in the format that the suffix says, with all of it that this can hold; see `write_image`."""
        from dp_ir.image.files.writing import write_image  # which is made of pictures

        write_image(path, self, **options)

    @cached_property
    def colourless(self) -> bool:
        """Whether no pixel has a colour, be the source greyscale or not."""
        return self.grey or not any(_has_colours(self.pixels[top : top + 64]) for top in range(0, self.size[0], 64))


def _has_colours(pixels: FloatArray) -> bool:
    red, green, blue = (pixels[..., channel] for channel in range(3))
    return bool(np.abs(red - green).max() > _COLOUR or np.abs(blue - green).max() > _COLOUR)


def to_tensor(picture: Picture) -> torch.Tensor:
    """Give the pixels as a tensor of its own: float32 (1, 3, H, W) in [0, 1], on the CPU.

    >>> to_tensor(Picture(np.zeros((4, 6, 3), np.float32))).shape
    torch.Size([1, 3, 4, 6])
    """
    import torch  # reading and writing need no torch, and it takes more than a second to import

    return torch.from_numpy(np.array(picture.pixels.transpose(2, 0, 1)[None], order="C"))


def with_pixels(
    picture: Picture,
    pixels: torch.Tensor | NDArray[np.floating],
    alpha: FloatArray | None = None,
    *,
    within: tuple[int, int] | None = None,
) -> Picture:
    """Build the output picture: new pixels, everything else as in `picture`.

    Args:
        picture: the source, showing the same field of view at any resolution.
        pixels: tensor (3, H, W) or (1, 3, H, W) on any device, or array (H, W, 3), of any floating type; sRGB-encoded;
            clipped to [0, 1].
        alpha: float32 (H, W); by default that of `picture`, resampled with `resize_alpha` where the size differs.
        within: where the pixels are a band of rows of the output picture: its first row, and the height of the whole.

    Raises:
        ImageWriteError: the pixels have another shape, or hold NaN or infinity.

    Colours that `picture` holds outside sRGB are resampled along with alpha and kept where the new pixels still lie at
    the boundary of the gamut, so a network that only knows [0, 1] does not cost a wide-gamut photo its colours.
    """
    array = _as_image(pixels)
    if not np.isfinite(array).all():
        raise ImageWriteError(
            "The restored pixels hold NaN or infinity, expected numbers in [0, 1]: run the networks in float32, or "
            "check their weights."
        )
    array = np.clip(array, np.float32(0.0), np.float32(1.0))
    top, height = (0, array.shape[0]) if within is None else within
    size, rows = (height, array.shape[1]), (top, top + array.shape[0])
    if alpha is None and picture.alpha is not None:
        alpha = resize_alpha(picture.alpha, size, rows)
    return replace(picture, pixels=array, alpha=alpha, out_of_gamut=_resized_remainder(picture, array, size, rows))


def _as_image(pixels: torch.Tensor | NDArray[np.floating]) -> FloatArray:
    if isinstance(pixels, np.ndarray):
        array = pixels.astype(np.float32, copy=False)
    else:
        array = pixels.detach().float().cpu().numpy()
        if array.ndim == 4 and array.shape[0] == 1:
            array = array[0]
        if array.ndim == 3:
            array = np.ascontiguousarray(array.transpose(1, 2, 0))
    if array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
        raise ImageWriteError(
            f"The restored pixels have shape {tuple(pixels.shape)}, expected a tensor (3, H, W) or (1, 3, H, W), or an "
            "array (H, W, 3): pass the images of a batch one at a time."
        )
    return array


def _resized_remainder(
    picture: Picture, pixels: FloatArray, size: tuple[int, int], rows: tuple[int, int]
) -> FloatArray | None:
    if picture.out_of_gamut is None:
        return None
    planes = [resize_plane(picture.out_of_gamut[..., channel], size, rows) for channel in range(3)]
    remainder = np.stack(planes, axis=-1)
    distance = np.where(remainder < 0.0, pixels, 1.0 - pixels)
    remainder *= np.clip((_FADE_ENDS - distance) / (_FADE_ENDS - _FADE_BEGINS), 0.0, 1.0)
    return remainder if remainder.any() else None
