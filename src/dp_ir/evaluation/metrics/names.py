"""Metrics by their names on the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from dp_ir.checkpoints.architectures import nearest
from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.band_energy import BANDS, BandEnergy
from dp_ir.evaluation.metrics.distribution import SlicedWasserstein
from dp_ir.evaluation.metrics.frechet import FID, INCEPTION_FILE, KID, Features, load_inception
from dp_ir.evaluation.metrics.iqa import IQA, load_iqa
from dp_ir.evaluation.metrics.lpips import LPIPS, Backbone, find_backbone, load_lpips
from dp_ir.evaluation.metrics.metric import Metric, MetricInfo, SetMetric
from dp_ir.evaluation.metrics.similarity import MSSSIM, PSNR, SSIM, LinearPSNR
from dp_ir.evaluation.metrics.spread import PARTS, SAMPLES, MeanPSNR, SpreadError
from dp_ir.tasks.task import Task

_BURST_BORDER = (
    40  # as the evaluation of "Deep Burst Super-Resolution" has it: beyond lies what some frames did not see
)

DEFAULT_METRICS = ("psnr-y", "psnr", "ssim-y", "lpips", "lpips-half", "swd")
"""What a comparison measures unless asked for more; only LPIPS needs weights."""

_BANDS = {
    f"{'colour-' * colour}band-{band}": BandEnergy(band, colour)
    for colour in (False, True)
    for band in range(1, BANDS + 1)
}
_SPREADS = {f"spread-error-{part.replace(' ', '-')}": part for part in PARTS}

SET_METRICS = ("swd", "fid", "kid", *_SPREADS)
"""Names of the metrics of whole sets of images."""

SAMPLE_METRICS = ("psnr-mean", *_SPREADS)
"""Names of the metrics of several samples of each image."""

GROUPS = {"bands": tuple(_BANDS), "spread-error": tuple(_SPREADS)}
"""Names that stand for several metrics."""

METRICS = (
    "psnr", "psnr-y", "psnr-linear", "ssim", "ssim-y", "ms-ssim", "ms-ssim-y",
    "lpips", "lpips-half", "lpips-alex", "lpips-alex-half", "lpips-vgg", "lpips-vgg-half",
    "dists", "niqe", "topiq", "topiq-delta", *_BANDS, "psnr-mean",
    *SET_METRICS,
)  # fmt: skip
"""Every name, as `metric_name` returns it."""

_IQA = {"dists": "DISTS", "niqe": "NIQE", "topiq": "TOPIQ", "topiq-delta": "TOPIQ-delta"}
_ALIASES = {
    "psnr-rgb": "psnr", "ssim-rgb": "ssim", "msssim": "ms-ssim", "msssim-y": "ms-ssim-y",
    "lpips-squeeze": "lpips", "lpips-squeeze-half": "lpips-half",
    "topiq-nr": "topiq", "topiqdelta": "topiq-delta", "topiq-nr-delta": "topiq-delta",
    "sliced-wasserstein": "swd",
}  # fmt: skip
# Decimals in tables, by the first part of the shown name.
_DIGITS = {
    "PSNR": 2, "SSIM": 4, "MS": 4, "LPIPS": 4, "DISTS": 4, "NIQE": 2, "TOPIQ": 3, "SWD": 2, "FID": 2, "KID": 2,
    "Band": 2, "Colour": 2, "Spread": 2,
}  # fmt: skip


def metric_name(text: str) -> str:
    """The name in `METRICS` that a text means: letter case, underscores and usual other spellings do not matter.

    The head of a column, such as "LPIPS 1/2", is understood too.

    Raises:
        DataError: no metric is called so, and the sentence names the nearest one and all that there are; or several.
    """
    names = metric_names(text)
    if len(names) > 1:
        raise DataError(f"{text!r} stands for several metrics: name one of {', '.join(names)}.")
    return names[0]


def metric_names(text: str) -> tuple[str, ...]:
    """The names that a text means, as `metric_name`; more than one for those in `GROUPS`."""
    name = text.strip().lower().replace("1/2", "half").replace("_", "-").replace(" ", "-")
    name = _ALIASES.get(name, name)
    if name in GROUPS:
        return GROUPS[name]
    if name not in METRICS:
        known = (*METRICS, *GROUPS)
        raise DataError(f"There is no metric {text!r}{nearest(name, known)}: known are {', '.join(known)}.")
    return (name,)


def default_metrics(task: Task | None) -> tuple[str, ...]:
    """What a comparison measures for a task unless asked for more."""
    return (*DEFAULT_METRICS, "psnr-linear") if task is not None and task.takes_bursts else DEFAULT_METRICS


def border_of(task: Task | None) -> int:
    """Pixels that PSNR and SSIM leave out on every side, by the customs of a task's literature."""
    if task is None or task.scale == 1:
        return 0
    return _BURST_BORDER if task.takes_bursts else task.scale


