"""The paper's fusion network: convex combination channel attention (3CA) and a convolutional trunk."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dp_ir.networks.blocks import ResidualStack, SigmaEncoding


class Fusion3CA(nn.Module):
    """E[x0 | y, x_t] from the restorer's and the denoiser's estimates, as in DP-IR (arXiv 2411.05993, section 3.3).

    A convolution takes each estimate to features; channel c of the two is combined with the weight w_c(t) in (0, 1)
    and 1 - w_c(t), where w comes from a sinusoidal encoding of the step, a two-layer perceptron and a sigmoid; a trunk
    of convolutions and ReLUs turns the combination into the estimate. The trunk's output is added to the same convex
    combination of the two images themselves (three more weights), so that an untrained network already averages them.

    The numbers of layers and channels are not known from the paper; those here give its 0.7 M parameters.

    Args:
        channels: feature channels.
        blocks: residual blocks of the trunk.
        encoding: width of the perceptron's hidden layer.
    """

    half_safe = True

    def __init__(self, *, channels: int = 64, blocks: int = 9, encoding: int = 64) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"channels": channels, "blocks": blocks, "encoding": encoding}
        self.weights = SigmaEncoding(hidden=encoding, out=channels + 3)
        self.stem_restored = nn.Conv2d(3, channels, 3, padding=1)
        self.stem_denoised = nn.Conv2d(3, channels, 3, padding=1)
        self.trunk = ResidualStack(channels, blocks)
        self.head = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Fuse the estimates.

        Args:
            restored: (B, 3, H, W) estimate of E[x0 | y].
            denoised: (B, 3, H, W) estimate of E[x0 | x_t].
            noisy: (B, 3, H, W); the paper's form does not look at it.
            sigma: (B,) noise level in [0, 1] image units.

        Returns:
            (B, 3, H, W) estimate of E[x0 | y, x_t]; not clipped.
        """
        w = self.weights(sigma).sigmoid()[:, :, None, None]
        w_features, w_image = w[:, :-3], w[:, -3:]
        features = w_features * self.stem_restored(restored - 0.5) + (1 - w_features) * self.stem_denoised(
            denoised - 0.5
        )
        average = w_image * restored + (1 - w_image) * denoised
        return average + self.head(self.trunk(features)).to(average.dtype)
