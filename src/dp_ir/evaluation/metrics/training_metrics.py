"""What training is judged by: the metrics and features that `dp_ir.training.run.train` is given."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict

from torch import Tensor

from dp_ir.evaluation.metrics.band_energy import BANDS, BandEnergy
from dp_ir.evaluation.metrics.lpips import LPIPS, LPIPSFeatures, load_lpips
from dp_ir.evaluation.metrics.metric import Metric
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.evaluation.metrics.spread import PARTS, MeanPSNR, measure, spread_over_error
from dp_ir.training.chain_objective import SampleMetrics
from dp_ir.training.energy_score import Features
from dp_ir.training.objectives import Metrics

_BANDS = range(1, BANDS + 1)


class TrainingMetrics(TypedDict):
    """Keyword arguments of `train`."""

    metrics: Metrics
    sample_metrics: SampleMetrics
    perceptual: Features | None


def training_metrics(lpips: Path | None) -> TrainingMetrics:
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
    return TrainingMetrics(
        metrics=metrics,
        sample_metrics=sample_figures,
        perceptual=None if network is None else LPIPSFeatures(network),
    )


def sample_figures(drawn: Sequence[Tensor], truths: Sequence[Tensor]) -> dict[str, float]:
    """The bands of each first sample, the PSNR of the mean of all samples, and their spread over its error.

    Args:
        drawn: samples (n, 3, H, W) of each image; they are clipped to [0, 1], as files are.
        truths: (1, 3, H, W) of each.
    """
    pairs = [(samples.cpu().clamp(0, 1), truth.cpu()) for samples, truth in zip(drawn, truths, strict=True)]
    spreads = [measure(samples, truth[0]) for samples, truth in pairs]
    return {
        **{
            f"{'colour_' * colour}band{band}": _mean(
                BandEnergy(band, colour)(samples[:1], truth) for samples, truth in pairs
            )
            for colour in (False, True)
            for band in _BANDS
        },
        "psnr_mean": _mean(MeanPSNR()(samples, truth) for samples, truth in pairs),
        **{
            f"spread_error_{part.replace(' ', '')}": spread_over_error([spread[part] for spread in spreads])
            for part in PARTS
        },
    }


def _mean(values: Iterable[Tensor]) -> float:
    return statistics.fmean(float(value) for value in values)
