"""DRUNet: the residual U-Net denoiser of DPIR (Zhang et al., TPAMI 2021, arXiv 2008.13751)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from dp_ir.networks.registry import register_network


class ResidualBlock(nn.Module):
    """conv - ReLU - conv, added to the input; without biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.res = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        return features + self.res(features)


@register_network("drunet")
class DRUNet(nn.Module):
    """E[x0 | noisy] at four resolutions, told the noise level by one more channel of its input.

    No convolution has a bias, so the network is homogeneous: image and sigma scaled together scale the result. The
    defaults are the released colour network's (32,640,960 parameters); the released grey one has `channels=1`. Names of
    parameters are those of cszn/DPIR and cszn/KAIR.

    Args:
        channels: image channels.
        nc: feature channels at full resolution and after each halving; four of them.
        nb: residual blocks per resolution, on the way down and again on the way up; the coarsest has them once.
    """

    multiple_of = 8
    sigma_range = (0.0, 50 / 255)
    sigma_input = "map"

    def __init__(self, *, channels: int = 3, nc: Sequence[int] = (64, 128, 256, 512), nb: int = 4) -> None:
        super().__init__()
        if len(nc) != 4:
            raise ValueError(f"nc names {len(nc)} resolutions; DRUNet has 4.")
        self.config: dict[str, Any] = {"channels": channels, "nc": list(nc), "nb": nb}
        self.channels = channels

        def blocks(level: int) -> list[nn.Module]:
            return [ResidualBlock(nc[level]) for _ in range(nb)]

        def halving(level: int) -> nn.Module:
            return nn.Conv2d(nc[level], nc[level + 1], 2, stride=2, bias=False)

        def doubling(level: int) -> nn.Module:
            return nn.ConvTranspose2d(nc[level + 1], nc[level], 2, stride=2, bias=False)

        self.m_head = nn.Conv2d(channels + 1, nc[0], 3, padding=1, bias=False)
        self.m_down1 = nn.Sequential(*blocks(0), halving(0))
        self.m_down2 = nn.Sequential(*blocks(1), halving(1))
        self.m_down3 = nn.Sequential(*blocks(2), halving(2))
        self.m_body = nn.Sequential(*blocks(3))
        self.m_up3 = nn.Sequential(doubling(2), *blocks(2))
        self.m_up2 = nn.Sequential(doubling(1), *blocks(1))
        self.m_up1 = nn.Sequential(doubling(0), *blocks(0))
        self.m_tail = nn.Conv2d(nc[0], channels, 3, padding=1, bias=False)

    def forward(self, noisy_and_sigma: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            noisy_and_sigma: (B, C + 1, H, W): the noisy image in [0, 1] units, then a channel that is the noise's
                standard deviation in the same units everywhere; H and W are multiples of 8.

        Returns:
            (B, C, H, W); not clipped.
        """
        full = self.m_head(noisy_and_sigma)
        half = self.m_down1(full)
        quarter = self.m_down2(half)
        eighth = self.m_down3(quarter)
        features = self.m_up3(self.m_body(eighth) + eighth)
        features = self.m_up2(features + quarter)
        features = self.m_up1(features + half)
        return self.m_tail(features + full)
