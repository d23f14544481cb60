"""The noise control of a data set: the strength of its noise, tuned over the restorer's images, and the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dp_ir.datasets.layouts import load_rgb
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Observation, Output, identity_text
from dp_ir.evaluation.metrics.metric import Metric
from dp_ir.evaluation.metrics.names import SAMPLE_METRICS, SET_METRICS, metric_info, metric_name
from dp_ir.evaluation.metrics.noise_control import DEFAULT_GRID, add_noise, minimise
from dp_ir.evaluation.runner.stored_paths import stored_image

TOLERANCE = 1e-3
"""The strength is found to about this much, in [0, 1] image units."""


@dataclass(frozen=True)
class NoisyImages:
    """The stored images of a restorer plus white noise of a strength tuned for one data set.

    Args:
        name: in tables.
        out: folder of the comparison.
        base: name under which the restorer's images are stored.
        std: strength in [0, 1] image units.
        calls: of the restorer.
    """

    name: str
    out: Path
    base: str
    base_identity: str
    std: float
    calls: Mapping[str, int]
    networks: Mapping[str, Any] = field(default_factory=dict, init=False)
    trained: tuple[str, ...] = field(default=(), init=False)
    draws: bool = field(default=True, init=False)

    @property
    def identity(self) -> str:
        """The restorer's, and the strength."""
        return identity_text("noisy images", base=self.base_identity, std=self.std)

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Add noise to the image that the restorer made of an observation; raises DataError if there is none."""
        path = stored_image(self.out, self.base, observation.dataset, observation.name)
        if not path.is_file():
            raise DataError(f"The restorer of '{self.name}' gave no image '{observation.name}', so it has no noise.")
        return Output(add_noise([load_rgb(path)], self.std, seed)[0], self.calls)


def tune(metric: Metric, images: Sequence[Path], targets: Sequence[Any], seeds: Sequence[int]) -> float:
    """The strength of white noise that is best for the mean of a metric; images are read one at a time.

    Args:
        metric: of single images.
        images: the restorer's, as files.
        targets: the true images, each (1, 3, H, W), or anything that gives them by index.
        seeds: of the noise, one per image.

    Returns:
        The strength in [0, 1] image units.
    """
    loss = metric_info(metric).loss

    def objective(std: float) -> float:
        values = [
            metric(add_noise([load_rgb(path)], std, seed)[0], targets[index])
            for index, (path, seed) in enumerate(zip(images, seeds, strict=True))
        ]
        return loss(float(torch.cat(values).mean()))

    return minimise(objective, DEFAULT_GRID, TOLERANCE)[0]


def tuning_note(name: str, dataset: str, std: float, metric: str) -> str:
    """One line about how the strength came about."""
    return (
        f"{name} on {dataset}: white Gaussian noise of standard deviation {std:.4f} ({255 * std:.1f} of 255) on the "
        f"restorer's output, the strength that gives the best mean {metric} over this data set (grid "
        f"{min(DEFAULT_GRID):g} to {max(DEFAULT_GRID):g}, then golden section to {TOLERANCE:g}); clipped to [0, 1]."
    )


def tuning_metric(name: str, metrics: Sequence[Metric]) -> Metric:
    """The metric of that name, which a noise control is tuned for.

    Raises:
        DataError: it is not measured, or is none of single images.
    """
    wanted = metric_name(name)
    if wanted in (*SAMPLE_METRICS, *SET_METRICS):
        about = "several samples of each image" if wanted in SAMPLE_METRICS else "whole sets of images"
        raise DataError(
            f"A noise control cannot be tuned for {name}, which is about {about}: tune it for a metric of single "
            "images, such as metric=lpips, or state its strength, as in std=0.02."
        )
    for metric in metrics:
        try:
            if metric_name(metric.name) == wanted:
                return metric
        except DataError:  # a metric of the caller's own
            continue
    raise DataError(f"A noise control is tuned for {name}, which is not measured: add --metric {name}.")
