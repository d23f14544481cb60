"""The fast restorer of images that keep their size, such as blurred ones: a residual U-Net."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dp_ir.networks.unet import UNet


class FastDeblur(UNet):
    """E[x0 | y] for observations of the size of the result.

    Most of the layers run at 1/8 and 1/16 of the resolution, where a stroke of blur is a few pixels long.

    Args:
        channels: feature channels per level; level i runs at 1 / 2**(i + 1) of the image's resolution.
        blocks: residual blocks per level, on the way down and again on the way up; the last level has them once.
    """

    scale = 1
    half_safe = True

    def __init__(self, *, channels: Sequence[int] = (32, 64, 128, 160), blocks: Sequence[int] = (2, 3, 2, 2)) -> None:
        super().__init__(channels=channels, blocks=blocks)

    def forward(self, observation: Tensor) -> Tensor:
        """Restore observation (B, 3, H, W) in [0, 1], any H, W >= 1, to the same shape; not clipped."""
        return observation + 0.25 * self.raw((observation - 0.5) * 4)
