"""RRDBNet, the network of ESRGAN (Wang et al. 2018, arXiv 1809.00219) and Real-ESRGAN (2021, arXiv 2107.10833).

Written from the published description. Dense blocks, three to a group, work at low resolution with a residual at every
level; convolutions after nearest-neighbour enlargement make the image.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.layers.blocks import pad_to_multiple
from dp_ir.networks.layers.doubling import conv_of_doubled
from dp_ir.networks.registry import register_network

_SLOPE = 0.2
_RESIDUAL = 0.2  # every residual is added at this weight, which keeps the deep stack stable


@register_network("rrdb")
class RRDBNet(nn.Module):
    """E[x0 | y], or a sample of it where it was trained adversarially, for super-resolution.

    The names of parameters are those of BasicSR. Weights are released under two further namings, which
    `dp_ir.networks.rrdb.detect` maps onto these. The defaults are the 4x network.

    Args:
        num_in_ch: channels of the image that goes in.
        num_out_ch: channels of the image that comes out.
        scale: enlargement factor, a power of 2.
        num_feat: feature channels.
        num_block: groups of three dense blocks.
        num_grow_ch: channels that each convolution of a dense block adds.
        unshuffle: the network works at 1 / unshuffle of the image's resolution, on unshuffle² times the channels: 2
            for the 2x network of Real-ESRGAN, 4 for one of 1x, else 1.
        plus: whether dense blocks have the further residuals of ESRGAN+ (Rakotonirina and Rasoanaivo 2020); its noise
            is for training and left out.

    Raises:
        ValueError: scale times unshuffle is not a power of 2.
    """

    supports_bfloat16 = True

    def __init__(
        self,
        *,
        num_in_ch: int = 3,
        num_out_ch: int = 3,
        scale: int = 4,
        num_feat: int = 64,
        num_block: int = 23,
        num_grow_ch: int = 32,
        unshuffle: int = 1,
        plus: bool = False,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "num_in_ch": num_in_ch,
            "num_out_ch": num_out_ch,
            "scale": scale,
            "num_feat": num_feat,
            "num_block": num_block,
            "num_grow_ch": num_grow_ch,
            "unshuffle": unshuffle,
            "plus": plus,
        }
        self.scale, self.channels, self.multiple_of = scale, num_in_ch, unshuffle
        self.doublings = int(math.log2(max(scale * unshuffle, 1)))
        if min(scale, unshuffle) < 1 or 2**self.doublings != scale * unshuffle:
            raise ValueError(f"scale {scale} times unshuffle {unshuffle} must be a power of 2.")
        self.conv_first = nn.Conv2d(num_in_ch * unshuffle**2, num_feat, 3, padding=1)
        self.body = nn.Sequential(*(_Group(num_feat, num_grow_ch, plus) for _ in range(num_block)))
        self.conv_body = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        for number in range(1, self.doublings + 1):
            self.add_module(f"conv_up{number}", nn.Conv2d(num_feat, num_feat, 3, padding=1))
        self.conv_hr = nn.Conv2d(num_feat, num_feat, 3, padding=1)
        self.conv_last = nn.Conv2d(num_feat, num_out_ch, 3, padding=1)

    def forward(self, observation: Tensor) -> Tensor:
        """Restore observation (B, C, h, w) in [0, 1], any h, w >= 1, to (B, C', scale h, scale w); not clipped."""
        height, width = observation.shape[-2:]
        padded = pad_to_multiple(observation, self.multiple_of)
        features = self.conv_first(F.pixel_unshuffle(padded, self.multiple_of))
        features = features + self.conv_body(self.body(features))
        for number in range(1, self.doublings + 1):
            features = _activated(conv_of_doubled(features, self.get_submodule(f"conv_up{number}")))
        restored = self.conv_last(_activated(self.conv_hr(features)))
        return restored[..., : self.scale * height, : self.scale * width]


class _Group(nn.Module):
    """Three dense blocks, added to the input (RRDB)."""

    def __init__(self, channels: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(channels, growth, plus)
        self.rdb2 = _DenseBlock(channels, growth, plus)
        self.rdb3 = _DenseBlock(channels, growth, plus)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return torch.add(features, self.rdb3(self.rdb2(self.rdb1(features))), alpha=_RESIDUAL)


class _DenseBlock(nn.Module):
    """Five convolutions, each of which sees the results of all before it, added to the input (RDB)."""

    def __init__(self, channels: int, growth: int, plus: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(channels + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(channels + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(channels + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(channels + 4 * growth, channels, 3, padding=1)
        self.conv1x1 = nn.Conv2d(channels, growth, 1, bias=False) if plus else None
        for convolution in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5):
            nn.init.kaiming_normal_(convolution.weight)
            convolution.weight.data *= 0.1  # near the identity, which is what lets deep stacks train
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        first = _activated(self.conv1(features))
        known = torch.cat((features, first), dim=1)
        second = _activated(self.conv2(known))
        if self.conv1x1 is not None:
            second = second + self.conv1x1(features)
        known = torch.cat((known, second), dim=1)
        known = torch.cat((known, _activated(self.conv3(known))), dim=1)
        fourth = _activated(self.conv4(known))
        if self.conv1x1 is not None:
            fourth = fourth + second
        return torch.add(features, self.conv5(torch.cat((known, fourth), dim=1)), alpha=_RESIDUAL)


def _activated(features: Tensor) -> Tensor:
    """Leaky ReLU, in place: at full resolution a fresh tensor costs more than the values that go into it."""
    return F.leaky_relu(features, _SLOPE, inplace=True)
