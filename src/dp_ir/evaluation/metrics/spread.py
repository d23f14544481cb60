"""Whether the spread of a method's samples is calibrated: the mathematics, over the samples of single images.

If n samples s_j and the truth x0 are drawn from one distribution, the posterior, then at every place, and so in every
band, which is linear in the image,

    E[(mean_j s_j - x0)^2] = (1 + 1/n) E[var_j s_j],

the variance with n - 1: the mean's error has the spread that the samples have, plus that of their mean (Fortin et al.
2014, Why should ensemble spread match the RMSE of the ensemble mean?, J. Hydrometeorology 15:1708). And the
truth is as likely to have any of the n + 1 ranks among the samples (Hamill 2001, Interpretation of rank histograms for
verifying ensemble forecasts, Monthly Weather Review 129:550): samples that vary too little leave it outside, a U; too
much, inside, a dome; a bias tilts the histogram.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.band_energy import BANDS
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.image.picture.bands import laplacian_bands

PARTS = ("pixels", *(f"band {number}" for number in range(1, BANDS + 1)))
"""What of an image is looked at: the image itself, and its finest Laplacian bands."""


@dataclass(frozen=True)
class Spread:
    """The samples of one image, in one part of it.

    Args:
        error: squared error of their mean, see `squared_error`.
        spread: what that must be on average, see `squared_spread`.
        ranks: how many places have the truth at each rank, see `rank_counts`.
    """

    error: float
    spread: float
    ranks: tuple[float, ...]


def measure(samples: Tensor, truth: Tensor) -> dict[str, Spread]:
    """The samples of one image in every one of `PARTS`.

    Args:
        samples: (n, 3, H, W), n at least 2, any range.
        truth: (3, H, W) in the same units.

    In whole levels (0 to 255 in float32, 0 to 65535 in float64) the bands are exact, and so are ties of ranks.

    Raises:
        DataError: other shapes, or fewer than two samples.

    Examples:
        >>> measure(torch.rand(8, 3, 16, 16), torch.rand(3, 16, 16))["band 1"].ranks  # about 3 * 16 * 16 / 9 each
        (...)
    """
    _check(samples, truth)
    # One image at a time: the convolutions of all together take many times their room.
    each = [(image[None], *laplacian_bands(image[None], BANDS)[:BANDS]) for image in (truth, *samples)]
    measured = {}
    for name, parts in zip(PARTS, zip(*each, strict=True), strict=True):
        own, true = torch.cat(parts[1:]), parts[0][0]
        measured[name] = Spread(squared_error(own, true), squared_spread(own), tuple(rank_counts(own, true).tolist()))
    return measured


def squared_error(samples: Tensor, truth: Tensor) -> float:
    """Mean over places and channels of (mean of the samples - truth)^2; (n, ...) and (...) in equal units."""
    return float((samples.mean(dim=0) - truth).square().mean(dtype=torch.float64))


def squared_spread(samples: Tensor) -> float:
    """(1 + 1/n) times the mean over places and channels of the samples' variance (with n - 1); (n, ...), n >= 2."""
    mean = samples.mean(dim=0)
    # One sample at a time: of large images there is no room for all deviations.
    deviation = sum(float((sample - mean).square().mean(dtype=torch.float64)) for sample in samples)
    return (1 + 1 / len(samples)) * deviation / (len(samples) - 1)


def rank_counts(samples: Tensor, truth: Tensor) -> Tensor:
    """At how many places the truth has each rank among the samples: 0 below all of them, n above all.

    Where the truth equals k of the samples, every one of the k + 1 ranks that it may have gets an equal share.

    Args:
        samples: (n, ...).
        truth: (...), of at least one place.

    Returns:
        (n + 1,) float64, whose sum is the number of places.
    """
    count = len(samples)
    cells = torch.zeros(truth.shape, dtype=torch.int32, device=truth.device)
    for sample in samples:
        cells += (count + 1) * (sample < truth) + (sample == truth)
    table = torch.bincount(cells.flatten(), minlength=(count + 1) ** 2).double()
    ranks = torch.zeros(count + 1, dtype=torch.float64)
    for first, row in enumerate(table.view(count + 1, count + 1)):
        for ties, places in enumerate(row[: count + 1 - first]):
            ranks[first : first + ties + 1] += places / (ties + 1)
    return ranks


def spread_over_error(images: Sequence[Spread]) -> float:
    """Root of the images' squared spreads together over their squared errors together: 1 for calibrated samples.

    A ratio of sums, in which no image of little error counts for much, rather than a mean of ratios.

    Raises:
        DataError: no images, or the mean of the samples is the truth everywhere, so that there is no ratio.
    """
    error = sum(image.error for image in images)
    if not error > 0:
        raise DataError(
            f"The samples of {len(images)} images have a mean without any error, so nothing can be said of their "
            "spread: use images that the method does not know exactly."
        )
    return math.sqrt(sum(image.spread for image in images) / error)


def rank_shares(images: Sequence[Spread]) -> tuple[float, ...]:
    """Share of each rank over all places of some images, at least one, with equally many samples."""
    counts = [sum(cells) for cells in zip(*(image.ranks for image in images), strict=True)]
    return tuple(count / sum(counts) for count in counts)


def unevenness(shares: Sequence[float]) -> float:
    """Largest deviation of a share from an even one, relative to that: 0 for a flat histogram."""
    return max(abs(share * len(shares) - 1) for share in shares)


def _check(samples: Tensor, truth: Tensor) -> None:
    if samples.ndim != 4 or samples.shape[1] != 3 or samples.shape[1:] != truth.shape:
        raise DataError(
            f"The samples have the shape {tuple(samples.shape)} and the truth {tuple(truth.shape)}, expected "
            "(n, 3, H, W) and (3, H, W): give the samples of one image, and the image."
        )
    if len(samples) < 2:
        raise DataError("One sample has no spread: draw at least two of an image.")


SAMPLES = 8
"""How many samples are drawn of each image, unless told otherwise."""


@dataclass(frozen=True)
class SpreadError:
    """Spread of a method's samples over the error of their mean, for a whole set of images.

    Args:
        part: one of `PARTS`.
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
