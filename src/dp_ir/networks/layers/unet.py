"""A residual convolutional U-Net made for vector units, without a say in what goes in and what comes out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.layers.blocks import NoiseEmbedding, ResidualStack, pad_to_multiple


class UNet(nn.Module):
    """The trunk of the U-Nets of this package, which precondition its input and output.

    An image is pixel-unshuffled by 2 (no layer runs at full resolution), then passes through a U-Net of residual blocks
    without normalisation whose channel counts are multiples of 16.

    Args:
        channels: feature channels per level; level i runs at 1 / 2**i of the planes' resolution, 1 / 2**(i + 1) of an
            image's.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
        encoding: size of the encoding of the noise level or time; None for a network that sees neither.
        inputs: planes that go in; 12 are the unshuffled image.
        outputs: planes that come out.
    """

    def __init__(
        self,
        *,
        channels: Sequence[int],
        blocks: Sequence[int],
        encoding: int | None = None,
        inputs: int = 12,
        outputs: int = 12,
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks):
            raise ValueError(f"channels names {len(channels)} levels and blocks {len(blocks)}; give both per level.")
        self.config: dict[str, Any] = {"channels": list(channels), "blocks": list(blocks)}
        if encoding is not None:
            self.config["encoding"] = encoding
        self.multiple_of = 2 ** len(channels)
        self.encode = NoiseEmbedding(hidden=encoding, out=encoding) if encoding is not None else None
        self.stem = nn.Conv2d(inputs, channels[0], 3, padding=1)
        levels = list(zip(channels, blocks, strict=True))
        steps = list(itertools.pairwise(channels))
        self.encoders = nn.ModuleList(ResidualStack(c, n, encoding=encoding) for c, n in levels[:-1])
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.middle = ResidualStack(channels[-1], blocks[-1], encoding=encoding)
        self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in steps)
        self.decoders = nn.ModuleList(ResidualStack(c, n, encoding=encoding) for c, n in levels[:-1])
        self.head = nn.Conv2d(channels[0], outputs, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def raw(self, image: Tensor, level: Tensor | None = None) -> Tensor:
        """The network proper: image (B, 3, H, W) of about unit variance, level (B,) > 0 -> (B, 3, H, W)."""
        height, width = image.shape[-2:]
        planes = F.pixel_unshuffle(pad_to_multiple(image, self.multiple_of), 2)
        return F.pixel_shuffle(self.planes(planes, level), 2)[..., :height, :width].to(image.dtype)

    def planes(self, planes: Tensor, level: Tensor | None = None) -> Tensor:
        """The same on planes (B, inputs, h, w), h and w multiples of `multiple_of` / 2 -> (B, outputs, h, w)."""
        encoding = self.encode(level) if self.encode is not None else None
        features = self.stem(planes)
        skips = []
        for encoder, down in zip(self.encoders, self.down, strict=True):
            features = encoder(features, encoding)
            skips.append(features)
            features = down(features)
        features = self.middle(features, encoding)
        for decoder, up, skip in reversed(list(zip(self.decoders, self.up, skips, strict=True))):
            features = decoder(up(features).add_(skip), encoding)
        return self.head(features)
