"""SwinIR (Liang et al. 2021, arXiv 2108.10257): restoration by attention within shifted windows.

Written from the published description. A convolution makes shallow features; stages of transformer blocks, each stage
closed by a convolution and a skip, make deep ones; a small head turns their sum into the image. Windows of every second
block are shifted by half a window, so that information crosses the borders between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.networks.layers.blocks import pad_to_multiple
from dp_ir.networks.layers.doubling import conv_of_doubled
from dp_ir.networks.layers.swin import SwinBlock, SwinStage, attention_mask, initialise
from dp_ir.networks.registry import register_network

_RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K
_HEAD_CHANNELS = 64


@register_network("swinir")
class SwinIR(nn.Module):
    """SwinIR as restorer (super-resolution, JPEG artefacts) or as denoiser of one noise level that it is not told.

    Names and shapes of the state dict are those of the released weights (JingyunLiang/SwinIR), buffers included. The
    defaults are the classical 4x network. Stochastic depth and dropout of the training are left out: the released
    networks do without them when they are applied.

    Args:
        upscale: enlargement factor: 1 without upsampler, a power of 2 for "nearest+conv", a power of 2 or 3 for
            "pixelshuffle", any for "pixelshuffledirect".
        in_chans: channels of the image, 3 or 1.
        img_size: side of the training patches. The released files hold buffers of this size; images may have any.
        window_size: side of the windows.
        img_range: the network works on values of 0 to this; images stay in [0, 1].
        depths: transformer blocks per stage.
        embed_dim: feature channels, a multiple of every entry of `num_heads`.
        num_heads: attention heads per stage.
        mlp_ratio: hidden channels of the perceptrons, in units of `embed_dim`.
        upsampler: the head. "pixelshuffle": classical super-resolution; "pixelshuffledirect": lightweight;
            "nearest+conv": real-world; "": none, the network adds a correction to the image.
        resi_connection: "1conv" or "3conv", the convolution that closes a stage.
        qkv_bias: whether queries, keys and values have biases.
        ape: whether a learned embedding of the position is added to the features; it is resized bicubically for
            images of another size than `img_size`.
        patch_norm: whether shallow features are normalised before the first stage.

    Raises:
        ValueError: hyper-parameters that contradict each other.
    """

    sigma_input = "none"
    supports_bfloat16 = True
    mean: Tensor

    def __init__(
        self,
        *,
        upscale: int = 4,
        in_chans: int = 3,
        img_size: int = 64,
        window_size: int = 8,
        img_range: float = 1.0,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        embed_dim: int = 180,
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        mlp_ratio: float = 2.0,
        upsampler: str = "pixelshuffle",
        resi_connection: str = "1conv",
        qkv_bias: bool = True,
        ape: bool = False,
        patch_norm: bool = True,
    ) -> None:
        super().__init__()
        if img_size % window_size or img_size <= window_size:
            raise ValueError(f"img_size is {img_size}: expected a multiple of window_size {window_size} above it.")
        if len(depths) != len(num_heads):
            raise ValueError(f"depths names {len(depths)} stages and num_heads {len(num_heads)}.")
        if any(embed_dim % heads for heads in num_heads):
            raise ValueError(f"embed_dim {embed_dim} is no multiple of all num_heads {list(num_heads)}.")
        self.config: dict[str, Any] = {
            "upscale": upscale,
            "in_chans": in_chans,
            "img_size": img_size,
            "window_size": window_size,
            "img_range": float(img_range),
            "depths": list(depths),
            "embed_dim": embed_dim,
            "num_heads": list(num_heads),
            "mlp_ratio": float(mlp_ratio),
            "upsampler": upsampler,
            "resi_connection": resi_connection,
            "qkv_bias": qkv_bias,
            "ape": ape,
            "patch_norm": patch_norm,
        }
        self.scale, self.channels, self.multiple_of = upscale, in_chans, window_size
        self.img_range, self.upsampler = float(img_range), upsampler
        mean = torch.tensor(_RGB_MEAN if in_chans == 3 else (0.0,)).view(1, -1, 1, 1)
        self.register_buffer("mean", mean, persistent=False)

        self.conv_first = nn.Conv2d(in_chans, embed_dim, 3, padding=1)
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)} if patch_norm else {})
        hidden = int(embed_dim * mlp_ratio + 1e-6)  # so that a ratio read off a state dict gives its width back
        self.layers = nn.ModuleList(
            SwinStage(
                [
                    SwinBlock(
                        embed_dim,
                        heads,
                        window_size,
                        hidden,
                        shifted=number % 2 == 1,
                        qkv_bias=qkv_bias,
                        mask=attention_mask(img_size, window_size) if number % 2 else None,
                    )
                    for number in range(depth)
                ],
                _closing_convolution(embed_dim, resi_connection),
            )
            for depth, heads in zip(depths, num_heads, strict=True)
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = _closing_convolution(embed_dim, resi_connection)
        self._add_head(embed_dim)
        self.apply(initialise)
        if ape:
            self.absolute_pos_embed = nn.Parameter(torch.empty(1, img_size**2, embed_dim))
            nn.init.trunc_normal_(self.absolute_pos_embed, std=0.02)

    def _add_head(self, features: int) -> None:
        out, scale, hidden = self.channels, self.scale, _HEAD_CHANNELS
        self.doublings = scale.bit_length() - 1
        power = scale == 2**self.doublings
        if self.upsampler in {"pixelshuffle", "nearest+conv"}:
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(features, hidden, 3, padding=1), nn.LeakyReLU(0.01))
        match self.upsampler:
            case "pixelshuffle" if power or scale == 3:
                factors = [2] * self.doublings if power else [3]
                self.upsample = nn.Sequential(*itertools.chain(*(_sub_pixel(hidden, hidden, f) for f in factors)))
                self.conv_last = nn.Conv2d(hidden, out, 3, padding=1)
            case "pixelshuffledirect" if scale >= 1:
                self.upsample = nn.Sequential(*_sub_pixel(features, out, scale))
            case "nearest+conv" if power and scale > 1:
                for number in range(1, self.doublings + 1):
                    self.add_module(f"conv_up{number}", nn.Conv2d(hidden, hidden, 3, padding=1))
                self.conv_hr = nn.Conv2d(hidden, hidden, 3, padding=1)
                self.conv_last = nn.Conv2d(hidden, out, 3, padding=1)
            case "" if scale == 1:
                self.conv_last = nn.Conv2d(features, out, 3, padding=1)
            case _:
                raise ValueError(
                    f"There is no upsampler {self.upsampler!r} for upscale {scale}: known are pixelshuffle, "
                    'pixelshuffledirect and nearest+conv, and "" for upscale 1.'
                )

    def forward(self, observation: Tensor) -> Tensor:
        """Restore or denoise.

        Args:
            observation: (B, C, H, W) in [0, 1], any H, W >= 1; mirrored on the right and below up to a multiple of the
                window.

        Returns:
            (B, C, upscale * H, upscale * W); not clipped.
        """
        height, width = observation.shape[-2:]
        image = (pad_to_multiple(observation, self.multiple_of) - self.mean) * self.img_range
        shallow = self.conv_first(image)
        features = shallow + self.conv_after_body(self._deep(shallow))
        restored = self._reconstruct(features, image) / self.img_range + self.mean
        return restored[..., : self.scale * height, : self.scale * width]

    def _deep(self, shallow: Tensor) -> Tensor:
        """Everything between the shallow features (B, C, H, W) and the last convolution at their resolution."""
        tokens = shallow.permute(0, 2, 3, 1)
        if "norm" in self.patch_embed:
            tokens = self.patch_embed["norm"](tokens)
        if self.config["ape"]:
            tokens = tokens + self._position(tokens.shape[1], tokens.shape[2])
        for stage in self.layers:
            tokens = stage(tokens)
        return self.norm(tokens).permute(0, 3, 1, 2)

    def _position(self, height: int, width: int) -> Tensor:
        trained = self.config["img_size"]
        grid = self.absolute_pos_embed.view(1, trained, trained, -1)
        if (height, width) == (trained, trained):
            return grid
        resized = F.interpolate(grid.permute(0, 3, 1, 2), (height, width), mode="bicubic", align_corners=False)
        return resized.permute(0, 2, 3, 1)

    def _reconstruct(self, features: Tensor, image: Tensor) -> Tensor:
        match self.upsampler:
            case "pixelshuffle":
                return self.conv_last(self.upsample(self.conv_before_upsample(features)))
            case "pixelshuffledirect":
                return self.upsample(features)
            case "nearest+conv":
                features = self.conv_before_upsample(features)
                for number in range(1, self.doublings + 1):
                    features = F.leaky_relu(conv_of_doubled(features, self.get_submodule(f"conv_up{number}")), 0.2)
                return self.conv_last(F.leaky_relu(self.conv_hr(features), 0.2))
            case _:
                return image + self.conv_last(features)


def _closing_convolution(channels: int, kind: str) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(channels, channels, 3, padding=1)
    if kind == "3conv":
        narrow = channels // 4
        return nn.Sequential(
            nn.Conv2d(channels, narrow, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(narrow, narrow, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(narrow, channels, 3, padding=1),
        )
    raise ValueError(f"resi_connection is {kind!r}: expected '1conv' or '3conv'.")


def _sub_pixel(channels: int, out: int, factor: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, out * factor**2, 3, padding=1), nn.PixelShuffle(factor)
