"""FFTformer: deblurring with attention and feed-forward layers in the frequency domain (Kong et al., CVPR 2023).

Written from the paper (arXiv 2211.12250) and the layout of the released weights. Both layers cut the features into
patches of 8 x 8 and work on the patches' Fourier transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PATCH = 8
_FUSION_EXPANSION = 2.66  # of the feed-forward layers where skips join; the released code does not make it a choice


def _spectra(features: Tensor) -> Tensor:
    """Fourier transforms (B, C, H / 8, 8, W / 8, 5) of the patches of features (B, C, H, W); H, W multiples of 8.

    Half precision is widened: the transform does not exist in bfloat16.
    """
    batch, channels, height, width = features.shape
    patches = features.float().view(batch, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return torch.fft.rfft2(patches, dim=(3, 5))


def _features(spectra: Tensor) -> Tensor:
    """Features (B, C, H, W), float32, from the Fourier transforms of their patches; inverse of `_spectra`."""
    return torch.fft.irfft2(spectra, s=(_PATCH, _PATCH), dim=(3, 5)).flatten(4, 5).flatten(2, 3)


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (B, C, H, W)."""
        return self.body(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FrequencyAttention(nn.Module):
    """Queries and keys are convolved patch by patch; the result, normalised, weighs the values (FSAS)."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        hidden = 2 * channels
        self.to_hidden = nn.Conv2d(channels, 3 * hidden, 1, bias=bias)
        self.to_hidden_dw = nn.Conv2d(3 * hidden, 3 * hidden, 3, padding=1, groups=3 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.norm = ChannelNorm(hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape; H and W are multiples of 8."""
        query, key, value = self.to_hidden_dw(self.to_hidden(features)).chunk(3, dim=1)
        # By the convolution theorem; all pairs of positions of a patch for the price of a product.
        weights = self.norm(_features(_spectra(query) * _spectra(key)))
        return self.project_out(value * weights)


class FrequencyFeedForward(nn.Module):
    """A gated feed-forward layer whose hidden features pass through a learned filter per channel (DFFN)."""

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.fft = nn.Parameter(torch.ones(2 * hidden, 1, 1, _PATCH, _PATCH // 2 + 1))
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape; H and W are multiples of 8."""
        response = self.fft.view(-1, 1, _PATCH, 1, _PATCH // 2 + 1)
        filtered = _features(_spectra(self.project_in(features)) * response)
        gate, value = self.dwconv(filtered).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """Attention, where the block has it, and the feed-forward layer, each normalised first and added to its input."""

    def __init__(self, channels: int, *, expansion: float, bias: bool, attention: bool) -> None:
        super().__init__()
        if attention:
            self.norm1 = ChannelNorm(channels)
            self.attn = FrequencyAttention(channels, bias)
        self.norm2 = ChannelNorm(channels)
        self.ffn = FrequencyFeedForward(channels, expansion, bias)
        self.attention = attention

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape; H and W are multiples of 8."""
        if self.attention:
            features = features + self.attn(self.norm1(features))
        return features + self.ffn(self.norm2(features))


class SkipFusion(nn.Module):
    """Joins the decoder's features with those of the encoder at the same resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.att_channel = TransformerBlock(2 * channels, expansion=_FUSION_EXPANSION, bias=False, attention=False)
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.conv2 = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, decoded: Tensor, skipped: Tensor) -> Tensor:
        """Fuse two feature maps (B, C, H, W) into one."""
        mixed = self.conv2(self.att_channel(self.conv(torch.cat((decoded, skipped), dim=1))))
        first, second = mixed.chunk(2, dim=1)
        return first + second


class Halving(nn.Module):
    """Halves the resolution and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 2 C, H / 2, W / 2)."""
        return self.body(features)


class Doubling(nn.Module):
    """Doubles the resolution and halves the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C / 2, 2 H, 2 W)."""
        return self.body(features)


class PatchEmbedding(nn.Module):
    """The first convolution."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, channels, H, W) to features (B, dim, H, W)."""
        return self.proj(image)


class FFTformer(nn.Module):
    """E[x0 | y] for deblurring: a U-Net of three resolutions, with attention in its decoder only.

    The defaults are the released network's (kkkls/FFTformer, 16,560,474 parameters), whose names of parameters these
    are.

    Args:
        channels: image channels.
        dim: feature channels at full resolution, even.
        num_blocks: blocks per resolution, from full to a quarter, in the encoder and again in the decoder.
        num_refinement_blocks: further blocks at full resolution.
        ffn_expansion_factor: hidden channels / channels of the feed-forward layers.
        bias: whether the blocks' convolutions have biases.
    """

    scale = 1
    size_multiple = 32

    def __init__(
        self,
        *,
        channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (6, 6, 12),
        num_refinement_blocks: int = 4,
        ffn_expansion_factor: float = 3,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if len(num_blocks) != 3:
            raise ValueError(f"num_blocks names {len(num_blocks)} resolutions; FFTformer has 3.")
        self.config: dict[str, Any] = {
            "channels": channels,
            "dim": dim,
            "num_blocks": list(num_blocks),
            "num_refinement_blocks": num_refinement_blocks,
            "ffn_expansion_factor": ffn_expansion_factor,
            "bias": bias,
        }
        self.channels = channels

        def blocks(level: int, count: int, *, attention: bool) -> nn.Sequential:
            return nn.Sequential(
                *[
                    TransformerBlock(dim * 2**level, expansion=ffn_expansion_factor, bias=bias, attention=attention)
                    for _ in range(count)
                ]
            )

        self.patch_embed = PatchEmbedding(channels, dim)
        self.encoder_level1 = blocks(0, num_blocks[0], attention=False)
        self.down1_2 = Halving(dim)
        self.encoder_level2 = blocks(1, num_blocks[1], attention=False)
        self.down2_3 = Halving(2 * dim)
        self.encoder_level3 = blocks(2, num_blocks[2], attention=False)
        self.decoder_level3 = blocks(2, num_blocks[2], attention=True)
        self.up3_2 = Doubling(4 * dim)
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1, bias=bias)  # in the released weights, but never used
        self.decoder_level2 = blocks(1, num_blocks[1], attention=True)
        self.up2_1 = Doubling(2 * dim)
        self.decoder_level1 = blocks(0, num_blocks[0], attention=True)
        self.refinement = blocks(0, num_refinement_blocks, attention=True)
        self.fuse2 = SkipFusion(2 * dim)
        self.fuse1 = SkipFusion(dim)
        self.output = nn.Conv2d(dim, channels, 3, padding=1, bias=bias)

    def forward(self, observation: Tensor) -> Tensor:
        """Restore a blurred image.

        Args:
            observation: (B, C, H, W) in [0, 1]; H and W are multiples of 32.

        Returns:
            (B, C, H, W); not clipped.
        """
        full = self.encoder_level1(self.patch_embed(observation))
        half = self.encoder_level2(self.down1_2(full))
        quarter = self.encoder_level3(self.down2_3(half))
        features = self.up3_2(self.decoder_level3(quarter))
        features = self.up2_1(self.decoder_level2(self.fuse2(features, half)))
        features = self.refinement(self.decoder_level1(self.fuse1(features, full)))
        return self.output(features) + observation
