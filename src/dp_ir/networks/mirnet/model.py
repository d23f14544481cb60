"""MIRNet (Zamir et al., ECCV 2020, arXiv 2003.06792), from the original 31.8 M parameters down to MIRNet-S.

Written from the published description. Streams of several resolutions exchange information in every multi-scale
residual block; within a stream, dual attention units weigh positions and channels; between streams, selective kernel
fusion weighs the resolutions per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.layers.blocks import pad_to_multiple
from dp_ir.networks.registry import register_network

_REDUCTION = 8  # of the bottlenecks inside the attentions, in all released networks


class ChannelAttention(nn.Module):
    """Squeeze-and-excitation: one weight in (0, 1) per channel, from the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // _REDUCTION
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Weigh features (B, C, H, W)."""
        return features * self.conv_du(features.mean(dim=(2, 3), keepdim=True))


class SpatialAttention(nn.Module):
    """One weight in (0, 1) per position, from the maximum and the mean over the channels."""

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.ModuleDict({"conv": nn.Conv2d(2, 1, 5, padding=2, bias=False)})

    def forward(self, features: Tensor) -> Tensor:
        """Weigh features (B, C, H, W)."""
        pooled = torch.cat((features.amax(1, keepdim=True), features.mean(1, keepdim=True)), dim=1)
        return features * self.spatial["conv"](pooled).sigmoid()


class DualAttentionUnit(nn.Module):
    """Two convolutions whose result is weighed by position and by channel, added to the input (DAU)."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            activation,
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        self.SA = SpatialAttention()
        self.CA = ChannelAttention(channels)
        self.conv1x1 = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        hidden = self.body(features)
        attended: Tensor = self.conv1x1(torch.cat((self.SA(hidden), self.CA(hidden)), dim=1))
        return features + attended


class SelectiveKernelFusion(nn.Module):
    """Adds feature maps with weights per channel that sum to one over the maps (SKFF)."""

    def __init__(self, channels: int, maps: int) -> None:
        super().__init__()
        hidden = max(channels // _REDUCTION, 4)
        self.conv_du = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.PReLU())
        self.fcs = nn.ModuleList(nn.Conv2d(hidden, channels, 1, bias=False) for _ in range(maps))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Fuse maps of equal shape (B, C, H, W)."""
        stacked = torch.stack(tuple(maps), dim=1)
        code = self.conv_du(stacked.sum(dim=1).mean(dim=(2, 3), keepdim=True))
        weights = torch.stack([fc(code) for fc in self.fcs], dim=1).softmax(dim=1)
        return (stacked * weights).sum(dim=1)


class BlurReduce(nn.Module):
    """Reduction by 2 after a binomial 3x3 filter, so that it does not alias (Zhang, ICML 2019)."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("filt", torch.outer(row, row).expand(channels, 1, 3, 3).clone())

    def forward(self, features: Tensor) -> Tensor:
        """Reduce (B, C, H, W) to (B, C, H / 2, W / 2)."""
        padded = F.pad(features, (1, 1, 1, 1), mode="reflect" if min(features.shape[-2:]) > 1 else "replicate")
        return F.conv2d(padded, self.filt.to(features.dtype), stride=2, groups=self.filt.shape[0])


class ResidualDown(nn.Module):
    """Halves the resolution and doubles the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.PReLU(),
            BlurReduce(channels),
            nn.Conv2d(channels, 2 * channels, 1, bias=False),
        )
        self.bot = nn.Sequential(BlurReduce(channels), nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 2 C, H / 2, W / 2)."""
        return self.top(features) + self.bot(features)


class ResidualUp(nn.Module):
    """Doubles the resolution and halves the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.PReLU(),
            nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.PReLU(),
            nn.Conv2d(channels, channels // 2, 1, bias=False),
        )
        self.bot = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.Conv2d(channels, channels // 2, 1, bias=False),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C / 2, 2 H, 2 W)."""
        return self.top(features) + self.bot(features)


