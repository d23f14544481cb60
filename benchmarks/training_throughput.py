"""How much of the machine's arithmetic training uses: operations per second of every recipe over a matrix product's.

    python benchmarks/training_throughput.py --data PHOTOS --weights WEIGHTS [--only denoiser ...] [--write FILE.md]

PHOTOS is a folder of training photographs, WEIGHTS the SqueezeNet 1.1 file of LPIPS, which the fusions' score needs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from dp_ir.evaluation import Report, Table, Target
from dp_ir.evaluation.metrics.training_metrics import training_metrics
from dp_ir.training.run import train
from dp_ir.training.trainer import Progress
from reporting import command_line, conclude

RECIPES = {
    "denoiser": "denoiser",
    "restorer-sr4": "restorer",
    "restorer-deblur": "restorer",
    "restorer-burst": "restorer",
    "fusion-sr4": "fusion",
}
LEAST = 0.55
"""Share that the U-Nets and restorers must reach; a fusion's score is no matter of matrix products alone."""


def share(recipe: str, options: argparse.Namespace, out: Path) -> float:
    """The best share of a few rows of the log."""
    kind, shares = RECIPES[recipe], []

    def watch(progress: Progress) -> None:
        shares.append(progress.share or 0.0)

    steps = options.steps
    judged = training_metrics(options.weights) if kind == "fusion" else {}
    changes = [f"data.clean={options.data}", f"optim.steps={steps}", f"log.every={max(1, steps // 4)}"]
    changes += [f"log.validate={10 * steps}", f"log.checkpoint={10 * steps}"]
    if kind == "fusion":
        changes += [f"partners.{partner}={options.bundle}" for partner in ("restorer", "denoiser")]
    train(kind, recipe, changes, out, watch=watch, **judged)
    return max(shares)


def measure(options: argparse.Namespace) -> Report:
    report = Report("Throughput of training", command_line("training_throughput"))
    rows: list[list[str | int | float | None]] = []
    with tempfile.TemporaryDirectory() as folder:
        for recipe in options.only or RECIPES:
            found = share(recipe, options, Path(folder) / recipe)
            rows.append([recipe, f"{found:.2f}"])
            if RECIPES[recipe] != "fusion":
                report.targets.append(Target("operations per second / a matrix product's", recipe, ">=", LEAST, found))
    report.tables.append(Table("Operations per second over those of a matrix product", ["recipe", "share"], rows))
    return report


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 file of LPIPS, or its folder")
    parser.add_argument("--bundle", default="sr4", help="whose networks a fusion is trained with")
    parser.add_argument("--only", nargs="+", choices=RECIPES, help="only these recipes")
    parser.add_argument("--steps", type=int, default=40, help="of each recipe")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with CSV and JSON beside it")
    return parser.parse_args()


def main() -> int:
    console, options = Console(), parse()
    return conclude(lambda: measure(options), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
