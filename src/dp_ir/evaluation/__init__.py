"""Comparing methods on data sets: metrics, methods, the run, reports and ablations, each package above the one before.

`evaluate` is the one way in which methods are judged; `dp-ir evaluate` calls it.
"""

from dp_ir.datasets.opening import open_dataset, open_datasets
from dp_ir.datasets.pairs import ImagePair, PairedImages
from dp_ir.evaluation.methods.method import Method, Observation, Output
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.metrics.band_energy import BandEnergy
from dp_ir.evaluation.metrics.distribution import SlicedWasserstein
from dp_ir.evaluation.metrics.frechet import FID, KID, load_inception
from dp_ir.evaluation.metrics.lpips import LPIPS, load_lpips
from dp_ir.evaluation.metrics.metric import Metric, MetricInfo, SetMetric
from dp_ir.evaluation.metrics.names import DEFAULT_METRICS, make_metrics
from dp_ir.evaluation.metrics.noise_control import NoiseControl, noise_control
from dp_ir.evaluation.metrics.similarity import MSSSIM, PSNR, SSIM, LinearPSNR, rgb_to_y
from dp_ir.evaluation.metrics.spread import MeanPSNR, SpreadError
from dp_ir.evaluation.report.document import Report, Table, Target
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.evaluation.runner.resources import Cost, flops, parameters, peak_memory, restoration_cost
from dp_ir.evaluation.runner.results import MethodInfo, Record, Results, SetRecord

__all__ = [
    "DEFAULT_METRICS",
    "FID",
    "KID",
    "LPIPS",
    "MSSSIM",
    "PSNR",
    "SSIM",
    "BandEnergy",
    "Cost",
    "ImagePair",
    "LinearPSNR",
    "MeanPSNR",
    "Method",
    "MethodInfo",
    "Metric",
    "MetricInfo",
    "NoiseControl",
    "Observation",
    "Output",
    "PairedImages",
    "Record",
    "Report",
    "Results",
    "SetMetric",
    "SetRecord",
    "SlicedWasserstein",
    "SpreadError",
    "Table",
    "Target",
    "evaluate",
    "flops",
    "load_inception",
    "load_lpips",
    "make_metrics",
    "noise_control",
    "open_dataset",
    "open_datasets",
    "parameters",
    "parse_method",
    "peak_memory",
    "restoration_cost",
    "rgb_to_y",
]
