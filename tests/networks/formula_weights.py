"""Weights and images from formulas, so that figures measured elsewhere can be compared without any file."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def wave(shape: torch.Size | tuple[int, ...], phase: float) -> Tensor:
    """Numbers in [-1, 1] that look irregular: a sine of rising frequency. Float64."""
    count = torch.arange(1, torch.Size(shape).numel() + 1, dtype=torch.float64)
    return torch.sin(0.01 * count**2 + phase).reshape(shape)


def with_formula_weights(network: nn.Module) -> nn.Module:
    """Give every parameter its values by the place of its name in the alphabet; float64, evaluation mode."""
    network = network.double().eval()
    for number, (_, parameter) in enumerate(sorted(network.named_parameters())):
        values = wave(parameter.shape, number)
        scale = (2 / parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.3
        parameter.data = values * scale + (0.0 if parameter.dim() > 1 else 0.4)
    return network


def formula_image(batch: int, height: int, width: int) -> Tensor:
    """An image (B, 3, H, W) in [0, 1], float64."""
    return 0.5 + 0.5 * wave((batch, 3, height, width), 0.5)
