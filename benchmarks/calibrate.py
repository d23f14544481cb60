"""Check our measures against published figures that can be had offline.

    python benchmarks/calibrate.py --data DATA --weights WEIGHTS

LPIPS-squeeze of the two sample pairs of its authors (WEIGHTS/lpips_samples), and bicubic 4x on Set5 and Set14 from the
published low-resolution files and from our own degradation. The exit status tells whether all agree.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console

from dp_ir.degradation import imresize
from dp_ir.evaluation import LPIPS, PSNR, Report, Table, load_lpips, open_pairs
from dp_ir.evaluation.dataset import find_images, load_rgb
from dp_ir.image import read_image
from dp_ir.tasks import get_task

LPIPS_SAMPLES = {"ex_p0.png": 0.7110, "ex_p1.png": 0.1479}
BICUBIC = {"Set5": 28.42, "Set14": 26.00}
# MATLAB programs take a grey file as Y itself; as RGB it would be compressed to the studio range, 219 of 255 levels.
GREY_AS_Y = -20 * math.log10(255 / 219)


def check(what: str, on: str, published: float, measured: float, tolerance: float) -> list[str | float]:
    agrees = abs(measured - published) <= tolerance
    return [what, on, f"{published:.4f}", f"{measured:.4f}", tolerance, "yes" if agrees else "NO"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with Set5 and Set14")
    parser.add_argument("--weights", type=Path, required=True, help="folder with the backbone and lpips_samples")
    options = parser.parse_args()
    checks = []
    metric, samples = LPIPS(load_lpips(options.weights)), options.weights / "lpips_samples"
    reference = load_rgb(samples / "ex_ref.png")
    for name, published in LPIPS_SAMPLES.items():
        measured = metric(load_rgb(samples / name), reference).item()
        checks.append(check("LPIPS-squeeze v0.1", name, published, measured, 1e-4))

    task, psnr = get_task("sr4"), PSNR(channels="y", border=4, rounding=True)
    for dataset, published in BICUBIC.items():
        pairs = open_pairs(options.data / dataset, scale=task.scale)
        own_files, own_degradation = [], []
        for pair, path in zip(pairs, find_images(options.data / dataset / "HR"), strict=True):
            grey = GREY_AS_Y if read_image(path).grey else 0.0
            for values, observation in ((own_files, pair.observation), (own_degradation, task.degrade(pair.target))):
                values.append(psnr(imresize(observation, task.scale), pair.target).item() + grey)
        given, own = (sum(values) / len(values) for values in (own_files, own_degradation))
        checks.append(check("bicubic 4x, PSNR-Y, published LR files", dataset, published, given, 0.015))
        checks.append(check("bicubic 4x, PSNR-Y, own degradation", dataset, published, own, 0.015))
        checks.append(check("own degradation against published LR files", dataset, given, own, 0.01))

    columns = ["what", "on", "reference", "measured", "tolerance", "agrees"]
    Report(title="Calibration", command="", tables=[Table("Calibration", columns, checks)]).print(Console())
    return 0 if all(row[-1] == "yes" for row in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
