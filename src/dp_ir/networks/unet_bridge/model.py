"""The network of bridge methods (InDI, PMRF): a residual U-Net that sees a mixture of the clean image and a start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor

from dp_ir.networks.layers.unet import UNet
from dp_ir.networks.registry import register_network

BridgeStart = Literal["observation", "restored"]
BRIDGE_STARTS: tuple[BridgeStart, ...] = get_args(BridgeStart)


@register_network("unet-bridge")
class UNetBridge(UNet):
    """E[x0 | x_t] for x_t = (1 - t) x0 + t x1, where x1 is a start image plus white noise.

    The start is part of the weights' meaning, so it is kept with them: the enlarged observation (InDI, arXiv
    2303.11435) or a restorer's output (PMRF, arXiv 2410.00418). The network proper predicts (x0 - x1) / spread, the
    velocity of the bridge in units of its standard deviation.

    Args:
        start: what x1 is made of.
        noise: standard deviation of the noise on it, in [0, 1] units.
        spread: standard deviation of x0 - x1 that the output is scaled for, in [0, 1] units.
        channels: feature channels per level; level i runs at 1 / 2**(i + 1) of the image's resolution. The default has
            as many parameters as the shipped denoiser and fusion together.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
        encoding: size of the encoding of t.
    """

    supports_bfloat16 = True

    def __init__(
        self,
        *,
        start: BridgeStart = "restored",
        noise: float = 0.05,
        spread: float = 0.1,
        channels: Sequence[int] = (64, 144, 184),
        blocks: Sequence[int] = (2, 2, 2),
        encoding: int = 64,
    ) -> None:
        super().__init__(channels=channels, blocks=blocks, encoding=encoding)
        if start not in BRIDGE_STARTS:
            raise ValueError(f"start is {start!r}; expected one of {', '.join(BRIDGE_STARTS)}.")
        self.config = {"start": start, "noise": noise, "spread": spread, **self.config}
        self.start, self.noise, self.spread = start, noise, spread

    def forward(self, mixed: Tensor, t: Tensor) -> Tensor:
        """Estimate the clean image.

        Args:
            mixed: (B, 3, H, W) = (1 - t) clean + t x1, any H, W >= 1; float32.
            t: (B,) share of x1, in (0, 1].

        Returns:
            (B, 3, H, W) float32 estimate of E[x0 | mixed]; not clipped.
        """
        share = t.to(mixed.dtype)[:, None, None, None]
        return mixed + share * self.spread * self.raw((mixed - 0.5) * 4, t)
