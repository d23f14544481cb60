"""FFDNet: a plain convolutional denoiser that is told the noise level (Zhang et al., TIP 2018, arXiv 1710.04026)."""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.registry import register_network


@register_network("ffdnet")
class FFDNet(nn.Module):
    """E[x0 | noisy] from 3x3 convolutions at half the resolution, beside a map of the noise level.

    The defaults are the released colour network's (852,108 parameters); the released grey one has `channels=1, nc=64,
    nb=15`. Names of parameters are those of cszn/KAIR. The released "clip" networks are the same, trained on noisy
    images that were clipped to [0, 1].

    Args:
        channels: image channels.
        nc: feature channels.
        nb: convolutions, at least 2.
    """

    sigma_range = (0.0, 75 / 255)

    def __init__(self, *, channels: int = 3, nc: int = 96, nb: int = 12) -> None:
        super().__init__()
        if nb < 2:
            raise ValueError(f"nb is {nb}: FFDNet has at least 2 convolutions.")
        self.config: dict[str, Any] = {"channels": channels, "nc": nc, "nb": nb}
        self.channels = channels
        widths = [4 * channels + 1, *[nc] * (nb - 1), 4 * channels]
        layers: list[nn.Module] = []
        for entering, leaving in itertools.pairwise(widths):
            layers += [nn.Conv2d(entering, leaving, 3, padding=1), nn.ReLU(inplace=True)]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            noisy: (B, C, H, W) = clean + sigma * eps in [0, 1] units, any H, W >= 1; odd sides are padded inside.
            sigma: (B,) noise standard deviation in [0, 1] units.

        Returns:
            (B, C, H, W); not clipped.
        """
        height, width = noisy.shape[-2:]
        even = F.pad(noisy, (0, width % 2, 0, height % 2), mode="replicate")
        quarters = F.pixel_unshuffle(even, 2)
        level = sigma.to(noisy.dtype).view(-1, 1, 1, 1).expand_as(quarters[:, :1])
        denoised = F.pixel_shuffle(self.model(torch.cat((quarters, level), dim=1)), 2)
        return denoised[..., :height, :width]
