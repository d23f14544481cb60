"""The fast denoiser: a residual convolutional U-Net made for vector units, preconditioned by the noise level."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.blocks import ResidualStack, SigmaEncoding, pad_to_multiple


class UNetDenoiser(nn.Module):
    """E[x0 | noisy] for Gaussian noise of known level.

    The image is pixel-unshuffled by 2 (no layer runs at full resolution), then passes through a U-Net of residual
    blocks without normalisation whose channel counts are multiples of 16. Input and output are preconditioned as in EDM
    (Karras et al. 2022, table 1): the network proper sees an input of unit variance and predicts a target of unit
    variance at every noise level.

    Args:
        channels: feature channels per level; level i runs at 1 / 2**(i + 1) of the image's resolution.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
        encoding: size of the noise-level encoding.
        sigma_data: standard deviation of clean pixels in [0, 1] units.
        sigma_range: noise levels the weights were trained for, in [0, 1] units.
    """

    half_safe = True

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 160),
        blocks: Sequence[int] = (2, 2, 2),
        encoding: int = 64,
        sigma_data: float = 0.25,
        sigma_range: tuple[float, float] = (0.005, 1.0),
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks):
            raise ValueError(f"channels names {len(channels)} levels and blocks {len(blocks)}; give both per level.")
        self.config: dict[str, Any] = {
            "channels": list(channels),
            "blocks": list(blocks),
            "encoding": encoding,
            "sigma_data": sigma_data,
            "sigma_range": list(sigma_range),
        }
        self.sigma_data = sigma_data
        self.sigma_range = (float(sigma_range[0]), float(sigma_range[1]))
        self.size_multiple = 2 ** len(channels)
        self.encode = SigmaEncoding(hidden=encoding, out=encoding)
        self.stem = nn.Conv2d(12, channels[0], 3, padding=1)
        levels = list(zip(channels, blocks, strict=True))
        steps = list(itertools.pairwise(channels))
        self.encoders = nn.ModuleList(ResidualStack(c, n, encoding=encoding) for c, n in levels[:-1])
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.middle = ResidualStack(channels[-1], blocks[-1], encoding=encoding)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.decoders = nn.ModuleList(ResidualStack(c, n, encoding=encoding) for c, n in levels[:-1])
        self.head = nn.Conv2d(channels[0], 12, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            noisy: (B, 3, H, W) = clean + sigma * eps, any H, W >= 1; float32.
            sigma: (B,) noise standard deviation in [0, 1] image units.

        Returns:
            (B, 3, H, W) float32 estimate of E[x0 | noisy]; not clipped.
        """
        height, width = noisy.shape[-2:]
        level = sigma.to(noisy.dtype)[:, None, None, None]
        variance = level**2 + self.sigma_data**2
        centred = noisy - 0.5
        raw = self._unet(pad_to_multiple(centred * variance.rsqrt(), self.size_multiple), self.encode(sigma))
        c_skip = self.sigma_data**2 / variance
        c_out = level * self.sigma_data * variance.rsqrt()
        return 0.5 + c_skip * centred + c_out * raw[..., :height, :width].to(noisy.dtype)

    def _unet(self, image: Tensor, encoding: Tensor) -> Tensor:
        features = self.stem(F.pixel_unshuffle(image, 2))
        skips = []
        for encoder, down in zip(self.encoders, self.down, strict=True):
            features = encoder(features, encoding)
            skips.append(features)
            features = down(features)
        features = self.middle(features, encoding)
        for decoder, up, skip in reversed(list(zip(self.decoders, self.up, skips, strict=True))):
            features = decoder(up(features) + skip, encoding)
        return F.pixel_shuffle(self.head(features), 2)
