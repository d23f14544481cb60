"""Convolution after nearest-neighbour enlargement, at the price of the image before it."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor


def conv_of_doubled(features: Tensor, convolution: Any) -> Tensor:
    """A 3 x 3 convolution of features that are enlarged twice by repeating each value.

    The two together are one transposed convolution with stride 2, whose kernel of 4 x 4 is that of the convolution
    spread by the 2 x 2 values that a pixel is repeated to: 4 products per result instead of 9, and the enlarged
    features are never stored.

    Args:
        features: (B, C, H, W).
        convolution: `nn.Conv2d` of 3 x 3 with a padding of 1, from C to C' channels.

    Returns:
        (B, C', 2 H, 2 W).
    """
    spread = F.pad(convolution.weight, (1, 1, 1, 1))
    kernel = spread[..., 1:, 1:] + spread[..., 1:, :-1] + spread[..., :-1, 1:] + spread[..., :-1, :-1]
    return F.conv_transpose2d(features, kernel.flip(2, 3).transpose(0, 1), convolution.bias, stride=2, padding=1)
