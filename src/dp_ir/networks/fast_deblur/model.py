"""The fast restorer of images that keep their size, such as blurred ones: a residual U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dp_ir.networks.layers.unet import UNet
from dp_ir.networks.registry import register_network
from dp_ir.networks.unet_denoiser.model import UNetDenoiser

_GAIN = 4.0
"""Brings centred pixels to about unit variance."""


@register_network("fast-deblur")
class FastDeblur(UNet):
    """E[x0 | y] for observations of the size of the result.

    Most of the layers run at 1/8 and 1/16 of the resolution, where a stroke of blur is a few pixels long.

    Args:
        channels: feature channels per level; level i runs at 1 / 2**(i + 1) of the image's resolution.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
    """

    scale = 1
    supports_bfloat16 = True

    def __init__(self, *, channels: Sequence[int] = (32, 64, 128, 160), blocks: Sequence[int] = (2, 3, 2, 2)) -> None:
        super().__init__(channels=channels, blocks=blocks)

    def forward(self, observation: Tensor) -> Tensor:
        """Restore observation (B, 3, H, W) in [0, 1], any H, W >= 1, to the same shape; not clipped."""
        return observation + self.raw((observation - 0.5) * _GAIN) / _GAIN

    @classmethod
    @torch.no_grad()
    def from_denoiser(cls, denoiser: UNetDenoiser, sigma: float) -> FastDeblur:
        """A restorer that begins as a denoiser for one noise level.

        What depends on the noise level is folded into the weights: scale and shift of each block into its first
        convolution, the preconditioning into stem and head. Only the skip connection keeps all of the observation,
        where the denoiser keeps sigma_data^2 / (sigma^2 + sigma_data^2) of it.

        Args:
            denoiser: whose channels and blocks the restorer gets.
            sigma: noise level, standard deviation in [0, 1] image units.
        """
        restorer = cls(channels=denoiser.config["channels"], blocks=denoiser.config["blocks"])
        level = torch.tensor([sigma], device=denoiser.head.weight.device)
        encode = denoiser.encode
        assert encode is not None
        encoding = encode(level)[0]
        weights = {
            name: value.clone() for name, value in denoiser.state_dict().items() if not name.startswith("encode.")
        }
        for name in [name for name in weights if name.endswith("modulation.weight")]:
            block = name.removesuffix("modulation.weight")
            modulation, shift_of_all = weights.pop(name), weights.pop(f"{block}modulation.bias")
            scale, shift = (modulation @ encoding + shift_of_all).chunk(2)
            weights[f"{block}conv1.weight"] *= (1 + scale)[:, None, None, None]
            weights[f"{block}conv1.bias"] = weights[f"{block}conv1.bias"] * (1 + scale) + shift
        deviation = (sigma**2 + denoiser.sigma_data**2) ** 0.5
        weights["stem.weight"] /= _GAIN * deviation
        for name in ("head.weight", "head.bias"):
            weights[name] *= _GAIN * sigma * denoiser.sigma_data / deviation
        restorer.load_state_dict(weights)
        return restorer