class Resample(nn.Module):
    """Several `ResidualDown` or `ResidualUp` in a row: a change of resolution by 2 ** times."""

    def __init__(self, kind: type[ResidualDown] | type[ResidualUp], channels: int, times: int) -> None:
        super().__init__()
        stages = []
        for _ in range(times):
            stages.append(kind(channels))
            channels = 2 * channels if kind is ResidualDown else channels // 2
        self.body = nn.Sequential(*stages)

    def forward(self, features: Tensor) -> Tensor:
        """Change the resolution of (B, C, H, W)."""
        return self.body(features)


class MultiScaleBlock(nn.Module):
    """Parallel streams at 1, 1/2, 1/4, ... of the resolution that exchange information (MSRB).

    As in the released networks, the dual attention units of one stream are one unit, used `width` times, and all
    streams meet before every use but the first.
    """

    def __init__(self, channels: int, activation: nn.Module, *, height: int, width: int, bias: bool) -> None:
        super().__init__()
        per_stream = [channels * 2**level for level in range(height)]
        self.blocks = nn.ModuleList(nn.ModuleList([DualAttentionUnit(c, activation)] * width) for c in per_stream)
        self.last_up = nn.ModuleDict(
            {str(level): Resample(ResidualUp, per_stream[level], level) for level in range(1, height)}
        )
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        for level, c in enumerate(per_stream):
            for times in range(height - 1 - level, 0, -1):
                self.down[f"{c}_{2**times}"] = Resample(ResidualDown, c, times)
        for level, c in reversed(list(enumerate(per_stream))):
            for times in range(level, 0, -1):
                self.up[f"{c}_{2**times}"] = Resample(ResidualUp, c, times)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.selective_kernel = nn.ModuleList(SelectiveKernelFusion(c, height) for c in per_stream)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape; H and W are multiples of 2 ** (height - 1)."""
        streams: list[Tensor] = []
        stream = features
        for level, units in enumerate(self.blocks):
            if level > 0:
                stream = self.down[f"{stream.shape[1]}_2"](stream)
            stream = units[0](stream)  # type: ignore[index]
            streams.append(stream)
        for column in range(1, len(self.blocks[0])):  # type: ignore[arg-type]
            exchanged = [
                fuse([self._moved(stream, source, target) for source, stream in enumerate(streams)])
                for target, fuse in enumerate(self.selective_kernel)
            ]
            streams = [units[column](s) for units, s in zip(self.blocks, exchanged, strict=True)]  # type: ignore[index]
        at_full_resolution = [s if level == 0 else self.last_up[str(level)](s) for level, s in enumerate(streams)]
        merged: Tensor = self.conv_out(self.selective_kernel[0](at_full_resolution))
        return features + merged

    def _moved(self, stream: Tensor, source: int, target: int) -> Tensor:
        if source == target:
            return stream
        table, times = (self.down, target - source) if source < target else (self.up, source - target)
        return table[f"{stream.shape[1]}_{2**times}"](stream)


class RecursiveResidualGroup(nn.Module):
    """Multi-scale blocks and a convolution, added to the input (RRG)."""

    def __init__(
        self, channels: int, n_msrb: int, activation: nn.Module, *, height: int, width: int, bias: bool
    ) -> None:
        super().__init__()
        blocks = [MultiScaleBlock(channels, activation, height=height, width=width, bias=bias) for _ in range(n_msrb)]
        self.body = nn.Sequential(*blocks, nn.Conv2d(channels, channels, 3, padding=1, bias=False))

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        refined: Tensor = self.body(features)
        return features + refined


@register_network("mirnet")
class MIRNet(nn.Module):
    """MIRNet as a blind restorer, or, with `sigma_map`, as a denoiser that is told the noise level.

    The defaults and the names of parameters are those of the released networks (swz30/MIRNet), which are blind, work on
    images at output resolution, and share one layout for denoising, super-resolution and enhancement. With `sigma_map`
    the first convolution takes one more input channel that is constant at sigma, as in FFDNet and DRUNet.

    Args:
        n_feat: feature channels at full resolution, at least 8; they double from stream to stream.
        n_rrg: recursive residual groups.
        n_msrb: multi-scale blocks per group.
        height: streams per multi-scale block, each at half the resolution of the one before.
        width: dual attention units per stream.
        kernel_size: of the first and the last convolution, odd.
        bias: whether the first and the last convolution, and the one that closes a multi-scale block, have biases; no
            other one has.
        channels: of the image.
        sigma_map: whether the network takes the noise level.
        sigma_range: noise levels the weights were trained for, in [0, 1] units; meaningless without `sigma_map`.
    """

    scale = 1
    supports_bfloat16 = True
    tiling = "discouraged"  # the attentions weigh channels by their means over the whole image

    def __init__(
        self,
        *,
        n_feat: int = 64,
        n_rrg: int = 3,
        n_msrb: int = 2,
        height: int = 3,
        width: int = 2,
        kernel_size: int = 3,
        bias: bool = False,
        channels: int = 3,
        sigma_map: bool = False,
        sigma_range: tuple[float, float] = (0.005, 1.0),
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "n_feat": n_feat,
            "n_rrg": n_rrg,
            "n_msrb": n_msrb,
            "height": height,
            "width": width,
            "kernel_size": kernel_size,
            "bias": bias,
            "channels": channels,
            "sigma_map": sigma_map,
            "sigma_range": list(sigma_range),
        }
        self.sigma_map = sigma_map
        self.sigma_input = "sigma" if sigma_map else "none"
        self.sigma_range = (float(sigma_range[0]), float(sigma_range[1])) if sigma_map else None
        self.multiple_of = 2 ** (height - 1)
        self.channels = channels
        margin = kernel_size // 2
        self.conv_in = nn.Conv2d(channels + sigma_map, n_feat, kernel_size, padding=margin, bias=bias)
        activation = nn.PReLU()  # one slope for all dual attention units, as in the released networks
        groups = [
            RecursiveResidualGroup(n_feat, n_msrb, activation, height=height, width=width, bias=bias)
            for _ in range(n_rrg)
        ]
        self.body = nn.Sequential(*groups)
        self.conv_out = nn.Conv2d(n_feat, channels, kernel_size, padding=margin, bias=bias)

    def forward(self, image: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Restore or denoise.

        Args:
            image: (B, C, H, W) in [0, 1] units, any H, W >= 1.
            sigma: (B,) noise level in [0, 1] units; needed with `sigma_map`, refused without.

        Returns:
            (B, C, H, W); not clipped.

        Raises:
            ValueError: sigma and `sigma_map` do not agree.
        """
        if (sigma is None) == self.sigma_map:
            what = "needs" if self.sigma_map else "takes no"
            raise ValueError(f"This MIRNet {what} noise level: sigma is {sigma} and sigma_map is {self.sigma_map}.")
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, self.multiple_of)
        inputs = padded
        if sigma is not None:
            level = sigma.to(padded.dtype)[:, None, None, None].expand(-1, 1, *padded.shape[-2:])
            inputs = torch.cat((padded, level), dim=1)
        residual = self.conv_out(self.body(self.conv_in(inputs))).to(image.dtype)
        return image + residual[..., :height, :width]


def mirnet_s(*, sigma_range: tuple[float, float] = (0.005, 1.0)) -> MIRNet:
    """The small MIRNet that denoises in DP-IR: 48 channels, two groups of two blocks of two streams, 2.0 M parameters.

    The paper does not print its MIRNet-S. Of the sizes near 2 M parameters this one keeps the depth of the original in
    exchange for one stream, which costs it little at the noise levels below tau.
    """
    return MIRNet(n_feat=48, n_rrg=2, n_msrb=2, height=2, width=2, sigma_map=True, sigma_range=sigma_range)
