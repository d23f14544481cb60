"""The U-Net of guided diffusion (Dhariwal & Nichol 2021, arXiv 2105.05233), alone and as a denoiser.

The names of parameters are those of the released weights (openai/guided-diffusion), which improved-diffusion, DPS and
DiffPIR share. Only what inference needs is here: no dropout, no class labels, no zero initialisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.epsilon_denoiser import EpsilonDenoiser, cosine_alphas_cumprod, linear_alphas_cumprod
from dp_ir.networks.registry import register_network

_GROUPS = 32
_SCHEDULES: dict[str, Callable[[int], Tensor]] = {"linear": linear_alphas_cumprod, "cosine": cosine_alphas_cumprod}


def encode_step(t: Tensor, channels: int) -> Tensor:
    """Cosines and sines of t (B,) at wavelengths from 2 pi to 2 pi * 10000 steps, as (B, channels)."""
    half = channels // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device)
    phase = t.float()[:, None] * torch.exp(-math.log(10_000) * exponents / half)
    return F.pad(torch.cat((phase.cos(), phase.sin()), dim=1), (0, channels % 2))


class ResidualBlock(nn.Module):
    """norm - conv - norm - conv, told the step in between, added to the input; may change channels and resolution.

    Args:
        channels: features that come in.
        out_channels: features that go out.
        encoding: size of the encoding of the step.
        scale_shift: whether the encoding scales and shifts the second normalisation's result, or is added before it.
        resize: "down" halves the resolution by 2x2 means, "up" doubles it by repetition.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        encoding: int,
        scale_shift: bool,
        resize: Literal["down", "up"] | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift, self.resize = scale_shift, resize
        self.in_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(encoding, (1 + scale_shift) * out_channels))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(_GROUPS, out_channels),
            nn.SiLU(),
            nn.Identity(),  # dropout in training
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, features: Tensor, encoding: Tensor) -> Tensor:
        """Map features (B, C, H, W) to (B, out_channels, H', W'); encoding is (B, encoding)."""
        hidden = self.in_layers[2](self._resized(self.in_layers[:2](features)))
        shift = self.emb_layers(encoding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = shift.chunk(2, dim=1)
            hidden = self.out_layers[1:](torch.addcmul(shift, self.out_layers[0](hidden), 1 + scale))
        else:
            hidden = self.out_layers(hidden + shift)
        return self.skip_connection(self._resized(features)) + hidden

    def _resized(self, features: Tensor) -> Tensor:
        match self.resize:
            case "down":
                return F.avg_pool2d(features, 2)
            case "up":
                return F.interpolate(features, scale_factor=2, mode="nearest")
            case None:
                return features


class SelfAttention(nn.Module):
    """Every position attends to all others, added to the input.

    Args:
        channels: features.
        heads: attention heads.
        new_order: whether the projection's channels are ordered (query | key | value) x heads x channels, as in the
            later releases, or heads x (query | key | value) x channels; names and shapes are the same.
    """

    def __init__(self, channels: int, heads: int, *, new_order: bool) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} attention heads do not divide {channels} channels.")
        self.heads, self.new_order = heads, new_order
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        projected = self.qkv(self.norm(features).flatten(2))
        if self.new_order:
            parts = projected.unflatten(1, (3, self.heads, -1))
        else:
            parts = projected.unflatten(1, (self.heads, 3, -1)).transpose(1, 2)
        query, key, value = parts.transpose(-2, -1).unbind(1)  # each (B, heads, positions, channels of a head)
        attended = F.scaled_dot_product_attention(query, key, value)
        return features + self.proj_out(attended.transpose(-2, -1).flatten(1, 2)).view_as(features)


class Downsample(nn.Module):
    """Halves the resolution by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H / 2, W / 2)."""
        return self.op(features)


