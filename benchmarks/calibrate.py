"""Check our measures against published figures that can be had offline.

    python benchmarks/calibrate.py --data DATA --weights WEIGHTS

LPIPS-squeeze of the two sample pairs of its authors (WEIGHTS/lpips_samples), and bicubic 4x on Set5 and Set14 from the
published low-resolution files and from our own degradation. The exit status tells whether all agree.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.opening import open_dataset
from dp_ir.degradation import imresize
from dp_ir.evaluation.metrics.names import make_metrics
from dp_ir.evaluation.report.document import Report, Table
from dp_ir.image import read_image
from dp_ir.tasks import get_task

LPIPS_SAMPLES = {"ex_p0.png": 0.7110, "ex_p1.png": 0.1479}
BICUBIC = {"Set5": 28.42, "Set14": 26.00}
# MATLAB programs take a grey file as Y itself; as RGB it would be compressed to the studio range, 219 of 255 levels.
GREY_AS_Y = -20 * math.log10(255 / 219)


@dataclass(frozen=True)
class Check:
    """A figure and what it is checked against."""

    what: str
    on: str
    reference: float
    measured: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return abs(self.measured - self.reference) <= self.tolerance


def lpips_checks(weights: Path) -> list[Check]:
    """The sample pairs of LPIPS' authors; `weights` holds the backbone and lpips_samples."""
    [metric], _ = make_metrics(["lpips"], border=0, weights=weights)
    samples = weights / "lpips_samples"
    reference = load_rgb(samples / "ex_ref.png")
    return [
        Check("LPIPS-squeeze v0.1", name, published, metric(load_rgb(samples / name), reference).item(), 1e-4)
        for name, published in LPIPS_SAMPLES.items()
    ]


def bicubic_checks(data: Path) -> list[Check]:
    """Bicubic 4x on Set5 and Set14 in `data`."""
    task, checks = get_task("sr4"), []
    [psnr], _ = make_metrics(["psnr-y"], border=task.scale)
    for dataset, published in BICUBIC.items():
        pairs = open_dataset(data / dataset, scale=task.scale)
        own_files, own_degradation = [], []
        for pair, files in zip(pairs, pairs.files, strict=True):
            grey = GREY_AS_Y if read_image(files.target).grey else 0.0
            for values, observation in ((own_files, pair.observation), (own_degradation, task.degrade(pair.target))):
                values.append(psnr(imresize(observation, task.scale), pair.target).item() + grey)
        given, own = (sum(values) / len(values) for values in (own_files, own_degradation))
        checks.append(Check("bicubic 4x, PSNR-Y, published LR files", dataset, published, given, 0.015))
        checks.append(Check("bicubic 4x, PSNR-Y, own degradation", dataset, published, own, 0.015))
        checks.append(Check("own degradation against published LR files", dataset, given, own, 0.01))
    return checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with Set5 and Set14")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the backbone and lpips_samples")
    options = parser.parse_args()
    checks = [*lpips_checks(options.weights), *bicubic_checks(options.data)]
    rows = [
        [c.what, c.on, f"{c.reference:.4f}", f"{c.measured:.4f}", c.tolerance, "yes" if c.agrees else "NO"]
        for c in checks
    ]
    columns = ["what", "on", "reference", "measured", "tolerance", "agrees"]
    Report(title="Calibration", command="", tables=[Table("Calibration", columns, rows)]).print(Console())
    return 0 if all(check.agrees for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
