"""The fast 4x restorer: a residual network at the observation's own resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.blocks import ResidualStack, pad_to_multiple
from dp_ir.networks.unet import UNet

_CONTEXT_BLOCKS = 2


class FastSR(nn.Module):
    """E[x0 | y] for super-resolution.

    Residual blocks without normalisation (EDSR, Lim et al. 2017), every one at low resolution, and one sub-pixel
    convolution (ESPCN, Shi et al. 2016) that adds detail to the bicubic enlargement: all the arithmetic is 3x3
    convolutions between equal channel counts, which is what CPUs and GPUs do best.

    Args:
        channels: feature channels.
        blocks: residual blocks.
        scale: enlargement factor.
        context: feature channels of a U-Net beside the stem, with two blocks per level, level i at 1 / 2**i of the
            observation's resolution: what noise, blur and compression did shows in a neighbourhood. None: without it.
    """

    half_safe = True

    def __init__(
        self, *, channels: int = 64, blocks: int = 10, scale: int = 4, context: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"channels": channels, "blocks": blocks, "scale": scale}
        self.scale = scale
        self.receptive_field = 2 + blocks  # half of its radius; the outer half counts for less than 1e-6
        self.context = None
        if context is not None:
            self.config["context"] = list(context)
            self.context = UNet(
                channels=context, blocks=[_CONTEXT_BLOCKS] * len(context), inputs=channels, outputs=channels
            )
            self.receptive_field += 2 * _CONTEXT_BLOCKS * 2 ** (len(context) - 1)
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.body = ResidualStack(channels, blocks)
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)
        self.head = nn.Conv2d(channels, 3 * scale**2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, observation: Tensor) -> Tensor:
        """Restore observation (B, 3, h, w) in [0, 1] to (B, 3, scale * h, scale * w); not clipped."""
        shallow = self.stem(observation - 0.5)
        if self.context is not None:
            height, width = shallow.shape[-2:]
            padded = pad_to_multiple(shallow, 2 ** (len(self.config["context"]) - 1))
            shallow = shallow + self.context.planes(padded)[..., :height, :width]
        detail = F.pixel_shuffle(self.head(F.relu(shallow + self.merge(self.body(shallow)))), self.scale)
        # By size, not by factor: exporters take the product with a factor for one of real numbers.
        enlarged = F.interpolate(observation, detail.shape[-2:], mode="bicubic", align_corners=False)
        return enlarged + detail.to(enlarged.dtype)