def make_metrics(
    names: Sequence[str],
    *,
    border: int,
    weights: Path | None = None,
    device: str | torch.device = "cpu",
    samples: int = SAMPLES,
) -> tuple[list[Metric], list[SetMetric]]:
    """Metrics of single images and metrics of sets, each in the order of the names; repeated ones count once.

    Args:
        names: as `metric_names` understands them.
        border: pixels that PSNR, SSIM and MS-SSIM leave out on every side.
        weights: folder that may hold backbones of LPIPS and of FID under their usual names, or the file of the one
            backbone that is asked for. What it does not hold, torchvision and torch-fidelity have or download.
        device: where the networks run.
        samples: of each image, for the metrics that are about several.

    Raises:
        DataError: an unknown name, no such file or folder, or a backbone that is neither on disk nor to be downloaded.
        CheckpointError: a file does not hold its backbone.
        MissingExtraError: a package of the extra `eval` is not installed.
        DPIRError: pyiqa is not installed.
    """
    if weights is not None and not weights.exists():
        raise DataError(f"There is no file or folder '{weights}' with the weights of metrics; name an existing one.")
    maker = _Maker(border, weights, torch.device(device), samples)
    wanted = dict.fromkeys(name for text in names for name in metric_names(text))
    return (
        [maker.image_metric(name) for name in wanted if name not in SET_METRICS],
        [maker.set_metric(name) for name in wanted if name in SET_METRICS],
    )


def metric_info(metric: Metric | SetMetric) -> MetricInfo:
    """How a metric is shown in tables: its name, protocol, direction and decimals."""
    return MetricInfo(
        name=metric.name,
        protocol=metric.protocol,
        higher_is_better=metric.higher_is_better,
        digits=_DIGITS.get(metric.name.replace(" ", "-").split("-")[0], 3),
        of_sets=metric.name.lower().replace(" ", "-") in SET_METRICS,
        ideal=float(getattr(metric, "ideal", 0.0)),
    )


class _Maker:
    """Makes metrics that share their networks."""

    def __init__(self, border: int, weights: Path | None, device: torch.device, samples: int) -> None:
        self.border = border
        self.weights = weights
        self.device = device
        self.samples = samples
        self._lpips: dict[Backbone, nn.Module] = {}
        self._iqa: dict[str, IQA] = {}
        self._inception: Features | None = None

    def image_metric(self, name: str) -> Metric:
        if name == "psnr-linear":
            return LinearPSNR(border=self.border)
        if name == "psnr-mean":
            return MeanPSNR(self.border, self.samples)
        if name in _BANDS:
            return _BANDS[name]
        pixels: dict[str, Callable[..., Metric]] = {"psnr": PSNR, "ssim": SSIM, "ms-ssim": MSSSIM}
        kind = name.removesuffix("-y")
        if kind in pixels:
            return pixels[kind](channels="rgb" if kind == name else "y", border=self.border, rounding=True)
        if name in _IQA:
            return self.iqa(name)
        backbone: Backbone = next((b for b in get_args(Backbone) if f"-{b}" in name), "squeeze")
        return LPIPS(self.lpips(backbone), "half" if name.endswith("-half") else "full")

    def set_metric(self, name: str) -> SetMetric:
        if name == "swd":
            return SlicedWasserstein()
        if name in _SPREADS:
            return SpreadError(_SPREADS[name], self.samples)
        return FID(self.inception()) if name == "fid" else KID(self.inception())

    def iqa(self, name: str) -> IQA:
        network = name.removesuffix("-delta")
        if network not in self._iqa:
            self._iqa[network] = load_iqa(_IQA[network], self.device)
        return replace(self._iqa[network], name=_IQA[name])

    def lpips(self, backbone: Backbone) -> nn.Module:
        if backbone not in self._lpips:
            file = self.weights
            if file is not None and file.is_dir():
                file = find_backbone(file, backbone)
            self._lpips[backbone] = load_lpips(file, backbone).to(self.device)
        return self._lpips[backbone]

    def inception(self) -> Features:
        if self._inception is None:
            file = self.weights
            if file is not None and file.is_dir():
                file = file / INCEPTION_FILE if (file / INCEPTION_FILE).is_file() else None
            self._inception = load_inception(file, self.device)
        return self._inception
