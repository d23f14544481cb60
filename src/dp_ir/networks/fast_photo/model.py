"""The fast 4x restorer of photos as people have them: cleaned at their own size, then enlarged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dp_ir.networks.fast_deblur.model import FastDeblur
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.registry import register_network


@register_network("fast-photo")
class FastPhoto(nn.Module):
    """E[x0 | y] for super-resolution of images that are noisy, soft and compressed as well.

    What noise and compression did shows in a neighbourhood, which a U-Net sees; it is cheap before the enlargement.

    Args:
        channels: feature channels per level of the U-Net, see `FastDeblur`.
        blocks: its residual blocks per level.
        enlarging_channels: feature channels of the enlarging network, see `FastSR`.
        enlarging_blocks: its residual blocks.
        scale: enlargement factor.
    """

    supports_bfloat16 = True

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 160),
        blocks: Sequence[int] = (2, 2, 2),
        enlarging_channels: int = 64,
        enlarging_blocks: int = 10,
        scale: int = 4,
    ) -> None:
        super().__init__()
        self.clean = FastDeblur(channels=channels, blocks=blocks)
        self.enlarge = FastSR(channels=enlarging_channels, blocks=enlarging_blocks, scale=scale)
        self.scale = scale
        self.config: dict[str, Any] = {
            **self.clean.config,
            "enlarging_channels": enlarging_channels,
            "enlarging_blocks": enlarging_blocks,
            "scale": scale,
        }

    def forward(self, observation: Tensor) -> Tensor:
        """Restore observation (B, 3, h, w) in [0, 1] to (B, 3, scale * h, scale * w); not clipped."""
        return self.enlarge(self.clean(observation))
