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

from dp_ir.networks.layers.pointwise import pointwise
from dp_ir.networks.registry import register_network

_PATCH = 8
_HALF = _PATCH // 2 + 1  # frequencies of real values
_FUSION_EXPANSION = 2.66  # of the feed-forward layers where skips join; the released code does not make it a choice


def _patch_major(tokens: Tensor) -> Tensor:
    """Tokens (B, H, W, C), with H and W multiples of 8, by their place in a patch: (8, 8, B, H / 8, W / 8, C).

    The column within the patch comes first, then the row. What is done to all patches alike is then one matrix product.
    """
    batch, height, width, channels = tokens.shape
    patches = tokens.reshape(batch, height // _PATCH, _PATCH, width // _PATCH, _PATCH, channels)
    return patches.permute(4, 2, 0, 1, 3, 5).contiguous()


def _image_major(patches: Tensor) -> Tensor:
    """The inverse of `_patch_major`."""
    return patches.permute(2, 3, 1, 4, 0, 5).flatten(3, 4).flatten(1, 2)


class PatchTransform(nn.Module):
    """The Fourier transform of patches of 8 x 8 real values, and its inverse, by products with small real matrices.

    A transform of 8 values is too short for a library of fast transforms to pay. Along the columns it is real, so that
    5 of its 8 complex results suffice; along the rows it is complex. The real and the imaginary part of a result are
    two rows of a real matrix.
    """

    forward_columns: Tensor
    forward_rows: Tensor
    inverse_columns: Tensor
    inverse_rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = torch.arange(_PATCH, dtype=torch.float64) * (2 * torch.pi / _PATCH)
        angles = torch.arange(_PATCH)[:, None] * angle  # of frequency f and place x
        cosine, sine = angles.cos(), angles.sin()
        columns = torch.stack((cosine, -sine), dim=1)[:_HALF]
        rows = torch.cat((torch.cat((cosine, sine), 1), torch.cat((-sine, cosine), 1)))
        # In the sum over all frequencies each of the 5 stands for its mirror image, too, which the first and the last
        # do not have.
        twice = torch.full((_HALF, 1, 1), 2.0).index_fill_(0, torch.tensor([0, _HALF - 1]), 1.0)
        for name, matrix in {
            "forward_columns": columns.reshape(2 * _HALF, _PATCH),
            "forward_rows": rows,
            "inverse_columns": (twice * columns / _PATCH).reshape(2 * _HALF, _PATCH).T,
            "inverse_rows": rows.T / _PATCH,
        }.items():
            self.register_buffer(name, matrix.float().contiguous(), persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Transform patches (8, 8, ..., C), columns first, to (5, 2, 8, N, C), float32.

        Frequencies along the columns come first, then real and imaginary part, frequencies along the rows, and all
        patches of all images.
        """
        with torch.autocast(patches.device.type, enabled=False):
            columns = self.forward_columns @ patches.float().reshape(_PATCH, -1)
            rows = self.forward_rows.expand(_HALF, -1, -1)
            spectra = torch.bmm(rows, columns.view(_HALF, 2 * _PATCH, -1))
        return spectra.view(_HALF, 2, _PATCH, -1, patches.shape[-1])

    def inverse(self, spectra: Tensor) -> Tensor:
        """The patches (8, 8, N, C) of the real part of spectra (5, 2, 8, N, C)."""
        with torch.autocast(spectra.device.type, enabled=False):
            rows = self.inverse_rows.expand(_HALF, -1, -1)
            columns = torch.bmm(rows, spectra.view(_HALF, 2 * _PATCH, -1))
            patches = self.inverse_columns @ columns.view(2 * _HALF, -1)
        return patches.view(_PATCH, _PATCH, *spectra.shape[-2:])


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of every position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Normalise tokens (..., C)."""
        return self.body(tokens)


class FrequencyAttention(nn.Module):
    """Queries and keys are convolved patch by patch; the result, normalised, weighs the values (FSAS)."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        hidden = 2 * channels
        self.to_hidden = nn.Conv2d(channels, 3 * hidden, 1, bias=bias)
        self.to_hidden_dw = nn.Conv2d(3 * hidden, 3 * hidden, 3, padding=1, groups=3 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.norm = ChannelNorm(hidden)
        self.transform = PatchTransform()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, H, W, C) to the same shape; H and W are multiples of 8."""
        hidden = _depthwise(_mixed(tokens, self.to_hidden), self.to_hidden_dw)
        channels = hidden.shape[-1] // 3
        pairs, value = torch.split(hidden, [2 * channels, channels], dim=-1)
        patches = _patch_major(pairs)
        query, key = self.transform(patches).chunk(2, dim=-1)
        # By the convolution theorem; all pairs of positions of a patch for the price of a product of complex numbers.
        real = query[:, 0] * key[:, 0] - query[:, 1] * key[:, 1]
        imaginary = query[:, 0] * key[:, 1] + query[:, 1] * key[:, 0]
        convolved = self.transform.inverse(torch.stack((real, imaginary), dim=1))
        weights = _image_major(self.norm(convolved).view(*patches.shape[:-1], channels))
        return _mixed(value * weights, self.project_out)


class FrequencyFeedForward(nn.Module):
    """A gated feed-forward layer whose hidden features pass through a learned filter per channel (DFFN)."""

    def __init__(self, channels: int, expansion: float, bias: bool) -> None:
        super().__init__()
        hidden = int(channels * expansion)
        self.project_in = nn.Conv2d(channels, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.fft = nn.Parameter(torch.ones(2 * hidden, 1, 1, _PATCH, _HALF))
        self.project_out = nn.Conv2d(hidden, channels, 1, bias=bias)
        self.transform = PatchTransform()

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (B, H, W, C) to the same shape; H and W are multiples of 8."""
        patches = _mixed(_patch_major(tokens), self.project_in)  # cut before there are more channels to be moved
        response = self.fft[:, 0, 0].permute(2, 1, 0)[:, None, :, None]  # real: the same for both parts of a number
        filtered = self.transform.inverse(self.transform(patches) * response).view(patches.shape)
        gate, value = _depthwise(_image_major(filtered), self.dwconv).chunk(2, dim=-1)
        return _mixed(F.gelu(gate) * value, self.project_out)


def _mixed(tokens: Tensor, convolution: nn.Conv2d) -> Tensor:
    """A convolution of 1 x 1 of tokens (..., C), wherever they lie."""
    return pointwise(tokens, convolution.weight, convolution.bias)


def _depthwise(tokens: Tensor, convolution: nn.Conv2d) -> Tensor:
    """A convolution of tokens (B, H, W, C) over their places."""
    return convolution(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


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
        tokens = features.permute(0, 2, 3, 1)
        if self.attention:
            tokens = tokens + self.attn(self.norm1(tokens))
        return (tokens + self.ffn(self.norm2(tokens))).permute(0, 3, 1, 2)


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


@register_network("fftformer")
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
    multiple_of = 32

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
        channels_last = observation.contiguous(memory_format=torch.channels_last)  # tokens are then views of features
        full = self.encoder_level1(self.patch_embed(channels_last))
        half = self.encoder_level2(self.down1_2(full))
        quarter = self.encoder_level3(self.down2_3(half))
        features = self.up3_2(self.decoder_level3(quarter))
        features = self.up2_1(self.decoder_level2(self.fuse2(features, half)))
        features = self.refinement(self.decoder_level1(self.fuse1(features, full)))
        return self.output(features) + observation
