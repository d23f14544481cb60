"""From whatever a person has as an image to a tensor, and from the result back to the same kind of thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dp_ir.errors import ImageReadError
from dp_ir.image.encoding import encode
from dp_ir.image.memory import from_array, from_pil
from dp_ir.image.picture import Picture, to_tensor, with_pixels
from dp_ir.image.reading import read_image

ImageLike: TypeAlias = Picture | Image.Image | NDArray[Any] | Tensor | str | Path
"""What can be restored; a tensor is (B, 3, H, W) or (3, H, W), floating point in [0, 1]."""

_OVERSHOOT = 0.5  # noisy or resampled observations leave [0, 1]; ranges such as 0..255 or -1..1 leave it by more


class Observation(Protocol):
    """An image as the networks see it, and the way back."""

    tensor: Tensor
    """(B, 3, H, W), float32 in [0, 1], on the CPU or where the given tensor was."""

    def picture(self, result: Tensor) -> Any:
        """A result (B, 3, H', W') in [0, 1] as the kind of image that was given."""
        ...

    def measurement(self, values: Tensor) -> Any:
        """Per-pixel values (B, 3, H', W') that are no image, such as a standard deviation, as floats."""
        ...

    def stack(self, samples: Sequence[Any]) -> Any:
        """Several results of `picture` as one: a stacked array where they are arrays, else a tuple."""
        ...


def observe(image: ImageLike) -> Observation:
    """Take an image of any kind.

    Raises:
        ImageReadError: it is not an image, not readable, empty, not finite, or of another range than [0, 1].
    """
    if isinstance(image, Tensor):
        return _TensorObservation(image)
    if isinstance(image, np.ndarray):
        return _ArrayObservation(image)
    if isinstance(image, Image.Image):
        return _PictureObservation(from_pil(image))
    if isinstance(image, str | Path):
        return _PictureObservation(read_image(image))
    if isinstance(image, Picture):
        return _PictureObservation(image)
    raise ImageReadError(
        f"An object of type {type(image).__name__} was given as an image: expected a path, a Picture, a PIL image, a "
        "numpy array (H, W, 3) or a tensor (B, 3, H, W)."
    )


class _PictureObservation:
    """A picture: alpha, greyness, bit depth, profile and EXIF go through to the result."""

    def __init__(self, picture: Picture) -> None:
        self._source = picture
        self.tensor = to_tensor(picture)

    def picture(self, result: Tensor) -> Any:
        return self._picture(result)

    def _picture(self, result: Tensor) -> Picture:
        if self._source.grey:
            result = result.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        return with_pixels(self._source, result)

    def measurement(self, values: Tensor) -> Any:
        return values[0].permute(1, 2, 0).cpu().numpy()

    def stack(self, samples: Sequence[Any]) -> Any:
        return tuple(samples)


class _ArrayObservation(_PictureObservation):
    """A numpy array: results have its type and its number of dimensions and channels."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(from_array(array))
        self._dtype, self._flat = array.dtype, array.ndim == 2

    def picture(self, result: Tensor) -> Any:
        picture = self._picture(result)
        encoded = encode(picture, bit_depth=picture.bit_depth, with_grey=True, with_alpha=True, with_profile=True)
        values = encoded.values[..., 0] if self._flat else encoded.values
        return values >= 128 if self._dtype == np.bool_ else values.astype(self._dtype)

    def stack(self, samples: Sequence[Any]) -> Any:
        return np.stack(samples)


class _TensorObservation:
    """A tensor: results have its number of dimensions, its type and its device."""

    def __init__(self, given: Tensor) -> None:
        if given.ndim not in (3, 4) or given.shape[-3] != 3 or given.numel() == 0 or not given.is_floating_point():
            raise ImageReadError(
                f"A tensor {tuple(given.shape)} of {given.dtype} was given as an image: expected floating point "
                "(B, 3, H, W) or (3, H, W) in [0, 1] with no side of 0."
            )
        self.tensor = given.detach().float().reshape(-1, *given.shape[-3:])
        if not bool(torch.isfinite(self.tensor).all()):
            raise ImageReadError("The tensor given as an image holds NaN or infinity: repair or mask it first.")
        low, high = float(self.tensor.min()), float(self.tensor.max())
        if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
            raise ImageReadError(
                f"The tensor given as an image runs from {low:.4g} to {high:.4g}, expected [0, 1]: divide it by 255 or "
                "map [-1, 1] to [0, 1]."
            )
        self._like = given

    def picture(self, result: Tensor) -> Tensor:
        return self.measurement(result).to(self._like.dtype)

    def measurement(self, values: Tensor) -> Tensor:
        values = values.to(self._like.device)
        return values if self._like.ndim == 4 else values[0]

    def stack(self, samples: Sequence[Any]) -> Any:
        return torch.stack(list(samples))
