"""Bicubic resizing with antialiasing, numerically that of MATLAB's `imresize`, the field's standard degradation."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def imresize(image: Tensor, scale: float, *, offset: float = 0.0) -> Tensor:
    """Resize by bicubic interpolation (Keys, a = -1/2), antialiased when it reduces, as MATLAB's `imresize` does.

    Args:
        image: (B, C, H, W), floating point, any range.
        scale: factor for both sides, > 0; below 1 the kernel is widened by 1 / scale.
        offset: how far to the right and down, in pixels of the image, every pixel looks for its colour: 0 keeps the
            corners of both images together, (1 - 1 / scale) / 2 the centres of their first pixels.

    Returns:
        (B, C, ceil(scale * H), ceil(scale * W)); not clipped: the kernel overshoots at edges.
    """
    if not scale > 0:
        raise ValueError(f"imresize was given the scale {scale}; it needs a factor greater than 0.")
    for dimension in (2, 3):
        image = _resize_dimension(image, dimension, scale, offset)
    return image


def _resize_dimension(image: Tensor, dimension: int, scale: float, offset: float) -> Tensor:
    indices, weights = _taps(image.shape[dimension], scale, offset)
    indices, weights = indices.to(image.device), weights.to(image)
    shape = [1, 1, 1, 1]
    shape[dimension] = -1
    result = image.index_select(dimension, indices[0]) * weights[0].view(shape)
    for index, weight in zip(indices[1:], weights[1:], strict=True):
        result = torch.addcmul(result, image.index_select(dimension, index), weight.view(shape))
    return result


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # cached tensors must serve calls with gradients as well, whoever comes first
def _taps(size: int, scale: float, offset: float) -> tuple[Tensor, Tensor]:
    """Source pixels and weights, each (taps, output size), of one dimension; borders mirrored half-sample."""
    stretch = min(scale, 1.0)
    output = math.ceil(size * scale)
    # Pixel centres: output pixel i looks at the input coordinate (i + 1/2) / scale - 1/2.
    centre = (torch.arange(output, dtype=torch.float64) + 0.5) / scale - 0.5 + offset
    taps = math.ceil(4.0 / stretch) + 2
    first = torch.floor(centre - 2.0 / stretch)
    positions = first[None] + torch.arange(taps, dtype=torch.float64)[:, None]
    weights = _cubic((centre[None] - positions) * stretch)
    weights = weights / weights.sum(0, keepdim=True)
    mirrored = positions.long() % (2 * size)
    mirrored = torch.where(mirrored >= size, 2 * size - 1 - mirrored, mirrored)
    used = weights.abs().amax(1) > 0
    return mirrored[used], weights[used]


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = -1/2 (IEEE Trans. ASSP 29, 1981, eq. 15)."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x**2 + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))
