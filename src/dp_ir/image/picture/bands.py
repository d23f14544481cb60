"""Frequency bands of images: a Laplacian pyramid without its way back (Burt and Adelson, 1983)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def laplacian_bands(image: Tensor, count: int = 3) -> list[Tensor]:
    """What each halving of an image's resolution takes away, and what is left.

    Args:
        image: (B, C, H, W), H and W at least 1; any range.
        count: bands, at least 0.

    Returns:
        `count` bands, the finest first, at the full resolution, half of it, a quarter, ...: the image at that
        resolution less its blurred self; then the image at the last resolution, (B, C, ~H / 2**count, ~W / 2**count).
    """
    bands = []
    for _ in range(count):
        blurred = _blurred(image)
        bands.append(image - blurred)
        image = blurred[..., ::2, ::2]
    return [*bands, image]


def _blurred(image: Tensor) -> Tensor:
    """The image after a binomial filter of five taps in each direction; the edge is repeated."""
    channels = image.shape[-3]
    taps = torch.tensor(_BINOMIAL, dtype=image.dtype, device=image.device)
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    rows = F.conv2d(padded, taps.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)
    return F.conv2d(rows, taps.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
