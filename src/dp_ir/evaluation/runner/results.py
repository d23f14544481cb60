"""What a comparison measured, as plain data: one record per method and image, and what the numbers mean."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.runtime.precision import processor_name


@dataclass(frozen=True)
class MethodInfo:
    """One row.

    Args:
        name: of the method.
        source: what it was made from, as on the command line.
        parameters: of all its networks together; None where unknown.
        trained: of the networks that were trained for this method and task alone.
        flops_base: floating-point operations of what runs once, for the reference size; None where unknown.
        flops_per_call: of one sampling step (denoiser and fusion, or the bridge) at that size.
        flops_size: the reference size of the restored image, (height, width).
        training_images: how many images the trained networks saw, by their cards; None where unknown.
    """

    name: str
    source: str = ""
    parameters: int | None = None
    trained: int | None = None
    flops_base: float | None = None
    flops_per_call: float | None = None
    flops_size: tuple[int, int] | None = None
    training_images: int | None = None


@dataclass(frozen=True)
class Record:
    """One method on one image.

    Args:
        method: name of the method.
        dataset: name of the data set.
        image: name of the image.
        values: metric name -> value; empty where the method failed.
        calls: network evaluations by role; empty where they are not counted.
        seconds: wall-clock time of the method on this image; None where it was not run here.
        peak_memory: bytes that the method added to the memory of the process at its peak; None where not measured.
        error: one sentence where the method failed on this image, else None.
    """

    method: str
    dataset: str
    image: str
    values: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    peak_memory: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class RankHistogram:
    """Where the truth stands among n samples of a method, over all places of a data set's images; see `spread`.

    Args:
        shares: of the n + 1 ranks, from below all samples to above all of them.
        unevenness: largest deviation of a share from 1 / (n + 1), relative to that: 0 for calibrated samples.
    """

    shares: Sequence[float]
    unevenness: float


@dataclass(frozen=True)
class SetRecord:
    """One method on a whole data set: measures of distributions such as FID and SWD, over the images that all have.

    Args:
        method: name of the method.
        dataset: name of the data set.
        values: metric name -> value.
        ranks: by part of the images, see `spread.PARTS`; empty where no spread was measured.
    """

    method: str
    dataset: str
    values: Mapping[str, float]
    ranks: Mapping[str, RankHistogram] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """A whole comparison; everything that tables, plots and pages are made from.

    Args:
        command: what made it, as a reader would type it.
        methods: in the order of the rows; the first is the reference of paired tests unless another is asked for.
        datasets: names, in order.
        metrics: in the order of the columns.
        records: one per method and image.
        sets: one per method and data set, where a metric of sets was asked for.
        notes: further lines for the protocols, such as how a noise control was tuned.
        machine: what it was measured with, see `machine`.
    """

    command: str
    methods: Sequence[MethodInfo]
    datasets: Sequence[str]
    metrics: Sequence[MetricInfo]
    records: Sequence[Record]
    sets: Sequence[SetRecord] = ()
    notes: Sequence[str] = ()
    machine: Mapping[str, str] = field(default_factory=dict)


def machine() -> dict[str, str]:
    """What a figure was measured with: processor, threads, versions."""
    return {
        "processor": processor_name(),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
    }
