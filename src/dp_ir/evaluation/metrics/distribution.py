"""Sliced Wasserstein distance between the patches of two sets of images, band by band: needs no weights.

After Karras et al. 2018 (arXiv 1710.10196, section 5), with three differences that make it a measure of restoration:
the patches of an output and of its target lie at the same places (equal sets give exactly 0, and the content of the
images cancels), they are *not* standardised by their own statistics (a lack of contrast in a band is what is to be
measured), and the lowest band, which restoration leaves alone, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import check_pair

_BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)


@dataclass(frozen=True)
class SlicedWasserstein:
    """Sliced 1-Wasserstein distance of patches in the bands of a Laplacian pyramid, in thousandths of the image range.

    Args:
        bands: band-pass levels, the finest first; each is half the size of the one before.
        patch: side of the square RGB patches.
        patches: patches per image and band.
        directions: random unit vectors in patch space; the distance is the mean over them.
        seed: of the places and the directions.

    The patches of all images are pooled, so one number describes the data set; every image counts the same. It is a
    distance of distributions: it does not ask whether a texture lies at the right place within the image.
    """

    bands: int = 3
    patch: int = 7
    patches: int = 1024
    directions: int = 256
    seed: int = 0

    name = "SWD"
    higher_is_better = False

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"SWD: sliced 1-Wasserstein distance x 1000 in [0, 1] image units between the {self.patch}x{self.patch} "
            f"RGB patches of outputs and targets (clipped to [0, 1]) in {self.bands} Laplacian bands (binomial 5x5, "
            f"the finest first, low-pass left out), {self.patches} patches per image and band at equal places, "
            f"{self.directions} random unit directions, not standardised, seed {self.seed}; mean over the bands"
        )

    def per_band(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> list[float]:
        """Distance in every band, the finest first.

        Args:
            outputs: images (1, 3, H, W) in [0, 1]; sizes may differ from image to image.
            targets: the true images, of the same shapes.

        Raises:
            DataError: no images, unpaired images, or one too small for a patch in the coarsest band.
        """
        if not outputs or len(outputs) != len(targets):
            raise DataError(
                f"A distance between two sets of images needs as many outputs as targets, at least one, but there are "
                f"{len(outputs)} and {len(targets)}."
            )
        generator = torch.Generator().manual_seed(self.seed)
        size = 3 * self.patch**2
        directions = F.normalize(torch.randn(self.directions, size, generator=generator), dim=1)
        projected: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(self.bands)]
        for output, target in zip(outputs, targets, strict=True):
            check_pair(output, target)
            self._check_size(target)
            pair = torch.cat([output, target]).detach().to(device="cpu", dtype=torch.float32).clamp(0.0, 1.0)
            for band, image in enumerate(laplacian_bands(pair, self.bands)):
                first, second = self._patches(image, generator)
                projected[band].append((directions @ first.T, directions @ second.T))
        return [
            1000.0
            * float(
                (
                    torch.cat([first for first, _ in pairs], dim=1).sort(dim=1).values
                    - torch.cat([second for _, second in pairs], dim=1).sort(dim=1).values
                )
                .abs()
                .mean(dtype=torch.float64)
            )
            for pairs in projected
        ]

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        """Mean of `per_band` over the bands; arguments and errors as there."""
        distances = self.per_band(outputs, targets)
        return sum(distances) / len(distances)

    def _patches(self, pair: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(2, 3, H, W) -> the same random patches of both, each (patches, 3 * patch * patch)."""
        windows = pair.unfold(2, self.patch, 1).unfold(3, self.patch, 1)  # (2, 3, rows, columns, patch, patch)
        rows = torch.randint(windows.shape[2], (self.patches,), generator=generator)
        columns = torch.randint(windows.shape[3], (self.patches,), generator=generator)
        both = windows[:, :, rows, columns].permute(0, 2, 1, 3, 4).flatten(2)
        return both[0], both[1]

    def _check_size(self, image: Tensor) -> None:
        smallest = self.patch * 2 ** (self.bands - 1)
        if min(image.shape[-2:]) < smallest:
            raise DataError(
                f"Sliced Wasserstein with {self.bands} bands and patches of {self.patch} needs images of at least "
                f"{smallest}x{smallest} pixels, but one has {image.shape[-1]}x{image.shape[-2]}; use larger images or "
                "fewer bands."
            )


def laplacian_bands(image: Tensor, bands: int) -> list[Tensor]:
    """Band-pass levels of the Laplacian pyramid (Burt and Adelson 1983) of (B, C, H, W), the finest first.

    Each is an image minus its own low-pass, reduced by 2 and expanded again; the last low-pass is not returned.
    """
    channels = image.shape[1]
    line = torch.tensor(_BINOMIAL, dtype=image.dtype, device=image.device)
    kernel = (torch.outer(line, line) / 256.0).expand(channels, 1, 5, 5)
    levels = []
    for _ in range(bands):
        low = F.conv2d(F.pad(image, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)[..., ::2, ::2]
        expanded = low.new_zeros(*image.shape)
        expanded[..., ::2, ::2] = low
        expanded = F.conv2d(F.pad(expanded, (2, 2, 2, 2), mode="reflect"), 4.0 * kernel, groups=channels)
        levels.append(image - expanded)
        image = low
    return levels
