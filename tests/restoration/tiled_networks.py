"""Small networks of a known reach, with random weights, for tests of tiling."""

import torch
import torch.nn.functional as F
from torch import nn

from dp_ir.restoration.pipeline import Restoration


class Convolutions(nn.Module):
    """Three convolutions of random weights: every pixel sees seven by seven others, and no more."""

    receptive_field = 3

    def __init__(self, images, seed, scale=1):
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential(
            nn.Conv2d(3 * images, 8, 3, padding=1), nn.Tanh(),
            nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(),
            nn.Conv2d(8, 3 * scale**2, 3, padding=1),
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.25 * torch.randn(parameter.shape, generator=generator))

    def forward(self, *arguments):
        images = [image for image in arguments if image.ndim == 4]
        detail = F.pixel_shuffle(self.layers(torch.cat(images, 1) - 0.5), self.scale)
        return F.interpolate(images[0], scale_factor=self.scale, mode="nearest") + 0.2 * detail


def local_restoration(scale=2, **changes):
    """A restoration whose networks look three pixels far, each."""
    return Restoration.from_parts(
        restorer=Convolutions(1, 1, scale),
        denoiser=Convolutions(1, 2),
        fusion=Convolutions(3, 3),
        device="cpu",
        precision="float32",
        **{"steps": 4, **changes},
    )


def photo(*size, seed=0):
    """Something with edges and gradients: (1, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, *(max(side // 8, 2) for side in size), generator=generator)
    fine = torch.rand(1, 3, *size, generator=generator)
    return 0.8 * F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1) + 0.2 * fine
