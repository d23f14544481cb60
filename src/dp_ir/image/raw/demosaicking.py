"""The simplest demosaicking, which every other method is measured against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.image.raw.burst import unpack

_NEIGHBOURS = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], dtype=torch.float32)
_KNOWN = torch.tensor(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]], dtype=torch.float32
)  # colours by planes
_CROSS = torch.tensor([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]], dtype=torch.float32)


def demosaick_bilinear(planes: Tensor) -> Tensor:
    """Bilinear demosaicking: what a colour lacks at a pixel is the mean of its nearest neighbours that have it.

    Args:
        planes: (B, 4, h, w), the planes R, G, G, B of a mosaic.

    Returns:
        (B, 3, 2 h, 2 w). At the border the mean is over the neighbours that there are.

    Examples:
        >>> demosaick_bilinear(torch.full((1, 4, 2, 2), 0.5)).unique()
        tensor([0.5000])
    """
    # Where each colour is known: dividing by the same sums over it turns sums over neighbours into means.
    known = unpack(_KNOWN.to(planes)[:, :, None, None].expand(3, 4, *planes.shape[-2:]))[None]
    kernels = torch.stack([_NEIGHBOURS, _CROSS, _NEIGHBOURS]).to(planes)[:, None]
    sums = F.conv2d(unpack(planes)[:, None] * known, kernels, padding=1, groups=3)
    return sums / F.conv2d(known, kernels, padding=1, groups=3)
