"""Metrics of several samples of each image: how well their spread is calibrated, and how good their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dp_ir.evaluation.metrics import PSNR
from dp_ir.evaluation.spread import PARTS, measure, spread_over_error

SAMPLES = 8
"""How many samples are drawn of each image, unless told otherwise."""


@dataclass(frozen=True)
class SpreadError:
    """Spread of a method's samples over the error of their mean, for a whole set of images; see `spread`.

    Args:
        part: one of `spread.PARTS`.
        samples: of each image, at least 2.

    1 is right: below, the samples differ too little from each other (0: not at all); above, too much.
    """

    part: str = PARTS[0]
    samples: int = SAMPLES

    higher_is_better = None
    ideal = 1.0

    @property
    def name(self) -> str:
        """Short name."""
        return f"Spread-error {self.part}"

    @property
    def protocol(self) -> str:
        """How the number came about."""
        where = "RGB" if self.part == PARTS[0] else f"Laplacian {self.part} of RGB, as for its energy"
        return (
            f"{self.name}: {where}, {self.samples} samples of each image (seeds as of Restoration(num_samples="
            f"{self.samples}), the first is the output), read from files of 8 bits (of bursts 16), whose rounding adds "
            f"about 1/12 of a squared level to both sums; root of the sum over images of (1 + 1/{self.samples}) x mean "
            "variance of the samples (with n - 1), over the sum of the mean squared error of their mean; 1 is right"
        )

    def __call__(self, outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
        """Samples (n, 3, H, W) and a target (1, 3, H, W) of each image; raises DataError as `measure` does.

        They are measured on the CPU: ranks are counted in float64, which not every device has.
        """
        pairs = zip(outputs, targets, strict=True)
        return spread_over_error([measure(samples.cpu(), target[0].cpu())[self.part] for samples, target in pairs])


@dataclass(frozen=True)
class MeanPSNR:
    """PSNR of the mean of several samples of an image: the restorer's estimate, where the samples are calibrated.

    Args:
        border: pixels left out on every side.
        samples: of each image.
    """

    border: int = 0
    samples: int = SAMPLES

    name = "PSNR mean"
    higher_is_better = True

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"{self.name}: of the mean of {self.samples} samples of each image (seeds as of Restoration(num_samples="
            f"{self.samples}), the first is the output), read from files; {self._psnr.protocol}"
        )

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Samples (n, 3, H, W) of one image in [0, 1], and the target (1, 3, H, W) -> dB (1,), on the CPU.

        Raises:
            DataError: unequal shapes.
        """
        return self._psnr(output.cpu().mean(dim=0, keepdim=True), target.cpu())

    @property
    def _psnr(self) -> PSNR:
        return PSNR(border=self.border, rounding=True)
