"""Luma and colour differences, as JPEG files hold them."""

from __future__ import annotations

import torch
from torch import Tensor

_FROM_RGB = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def to_ycbcr(image: Tensor) -> Tensor:
    """Full-range Y, Cb and Cr of ITU-T T.871 (JFIF), with the colour differences about 0 instead of 128.

    Args:
        image: (B, 3, H, W), RGB display values of any range.

    Returns:
        (B, 3, H, W): for values in [0, 1], Y in [0, 1] and Cb, Cr in [-0.5, 0.5].
    """
    return torch.einsum("ij,bjhw->bihw", image.new_tensor(_FROM_RGB), image)
