"""The fast 4x restorer: a residual network at the observation's own resolution."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.layers.blocks import ResidualStack
from dp_ir.networks.registry import register_network


@register_network("fast-sr")
class FastSR(nn.Module):
    """E[x0 | y] for super-resolution.

    Residual blocks without normalisation (EDSR, Lim et al. 2017), every one at low resolution, and one sub-pixel
    convolution (ESPCN, Shi et al. 2016) that adds detail to the bicubic enlargement: all the arithmetic is 3x3
    convolutions between equal channel counts, which is what CPUs and GPUs do best.

    Args:
        channels: feature channels.
        blocks: residual blocks.
        scale: enlargement factor.
    """

    supports_bfloat16 = True

    def __init__(self, *, channels: int = 64, blocks: int = 10, scale: int = 4) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"channels": channels, "blocks": blocks, "scale": scale}
        self.scale = scale
        self.receptive_field = 2 + blocks  # half of its radius; the outer half counts for less than 1e-6
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.body = ResidualStack(channels, blocks)
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, observation: Tensor) -> Tensor:
        """Restore observation (B, 3, h, w) in [0, 1] to (B, 3, scale * h, scale * w); not clipped."""
        shallow = self.stem(observation - 0.5)
        detail = F.pixel_shuffle(self.head(F.relu(shallow + self.merge(self.body(shallow)))), self.scale)
        # By size, not by factor: exporters take the product with a factor for one of real numbers.
        enlarged = F.interpolate(observation, detail.shape[-2:], mode="bicubic", align_corners=False)
        return enlarged + detail.to(enlarged.dtype)
