"""RLFN: a small, fast super-resolution network (Kong et al. 2022, arXiv 2205.07514)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.registry import register_network

_SLOPE = 0.05


@register_network("rlfn")
class RLFN(nn.Module):
    """E[x0 | y] for super-resolution: residual local feature blocks, each closed by spatial attention.

    The names of parameters are those of the released weights (bytedance/RLFN), which work on pixel values of 0 to 255.

    Args:
        channels: feature channels.
        attention_channels: channels inside the spatial attention.
        blocks: residual blocks.
        scale: enlargement factor.
        in_channels: channels of the image.
    """

    value_range = (0.0, 255.0)
    minimum_size = 15  # smaller maps leave nothing for the pooling window of the attention
    supports_bfloat16 = True
    tiling = "discouraged"  # the attention is a coarse map, stretched over the whole image whatever its size

    def __init__(
        self,
        *,
        channels: int = 52,
        attention_channels: int = 16,
        blocks: int = 6,
        scale: int = 4,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": channels,
            "attention_channels": attention_channels,
            "blocks": blocks,
            "scale": scale,
            "in_channels": in_channels,
        }
        self.scale, self.channels, self.blocks = scale, in_channels, blocks
        self.conv_1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        for number in range(1, blocks + 1):
            self.add_module(f"block_{number}", _Block(channels, attention_channels))
        self.conv_2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.upsampler = nn.Sequential(
            nn.Conv2d(channels, in_channels * scale**2, 3, padding=1), nn.PixelShuffle(scale)
        )

    def forward(self, observation: Tensor) -> Tensor:
        """Restore (B, C, h, w) with h, w >= 15, in [0, 255], to (B, C, scale * h, scale * w); not clipped."""
        shallow = self.conv_1(observation)
        features = shallow
        for number in range(1, self.blocks + 1):
            features = self.get_submodule(f"block_{number}")(features)
        return self.upsampler(self.conv_2(features) + shallow)


class _Block(nn.Module):
    """Three convolutions with a skip, a pointwise convolution, and spatial attention."""

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.c1_r = nn.Conv2d(channels, channels, 3, padding=1)
        self.c2_r = nn.Conv2d(channels, channels, 3, padding=1)
        self.c3_r = nn.Conv2d(channels, channels, 3, padding=1)
        self.c5 = nn.Conv2d(channels, channels, 1)
        self.esa = _SpatialAttention(channels, attention_channels)

    def forward(self, features: Tensor) -> Tensor:
        hidden = features
        for convolution in (self.c1_r, self.c2_r, self.c3_r):
            hidden = F.leaky_relu(convolution(hidden), _SLOPE)
        return self.esa(self.c5(hidden + features))


class _SpatialAttention(nn.Module):
    """Enhanced spatial attention (Liu et al. 2020): a mask from a coarse view of a few channels."""

    def __init__(self, channels: int, attention_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, attention_channels, 1)
        self.conv_f = nn.Conv2d(attention_channels, attention_channels, 1)
        self.conv2 = nn.Conv2d(attention_channels, attention_channels, 3, stride=2)
        self.conv3 = nn.Conv2d(attention_channels, attention_channels, 3, padding=1)
        self.conv4 = nn.Conv2d(attention_channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        narrow = self.conv1(features)
        coarse = self.conv3(F.max_pool2d(self.conv2(narrow), kernel_size=7, stride=3))
        spread = F.interpolate(coarse, features.shape[-2:], mode="bilinear", align_corners=False)
        return features * torch.sigmoid(self.conv4(spread + self.conv_f(narrow)))
