"""The fast denoiser: a residual U-Net, preconditioned by the noise level."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dp_ir.networks.layers.unet import UNet
from dp_ir.networks.registry import register_network


@register_network("unet-denoiser")
class UNetDenoiser(UNet):
    """E[x0 | noisy] for Gaussian noise of known level.

    Input and output of the `UNet` are preconditioned as in EDM (Karras et al. 2022, table 1): the network proper sees
    an input of unit variance and predicts a target of unit variance at every noise level.

    Args:
        channels: feature channels per level; level i runs at 1 / 2**(i + 1) of the image's resolution.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
        encoding: size of the noise-level encoding.
        sigma_data: standard deviation of clean pixels in [0, 1] units.
        sigma_range: noise levels the weights were trained for, in [0, 1] units.
    """

    supports_bfloat16 = True

    def __init__(
        self,
        *,
        channels: Sequence[int] = (64, 128, 160),
        blocks: Sequence[int] = (2, 2, 2),
        encoding: int = 64,
        sigma_data: float = 0.25,
        sigma_range: tuple[float, float] = (0.005, 1.0),
    ) -> None:
        super().__init__(channels=channels, blocks=blocks, encoding=encoding)
        self.config |= {"sigma_data": sigma_data, "sigma_range": list(sigma_range)}
        self.sigma_data = sigma_data
        self.sigma_range = (float(sigma_range[0]), float(sigma_range[1]))

    def forward(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            noisy: (B, 3, H, W) = clean + sigma * eps, any H, W >= 1; float32.
            sigma: (B,) noise standard deviation in [0, 1] image units.

        Returns:
            (B, 3, H, W) float32 estimate of E[x0 | noisy]; not clipped.
        """
        level = sigma.to(noisy.dtype)[:, None, None, None]
        variance = level**2 + self.sigma_data**2
        centred = noisy - 0.5
        c_skip = self.sigma_data**2 / variance
        c_out = level * self.sigma_data * variance.rsqrt()
        return 0.5 + c_skip * centred + c_out * self.raw(centred * variance.rsqrt(), sigma)
