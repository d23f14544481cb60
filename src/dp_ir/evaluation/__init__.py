"""Metrics with their protocols, methods, comparisons, studies and reports."""

from dp_ir.evaluation.band_energy import BandEnergy
from dp_ir.evaluation.comparison import Scores, score
from dp_ir.evaluation.cost import Cost, flops, parameters, peak_memory, restoration_cost
from dp_ir.evaluation.dataset import ImagePair, PairedImages
from dp_ir.evaluation.distribution import SlicedWasserstein
from dp_ir.evaluation.frechet import FID, KID, load_inception
from dp_ir.evaluation.layouts import open_dataset, open_datasets
from dp_ir.evaluation.lpips import LPIPS, load_lpips
from dp_ir.evaluation.method import Method, Observation, Output
from dp_ir.evaluation.methods import parse_method
from dp_ir.evaluation.metric_names import DEFAULT_METRICS, make_metrics
from dp_ir.evaluation.metrics import MSSSIM, PSNR, SSIM, LinearPSNR, Metric, SetMetric, rgb_to_y
from dp_ir.evaluation.noise_control import NoiseControl, noise_control
from dp_ir.evaluation.report import Bar, Report, Table
from dp_ir.evaluation.results import MethodInfo, MetricInfo, Record, Results, SetRecord
from dp_ir.evaluation.sample_metrics import MeanPSNR, SpreadError

__all__ = [
    "DEFAULT_METRICS",
    "FID",
    "KID",
    "LPIPS",
    "MSSSIM",
    "PSNR",
    "SSIM",
    "BandEnergy",
    "Bar",
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
    "Scores",
    "SetMetric",
    "SetRecord",
    "SlicedWasserstein",
    "SpreadError",
    "Table",
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
    "score",
]
