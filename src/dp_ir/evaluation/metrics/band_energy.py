"""How much fine detail an output has, against its target: the energy of the finest Laplacian bands, also of colour."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dp_ir.evaluation.metrics.metric import check_pair
from dp_ir.image.picture.bands import laplacian_bands
from dp_ir.image.picture.ycbcr import to_ycbcr

BANDS = 2
"""How many bands are measured: what the restoration of fine detail is about."""

_GAINS = (0.7935, 0.04027)
"""How much of the energy of white noise each band has."""

_ROUNDING, _COLOUR_ROUNDING = 1 / 12 / 255**2, 0.41 / 12 / 255**2
"""Variance of the error of rounding to 8 bits, of R, G and B and of the mean of Cb and Cr, in [0, 1] units."""


@dataclass(frozen=True)
class BandEnergy:
    """log2 of the energy of one Laplacian band of an output over that of its target.

    Args:
        band: 1 for the finest, 2 for the next, of half its resolution.
        colour: of the colour differences Cb and Cr alone, where R, G and B together are mostly luma.

    0 is right, -2 a quarter of the energy, +1 twice as much. An energy below that of rounding to 8 bits counts as
    that, since a file cannot tell less from nothing; so flat images have a value, too: 0 where both are flat.

    Examples:
        >>> target = torch.rand(1, 3, 32, 32)
        >>> BandEnergy(1)(target / 2, target)
        tensor([-2.], dtype=torch.float64)
    """

    band: int
    colour: bool = False

    higher_is_better = None
    ideal = 0.0

    @property
    def name(self) -> str:
        """Short name."""
        return f"Colour band {self.band}" if self.colour else f"Band {self.band}"

    @property
    def protocol(self) -> str:
        """How the number came about."""
        planes = "Cb and Cr of JFIF" if self.colour else "RGB"
        return (
            f"{self.name}: log2 of the energy (mean square over places and {planes}, float, no border) of the output "
            f"over that of the target in Laplacian band {self.band} (1 the finest; an image less its binomial 5x5 "
            "blur, the edge repeated, each band from the blurred image at every second place); energies at least that "
            "of rounding to 8 bits; mean over images; 0 is right"
        )

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> log2 of the ratio (B,); raises DataError for unequal shapes."""
        check_pair(output, target)
        energies = [self._energy(image) for image in (output, target)]
        return (energies[0] / energies[1]).log2()

    def _energy(self, image: Tensor) -> Tensor:
        pixels = image.detach().cpu().float()
        band = laplacian_bands(to_ycbcr(pixels)[:, 1:] if self.colour else pixels, self.band)[self.band - 1]
        least = _GAINS[self.band - 1] * (_COLOUR_ROUNDING if self.colour else _ROUNDING)
        return band.square().mean(dim=(1, 2, 3), dtype=torch.float64).clamp(min=least)
