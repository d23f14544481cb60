"""The fast fusion network: 3CA at reduced resolution, with the noisy image and an affine way out of the convex hull."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.errors import NetworkContractError
from dp_ir.networks.layers.blocks import DetailEncoding, NoiseEmbedding, ResidualStack, pad_to_multiple
from dp_ir.networks.registry import register_network


@register_network("fast-fusion")
class FastFusion(nn.Module):
    """E[x0 | y, x_t] from both estimates, the noisy image and its noise level.

    Like `Fusion3CA` it weights every feature channel of the two estimates by w(t) and 1 - w(t). Unlike it,

    * it runs on pixel-unshuffled images and a two-level U-Net, so it costs about a tenth;
    * it sees the noisy image, because undoing the denoiser to find what it left of the noise is ill-conditioned;
    * its output may leave the convex hull of the two estimates: both are shrunk towards the prior mean, so the best
      linear weights add up to more than one;
    * it is preconditioned for a prior N(restored, spread^2): the network proper predicts a target of unit variance at
      every noise level, and its influence vanishes with the noise;
    * it can see the dial between the mean and a posterior sample.

    Args:
        channels: feature channels at 1/2 and at 1/4 of the image's resolution.
        blocks: residual blocks before, at and after the coarse level.
        encoding: size of the noise-level encoding.
        spread: standard deviation of clean - restored that the preconditioning assumes, in [0, 1] units.
        detail: the least value of the dial that it sees, in (0, 1]; None: it sees none.
    """

    supports_bfloat16 = True
    multiple_of = 4

    def __init__(
        self,
        *,
        channels: tuple[int, int] = (64, 96),
        blocks: tuple[int, int, int] = (1, 2, 2),
        encoding: int = 64,
        spread: float = 0.1,
        detail: float | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "channels": list(channels),
            "blocks": list(blocks),
            "encoding": encoding,
            "spread": spread,
            **({} if detail is None else {"detail": detail}),
        }
        fine, coarse = channels
        self.spread, self.detail = spread, detail
        self.encode = NoiseEmbedding(hidden=encoding, out=encoding)
        self.encode_detail = DetailEncoding(hidden=encoding, out=encoding) if detail is not None else None
        self.weights = NoiseEmbedding(hidden=encoding, out=fine + 3)
        self.stem_restored = nn.Conv2d(12, fine, 3, padding=1)
        self.stem_denoised = nn.Conv2d(12, fine, 3, padding=1)
        self.stem_noisy = nn.Conv2d(12, fine, 3, padding=1)
        self.before = ResidualStack(fine, blocks[0], encoding=encoding)
        self.down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.middle = ResidualStack(coarse, blocks[1], encoding=encoding)
        self.up = nn.ConvTranspose2d(coarse, fine, 2, stride=2)
        self.after = ResidualStack(fine, blocks[2], encoding=encoding)
        self.head = nn.Conv2d(fine, 12, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor, detail: Tensor | None = None
    ) -> Tensor:
        """Fuse the estimates; shapes and units as in `Fusion3CA.forward`, any H, W >= 1.

        `detail` (B,) is where on the dial a network that sees it is: up to 1, a sample, which is what None stands for.

        Raises:
            NetworkContractError: a network that does not see the dial is given it.
        """
        if detail is not None and self.encode_detail is None:
            raise NetworkContractError(
                "The fusion, a FastFusion, is given the dial, but was built without detail, so that it sees none: "
                "leave detail out (of its NetworkInfo, too), or use a network that was trained with it."
            )
        height, width = restored.shape[-2:]
        level = sigma.to(restored.dtype)[:, None, None, None]
        inverse = (level**2 + self.spread**2).rsqrt()
        w = self.weights(sigma).sigmoid()[:, :, None, None]
        w_features, w_image = w[:, :-3], w[:, -3:]

        features = self._combined(
            _unshuffled((restored - 0.5) * 4),
            _unshuffled((denoised - restored) / self.spread),
            _unshuffled((noisy - restored) * inverse),
            w_features,
        )
        encoding = self.encode(sigma)
        if self.encode_detail is not None:
            encoding = encoding + self.encode_detail(torch.ones_like(sigma) if detail is None else detail)
        features = self.before(features, encoding)
        coarse = self.middle(self.down(features), encoding)
        features = self.after(self.up(coarse).add_(features), encoding)
        raw = F.pixel_shuffle(self.head(features), 2)[..., :height, :width]

        average = w_image * restored + (1 - w_image) * denoised
        return average + level * self.spread * inverse * raw.to(average.dtype)

    def _combined(self, restored: Tensor, denoised: Tensor, noisy: Tensor, w: Tensor) -> Tensor:
        """The channel-wise convex combination of the features of the estimates, and those of the noisy image."""
        first, second, third = self.stem_restored, self.stem_denoised, self.stem_noisy
        if not torch.is_grad_enabled() and len(w) == 1:
            # One noise level for all: the weights of the combination scale those of the convolutions, which are one.
            share = w.view(-1, 1, 1, 1).to(first.weight.dtype)
            kernel = torch.cat((share * first.weight, (1 - share) * second.weight, third.weight), dim=1)
            share = share.view(-1)
            bias = share * first.bias + (1 - share) * second.bias + third.bias  # type: ignore[operator]
            return F.conv2d(torch.cat((restored, denoised, noisy), dim=1), kernel, bias, padding=1)
        return w * first(restored) + (1 - w) * second(denoised) + third(noisy)


def _unshuffled(image: Tensor) -> Tensor:
    return F.pixel_unshuffle(pad_to_multiple(image, 4), 2)
