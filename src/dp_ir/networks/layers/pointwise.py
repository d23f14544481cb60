"""Linear maps of every pixel's channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def pointwise(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What `F.linear` gives, on a CPU as a convolution of 1 x 1.

    The convolutions of oneDNN reach twice the speed of MKL's matrix products on processors that are not Intel's.
    PyTorch gives a 1 x 1 convolution to oneDNN whatever the number of threads if it comes as a batch of at least 16,
    which the rows of an image are.

    Args:
        tokens: (..., N, C).
        weight: (C', C), or that of a 1 x 1 convolution, (C', C, 1, 1).
        bias: (C',).

    Returns:
        (..., N, C').
    """
    if tokens.device.type != "cpu":
        return F.linear(tokens, weight.flatten(1), bias)
    rows = tokens.reshape(-1, 1, *tokens.shape[-2:]).permute(0, 3, 1, 2)
    mapped = F.conv2d(rows, weight.view(*weight.shape[:2], 1, 1), bias)
    return mapped.permute(0, 2, 3, 1).reshape(*tokens.shape[:-1], len(weight))


class PixelLinear(nn.Linear):
    """A linear layer over tokens (..., N, C) by `pointwise`."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., N, in_features) to (..., N, out_features)."""
        return pointwise(tokens, self.weight, self.bias)