class Upsample(nn.Module):
    """Doubles the resolution by repetition and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(features, scale_factor=2, mode="nearest"))


class Stage(nn.ModuleList):
    """Layers in a row, of which residual blocks are told the step."""

    def forward(self, features: Tensor, encoding: Tensor) -> Tensor:
        """Apply the layers to features (B, C, H, W); encoding is (B, encoding)."""
        for layer in self:
            features = layer(features, encoding) if isinstance(layer, ResidualBlock) else layer(features)
        return features


class GuidedUNet(nn.Module):
    """The noise eps in x_t, and with `learn_sigma` numbers that set the variance of a step back, from x_t and t.

    The defaults are those of `256x256_diffusion_uncond.pt`; the FFHQ weights that DPS and DiffPIR use have
    model_channels=128, num_res_blocks=1, attention_rates=(16,). No weight depends on the size of the image.

    Args:
        model_channels: unit of `channel_mult`.
        channel_mult: feature channels per level in that unit; level i runs at 1 / 2**i of the resolution. All channel
            counts are multiples of 32.
        num_res_blocks: residual blocks per level on the way down; one more on the way up.
        attention_rates: downsampling factors at which every residual block is followed by attention; a released
            "attention resolution" r of an image size s is the rate s / r. The middle always has attention.
        num_head_channels: channels of one attention head.
        num_heads: heads of every attention, whatever its channels; None where `num_head_channels` says it.
        learn_sigma: whether there are 6 output channels instead of 3.
        resblock_updown: whether residual blocks change the resolution, or single convolutions.
        use_scale_shift_norm: see `ResidualBlock`.
        use_new_attention_order: see `SelfAttention`; a state dict does not show it.

    Raises:
        ValueError: heads do not divide channels, or channels are no multiple of 32.
    """

    def __init__(
        self,
        *,
        model_channels: int = 256,
        channel_mult: Sequence[float] = (1, 1, 2, 2, 4, 4),
        num_res_blocks: int = 2,
        attention_rates: Sequence[int] = (8, 16, 32),
        num_head_channels: int = 64,
        num_heads: int | None = None,
        learn_sigma: bool = True,
        resblock_updown: bool = True,
        use_scale_shift_norm: bool = True,
        use_new_attention_order: bool = False,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "model_channels": model_channels,
            "channel_mult": list(channel_mult),
            "num_res_blocks": num_res_blocks,
            "attention_rates": list(attention_rates),
            "num_head_channels": num_head_channels,
            "num_heads": num_heads,
            "learn_sigma": learn_sigma,
            "resblock_updown": resblock_updown,
            "use_scale_shift_norm": use_scale_shift_norm,
            "use_new_attention_order": use_new_attention_order,
        }
        self.model_channels = model_channels
        self.multiple_of = 2 ** (len(channel_mult) - 1)
        encoding = 4 * model_channels

        def residual(channels: int, out_channels: int, resize: Literal["down", "up"] | None = None) -> nn.Module:
            return ResidualBlock(
                channels, out_channels, encoding=encoding, scale_shift=use_scale_shift_norm, resize=resize
            )

        def attention(channels: int) -> nn.Module:
            heads = num_heads if num_heads is not None else max(1, channels // num_head_channels)
            return SelfAttention(channels, heads, new_order=use_new_attention_order)

        widths = [int(unit * model_channels) for unit in channel_mult]
        levels = [(level, width, 2**level in attention_rates) for level, width in enumerate(widths)]

        self.time_embed = nn.Sequential(nn.Linear(model_channels, encoding), nn.SiLU(), nn.Linear(encoding, encoding))
        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(3, widths[0], 3, padding=1)])])
        current = widths[0]
        skips = [current]
        for level, width, attends in levels:
            for _ in range(num_res_blocks):
                layers = [residual(current, width), *([attention(width)] if attends else [])]
                self.input_blocks.append(Stage(layers))
                current = width
                skips.append(current)
            if level < len(widths) - 1:
                down = residual(current, current, "down") if resblock_updown else Downsample(current)
                self.input_blocks.append(Stage([down]))
                skips.append(current)
        self.middle_block = Stage([residual(current, current), attention(current), residual(current, current)])
        self.output_blocks = nn.ModuleList()
        for level, width, attends in reversed(levels):
            for number in range(num_res_blocks + 1):
                layers = [residual(current + skips.pop(), width), *([attention(width)] if attends else [])]
                current = width
                if level > 0 and number == num_res_blocks:
                    layers.append(residual(current, current, "up") if resblock_updown else Upsample(current))
                self.output_blocks.append(Stage(layers))
        self.out = nn.Sequential(
            nn.GroupNorm(_GROUPS, current), nn.SiLU(), nn.Conv2d(current, 6 if learn_sigma else 3, 3, padding=1)
        )

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            x_t: (B, 3, H, W) = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps with x0 in [-1, 1]; H and W multiples of
                `multiple_of`.
            t: (B,) steps from 0 on, may be fractional.

        Returns:
            (B, 3, H, W), or (B, 6, H, W) with `learn_sigma`: eps first.
        """
        encoding = self.time_embed(encode_step(t, self.model_channels).to(x_t.dtype))
        features = x_t
        skips = []
        for stage in self.input_blocks:
            features = stage(features, encoding)
            skips.append(features)
        features = self.middle_block(features, encoding)
        for stage in self.output_blocks:
            features = stage(torch.cat((features, skips.pop()), dim=1), encoding)
        return self.out(features)


@register_network("guided-unet")
class GuidedDiffusionDenoiser(EpsilonDenoiser):
    """E[x0 | noisy] from a `GuidedUNet` and the schedule it was trained on; `EpsilonDenoiser` says how.

    Parameters bear the released names behind the prefix `network.`.

    Args:
        schedule: "linear" or "cosine".
        steps: of the schedule; the network counts them in thousandths of the whole.
        network: the arguments of `GuidedUNet`.

    Raises:
        ValueError: an unknown schedule, or hyper-parameters that do not fit one another.
    """

    tiling = "discouraged"  # attention and normalisation see the whole image

    def __init__(self, *, schedule: str = "linear", steps: int = 1000, **network: Any) -> None:
        if schedule not in _SCHEDULES:
            raise ValueError(f"The schedule is {schedule!r}: expected one of {', '.join(_SCHEDULES)}.")
        unet = GuidedUNet(**network)
        super().__init__(unet, alphas_cumprod=_SCHEDULES[schedule](steps), step_scale=1000 / steps)
        self.config: dict[str, Any] = {**unet.config, "schedule": schedule, "steps": steps}
