"""Random weights and images for comparing two implementations of a network."""

import torch
from torch import Tensor, nn


def randomised(network: nn.Module) -> nn.Module:
    """Weights that keep the size of what goes through, so that every layer counts."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
    return network.eval()


def random_image(channels: int, height: int, width: int) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(1))
