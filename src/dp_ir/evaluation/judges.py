"""What training is judged by: the metrics and features that `dp_ir.training.run.train` is given."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from torch import Tensor

from dp_ir.evaluation.band_energy import BANDS, BandEnergy
from dp_ir.evaluation.lpips import LPIPS, LPIPSFeatures, load_lpips
from dp_ir.evaluation.metrics import PSNR, Metric
from dp_ir.evaluation.sample_metrics import MeanPSNR, SpreadError
from dp_ir.evaluation.spread import PARTS
from dp_ir.training.chain_objective import SampleMetrics
from dp_ir.training.energy_score import Features
from dp_ir.training.objectives import Metrics


class Judges(TypedDict):
    """Keyword arguments of `train`."""

    metrics: Metrics
    sample_metrics: SampleMetrics
    perceptual: Features | None


def judges(lpips: Path | None) -> Judges:
    """PSNR, and with the weights of SqueezeNet 1.1 LPIPS at both scales; of samples also bands and spread.

    Args:
        lpips: file of the weights, whose features a score may use, too; None for training without them.

    Raises:
        MissingExtraError, DataError, CheckpointError: as `load_lpips`.
    """
    metrics: dict[str, Metric] = {"psnr": PSNR()}
    network = None if lpips is None else load_lpips(lpips)
    if network is not None:
        metrics |= {"lpips": LPIPS(network), "lpips_half": LPIPS(network, "half")}
    of_samples: dict[str, Callable[[Sequence[Tensor], Sequence[Tensor]], float]] = {
        **{f"band{band}": _mean_of(BandEnergy(band), 1) for band in range(1, BANDS + 1)},
        "psnr_mean": _mean_of(MeanPSNR(), None),
        **{f"spread_error_{part.replace(' ', '')}": SpreadError(part) for part in PARTS},
    }
    return Judges(
        metrics=metrics, sample_metrics=of_samples, perceptual=None if network is None else LPIPSFeatures(network)
    )


def _mean_of(metric: Metric, count: int | None) -> Callable[[Sequence[Tensor], Sequence[Tensor]], float]:
    """Mean over images of a metric of their first `count` samples."""
    return lambda drawn, truths: statistics.fmean(
        float(metric(samples[:count], truth)) for samples, truth in zip(drawn, truths, strict=True)
    )
