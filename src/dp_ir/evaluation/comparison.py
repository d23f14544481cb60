"""Scoring methods on one data set: the same images, the same metrics, the calls each method needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.evaluation.distribution import SlicedWasserstein
from dp_ir.evaluation.metrics import Metric


@dataclass(frozen=True)
class Scores:
    """One method on one data set.

    Attributes:
        method: its name, as in the table.
        dataset: name of the data set.
        values: mean over the images by metric name; a distribution measure has one value for the whole set.
        per_image: the values behind each mean, in the order of the images.
        calls: network evaluations per image, by network; empty where none are counted.
        seconds: mean wall-clock seconds per image; None where not measured.
    """

    method: str
    dataset: str
    values: Mapping[str, float]
    per_image: Mapping[str, Sequence[float]]
    calls: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None


def score(
    method: str,
    dataset: str,
    outputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    metrics: Sequence[Metric],
    distribution: SlicedWasserstein | None = None,
    *,
    calls: Mapping[str, int] | None = None,
    seconds: float | None = None,
) -> Scores:
    """Score outputs against targets, each (1, 3, H, W) in [0, 1], sizes free.

    Raises:
        DataError: no images, or not as many outputs as targets; see also the metrics' own errors.
    """
    if not outputs or len(outputs) != len(targets):
        raise DataError(
            f"'{method}' gives {len(outputs)} outputs for the {len(targets)} targets of '{dataset}'; "
            "there must be one for each, and at least one."
        )
    per_image = {
        metric.name: torch.cat(
            [metric(output, target) for output, target in zip(outputs, targets, strict=True)]
        ).tolist()
        for metric in metrics
    }
    values = {name: sum(numbers) / len(numbers) for name, numbers in per_image.items()}
    if distribution is not None:
        values[distribution.name] = distribution(outputs, targets)
    return Scores(method, dataset, values, per_image, dict(calls or {}), seconds)
