"""Compare a bundle with its restorer, and with that restorer plus the white noise that LPIPS likes best.

    python examples/compare.py Set14/ runs/compare --weights squeezenet1_1_features.pth

Noise alone makes a blurred image look sharper to LPIPS. So a method that claims to be closer to the truth must beat
its restorer with noise added, too. The folder is a data set (`HR` and `LR_x4`, or plain photos, which are made smaller
here). Needs the extra `eval`; the weights are those of `torchvision.models.squeezenet1_1(weights="DEFAULT").features`.
"""

import argparse
from pathlib import Path

from rich.console import Console

from dp_ir.evaluation import make_metrics, open_dataset
from dp_ir.evaluation.report.output_files import to_report
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.tasks import get_task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, help="folder for images and records; a stopped run goes on")
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.1 of LPIPS")
    parser.add_argument("--bundle", default="sr4")
    options = parser.parse_args()

    task = get_task("sr4")
    data = open_dataset(options.data, scale=task.scale, degrade=task.degrade)
    metrics, set_metrics = make_metrics(["psnr", "lpips", "swd"], border=task.border, weights=options.weights)
    source = options.bundle
    methods = [f"DP-IR={source}", f"restorer=restorer:{source}", f"restorer + noise=noise:{source}", "bicubic:4"]
    results = evaluate(methods, [data], out=options.out, metrics=metrics, set_metrics=set_metrics)
    to_report(results, reference="DP-IR").print(Console())


if __name__ == "__main__":
    main()
