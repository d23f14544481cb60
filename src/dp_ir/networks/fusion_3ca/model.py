"""The paper's fusion network: convex combination channel attention (3CA) and a convolutional trunk."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from dp_ir.networks.layers.blocks import NoiseEmbedding, ResidualStack
from dp_ir.networks.registry import register_network

Combination = Literal["3ca", "scalar", "concatenation", "addition"]
COMBINATIONS: tuple[Combination, ...] = get_args(Combination)


@register_network("fusion-3ca")
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
        combination: how the features are combined. Beside "3ca" the alternatives it is compared with, of the same size
            but for half a percent: "scalar" has one weight w(t) for all channels and for the image, "addition" adds the
            features, and "concatenation" lets one convolution see both estimates. The last two know the step only from
            the weights of the images.
    """

    supports_bfloat16 = True

    def __init__(
        self, *, channels: int = 64, blocks: int = 9, encoding: int = 64, combination: Combination = "3ca"
    ) -> None:
        super().__init__()
        if combination not in COMBINATIONS:
            raise ValueError(f"combination is {combination!r}; expected one of {', '.join(COMBINATIONS)}.")
        self.config: dict[str, Any] = {"channels": channels, "blocks": blocks, "encoding": encoding}
        if combination != "3ca":  # files from before there was a choice have the same identity
            self.config["combination"] = combination
        self.combination = combination
        weights = {"3ca": channels + 3, "scalar": 1}.get(combination, 3)
        self.weights = NoiseEmbedding(hidden=encoding, out=weights)
        if combination == "concatenation":
            self.stem = nn.Conv2d(6, channels, 3, padding=1)
        else:
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
        w_image = w if self.combination == "scalar" else w[:, -3:]
        average = w_image * restored + (1 - w_image) * denoised
        features = self._combined(restored - 0.5, denoised - 0.5, w if self.combination == "scalar" else w[:, :-3])
        return average + self.head(self.trunk(features)).to(average.dtype)

    def _combined(self, restored: Tensor, denoised: Tensor, w: Tensor) -> Tensor:
        if self.combination == "concatenation":
            return self.stem(torch.cat((restored, denoised), dim=1))
        first, second = self.stem_restored(restored), self.stem_denoised(denoised)
        return first + second if self.combination == "addition" else w * first + (1 - w) * second
