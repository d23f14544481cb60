"""Metrics with their protocols, comparisons and reports."""

from dp_ir.evaluation.comparison import Scores, score
from dp_ir.evaluation.dataset import ImagePair, PairedImages, open_pairs
from dp_ir.evaluation.distribution import SlicedWasserstein
from dp_ir.evaluation.lpips import LPIPS, load_lpips
from dp_ir.evaluation.metrics import PSNR, SSIM, Metric, rgb_to_y
from dp_ir.evaluation.noise_control import NoiseControl, noise_control
from dp_ir.evaluation.report import Bar, Report, Table

__all__ = [
    "LPIPS",
    "PSNR",
    "SSIM",
    "Bar",
    "ImagePair",
    "Metric",
    "NoiseControl",
    "PairedImages",
    "Report",
    "Scores",
    "SlicedWasserstein",
    "Table",
    "load_lpips",
    "noise_control",
    "open_pairs",
    "rgb_to_y",
    "score",
]
