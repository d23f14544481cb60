"""Building blocks shared by the networks of this package."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Pad right and bottom until both sides are multiples of `multiple`.

    Args:
        image: (B, C, H, W), any H, W >= 1.
        multiple: the multiple of the sides, >= 1.

    Returns:
        (B, C, H', W') with H' and W' the next multiples; mirrored where the image is large enough to be mirrored,
        the edge pixel repeated where it is not.
    """
    height, width = image.shape[-2:]
    bottom, right = -height % multiple, -width % multiple
    if not bottom and not right:
        return image
    mode = "reflect" if bottom < height and right < width else "replicate"
    return F.pad(image, (0, right, 0, bottom), mode=mode)


class NoiseEmbedding(nn.Module):
    """Sinusoidal encoding of the noise level, followed by a two-layer perceptron.

    The encoding is of log(sigma), a strictly monotone function of the diffusion step under every variance-preserving
    schedule, so it plays the part of the encoding of the step without tying the network to one schedule.

    Args:
        channels: size of the sinusoidal code, even.
        hidden: width of the hidden layer.
        out: size of the result.
    """

    frequencies: Tensor

    def __init__(self, *, channels: int = 32, hidden: int = 64, out: int = 64) -> None:
        super().__init__()
        # log(sigma) spans about [-6, 1]: wavelengths from about 12 (the range twice over) down to 12 / 30.
        # On the CPU whatever the default is: on the meta device `linspace` imports sympy, which takes a second.
        logarithms = torch.linspace(math.log(0.5), math.log(15.0), channels // 2, device="cpu")
        self.register_buffer("frequencies", logarithms.exp(), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, out))

    def forward(self, sigma: Tensor) -> Tensor:
        """Encode sigma (B,) > 0, in [0, 1] image units, as (B, out)."""
        phase = sigma.float().clamp_min(1e-4).log()[:, None] * self.frequencies
        return self.mlp(torch.cat((phase.sin(), phase.cos()), dim=1))


class DetailEncoding(nn.Module):
    """Two-layer perceptron of the dial between mean and sample; its result is 0 before it is trained.

    Args:
        hidden: width of the hidden layer.
        out: size of the result.
    """

    def __init__(self, *, hidden: int = 64, out: int = 64) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, out))
        nn.init.zeros_(self.mlp[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.mlp[-1].bias)  # type: ignore[arg-type]

    def forward(self, detail: Tensor) -> Tensor:
        """Encode detail (B,), from 0 to 1, as (B, out)."""
        return self.mlp(torch.stack((detail.float(), detail.float().square()), dim=1))


class ResidualBlock(nn.Module):
    """conv - modulation by the noise level - ReLU - conv, added to the input; without normalisation (as in EDSR).

    Args:
        channels: feature channels.
        encoding: size of the noise-level encoding; None for a block that does not see the noise level.
    """

    def __init__(self, channels: int, *, encoding: int | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(encoding, 2 * channels) if encoding is not None else None
        # The block starts near the identity, which is what lets deep stacks train without normalisation.
        if not self.conv2.weight.is_meta:  # there it would do nothing, after a second and a half of imports
            nn.init.normal_(self.conv2.weight, std=0.1 / math.sqrt(9 * channels))
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Tensor, encoding: Tensor | None = None) -> Tensor:
        """Map features (B, C, H, W) to the same shape; encoding is (B, encoding) where the block sees the noise."""
        if self.modulation is None:
            hidden = self.conv1(features)
        else:
            hidden = self._modulated(features, self.modulation(encoding))
        return self.conv2(F.relu(hidden, inplace=True)).add_(features)

    def _modulated(self, features: Tensor, modulation: Tensor) -> Tensor:
        """(1 + scale) * conv1(features) + shift."""
        if not torch.is_grad_enabled() and len(modulation) == 1:
            # One noise level for all: folding it into the weights saves a pass over the features.
            weight, bias = self.conv1.weight, self.conv1.bias
            scale, shift = modulation[0].to(weight.dtype).chunk(2)
            folded = weight * (1 + scale)[:, None, None, None], bias * (1 + scale) + shift  # type: ignore[operator]
            return F.conv2d(features, *folded, padding=1)
        hidden = self.conv1(features)
        scale, shift = modulation[:, :, None, None].to(hidden.dtype).chunk(2, dim=1)
        return torch.addcmul(shift, hidden, 1 + scale)


class ResidualStack(nn.ModuleList):
    """A sequence of `ResidualBlock`s that see the same encoding."""

    def __init__(self, channels: int, blocks: int, *, encoding: int | None = None) -> None:
        super().__init__(ResidualBlock(channels, encoding=encoding) for _ in range(blocks))

    def forward(self, features: Tensor, encoding: Tensor | None = None) -> Tensor:
        """Apply the blocks in order; shapes as in `ResidualBlock.forward`."""
        for block in self:
            features = block(features, encoding)
        return features
