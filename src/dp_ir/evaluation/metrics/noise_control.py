"""The control of every perceptual claim: a restorer's own output plus the white noise that LPIPS likes best.

White Gaussian noise knows nothing of the image, yet it lowers the LPIPS of a blurry estimate considerably. So a
method has shown something only where it beats its restorer *plus noise*, at the strength that is best for the control.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dp_ir.diffusion.noise import generators, randn
from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import Metric
from dp_ir.evaluation.metrics.names import metric_info
from dp_ir.extras import require

# Strengths tried first, in [0, 1] image units; 0 is the restorer itself, and 0.04 is 10 grey levels of 255.
DEFAULT_GRID = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04)
TOLERANCE = 1e-3
"""The strength is found to about this much, in [0, 1] image units."""


@dataclass(frozen=True)
class NoiseControl:
    """The restorer's outputs under the white noise that is best for one metric over one data set.

    `std` is the noise's standard deviation in [0, 1] image units, `tuned_on` the name of the metric it was chosen for,
    `images` the outputs with that noise, each (1, 3, H, W), and `protocol` one line about the search.
    """

    std: float
    tuned_on: str
    images: Sequence[Tensor]
    protocol: str


def add_noise(images: Sequence[Tensor], std: float, seed: int = 0) -> list[Tensor]:
    """White Gaussian noise of standard deviation `std` on images (1, 3, H, W) in [0, 1]; clipped to [0, 1].

    Image i has the noise of seed ``seed + i`` at every strength, scaled: so a mean over the data set is a smooth
    function of `std`, and another image in the set changes nothing.
    """
    noisy = []
    for index, image in enumerate(images):
        noise = randn(image.shape, generators([seed + index]), device=image.device, dtype=image.dtype)
        noisy.append((image + std * noise).clamp(0.0, 1.0))
    return noisy


def minimise(
    function: Callable[[float], float], grid: Sequence[float] = DEFAULT_GRID, tolerance: float = TOLERANCE
) -> tuple[float, float]:
    """Smallest value of a function of one number: a grid finds the valley, Brent's method its bottom.

    Args:
        function: evaluated once per point.
        grid: at least three increasing points; the result lies within their range (ends included).
        tolerance: the argument is found to about this much, if the function has one valley between the grid points
            beside the best one.

    Returns:
        (argument, value) of the best point evaluated.

    Raises:
        DataError: fewer than three points.
        MissingExtraError: scipy is not installed.
    """
    points = sorted(grid)
    if len(points) < 3:
        raise DataError(
            f"A search for the best noise needs a grid of at least 3 strengths, but is given {len(points)}."
        )
    evaluated: dict[float, float] = {}

    def watched(point: float) -> float:
        return evaluated.setdefault(float(point), function(float(point)))

    best = min(range(len(points)), key=lambda index: watched(points[index]))
    between = points[max(best - 1, 0)], points[min(best + 1, len(points) - 1)]
    optimize = require("scipy.optimize", "The noise control", "eval")
    optimize.minimize_scalar(watched, bounds=between, method="bounded", options={"xatol": tolerance})
    argument = min(evaluated, key=evaluated.__getitem__)
    return argument, evaluated[argument]


def best_strength(
    images: Sequence[Tensor],
    targets: Sequence[Tensor],
    metric: Metric,
    seeds: Sequence[int],
    *,
    grid: Sequence[float] = DEFAULT_GRID,
    tolerance: float = TOLERANCE,
) -> float:
    """The strength of white noise that is best for the mean of a metric, in [0, 1] image units.

    Args:
        images: a restorer's, each (1, 3, H, W); read one at a time, so that they may be files.
        targets: the true images likewise.
        metric: of single images.
        seeds: of the noise, one per image.
        grid: see `minimise`.
        tolerance: see `minimise`.
    """
    loss = metric_info(metric).loss

    def objective(std: float) -> float:
        pairs = zip(images, targets, seeds, strict=True)
        values = [metric(add_noise([image], std, seed)[0], target) for image, target, seed in pairs]
        return loss(float(torch.cat(values).mean()))

    return minimise(objective, grid, tolerance)[0]


def noise_control(
    restored: Sequence[Tensor],
    targets: Sequence[Tensor],
    metric: Metric,
    *,
    seed: int = 0,
    grid: Sequence[float] = DEFAULT_GRID,
    tolerance: float = TOLERANCE,
) -> NoiseControl:
    """The restorer plus the white noise that is best for one metric over the whole data set.

    Args:
        restored: the restorer's outputs, each (1, 3, H, W) in [0, 1].
        targets: the true images, of the same shapes.
        metric: its mean over the images decides the strength: LPIPS at full scale for the bar.
        seed: noise of image i is drawn with seed + i.
        grid: strengths tried first, in [0, 1] image units.
        tolerance: see `minimise`.

    Raises:
        DataError: no images, unpaired images, or fewer than three strengths in the grid.
    """
    if not restored or len(restored) != len(targets):
        raise DataError(
            f"The noise control needs as many outputs as targets, at least one, but there are {len(restored)} and "
            f"{len(targets)}."
        )
    seeds = range(seed, seed + len(restored))
    std = best_strength(restored, targets, metric, seeds, grid=grid, tolerance=tolerance)
    return NoiseControl(
        std=std,
        tuned_on=metric.name,
        images=add_noise(restored, std, seed),
        protocol=(
            f"Noise control: restorer's output + white Gaussian noise, one strength per data set, chosen for the best "
            f"mean {metric.name} (grid {min(grid):g} to {max(grid):g}, then Brent to {tolerance:g}; "
            f"seed {seed} + image index; clipped to [0, 1])"
        ),
    )
