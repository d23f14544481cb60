"""What is best for a fusion that is trained through its chain: variants of its recipe, on equal training time.

    python benchmarks/fusion_study.py --data PHOTOS --weights WEIGHTS --start FUSION [--steps 250] \
        [--only calls lambda] [--write results/fusion_study.md]

PHOTOS is a folder of training photographs, WEIGHTS the SqueezeNet 1.1 file of LPIPS. Every variant begins with the
weights of an estimate-trained fusion, unless it says otherwise, and has as many operations as the recipe has in its
steps, so that the load of the machine makes no difference. Everything is judged on photographs that are held out of
training. A run that was interrupted goes on where it was; what is done in --out is not done again, and with other
steps, changes, photographs, weights or networks another --out is needed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dp_ir.checkpoints.network_file import NetworkRecord, load_network
from dp_ir.errors import DataError
from dp_ir.evaluation import Report, Table
from dp_ir.evaluation.metrics.training_metrics import training_metrics
from dp_ir.image.files.writing import write_whole
from dp_ir.training.chain_objective import place_name, validation_dial
from dp_ir.training.run import train
from dp_ir.training.trainer import Progress
from reporting import command_line, conclude

RECIPE = "fusion-sr4"
BASE = ("data.patch=96", "optim.warm_up=50", "optim.ema=0.98", "optim.decay=1.0", "log.every=20")

SCRATCH = "network.init=null"
VARIANTS: dict[str, dict[str, Sequence[str]]] = {
    "calls": {
        "1 call": (),
        "2 calls": ("chain.steps=2", "chain.sigma_min=0.12"),
        "4 calls": ("chain.steps=4", "chain.sigma_min=0.007"),
    },
    "lambda": {
        "the dial": (),
        "lambda 0.5, straight line": ("network.config.detail=null", "score.spread_weight=0.5"),
        "lambda 1, straight line": ("network.config.detail=null", "score.spread_weight=1"),
    },
    "features": {
        "bands, LPIPS, LPIPS 1/2": (),
        "bands": ("score.lpips=0", "score.lpips_half=0"),
        "bands, LPIPS": ("score.lpips=14", "score.lpips_half=0"),
        "LPIPS, LPIPS 1/2": ("score.bands=0",),
        "bands x 4, LPIPS, LPIPS 1/2": ("score.bands=8",),
    },
    "draws": {
        "4 observations x 2 draws": (),
        "2 observations x 4 draws": ("optim.batch=2", "score.draws=4"),
    },
    "patch": {
        "9 patches of 64": ("data.patch=64", "optim.batch=9"),
        "4 patches of 96": (),
        "2 patches of 136": ("data.patch=136", "optim.batch=2"),
    },
    "noise": {
        "sigma 0.16 (tau 200)": ("chain.tau=200",),
        "sigma 0.25 (tau 292)": ("chain.tau=292",),
        "sigma 0.51 (tau 500)": (),
        "sigma 1 (tau 702)": ("chain.tau=702",),
    },
    "rate": {
        "2e-4": ("optim.learning_rate=2e-4",),
        "8e-4": (),
        "1.6e-3": ("optim.learning_rate=1.6e-3",),
    },
    "size": {
        "0.7 M, from scratch": (SCRATCH,),
        "2 M, from scratch": (SCRATCH, "network.config.channels=[96,176]"),
        "4 M, from scratch": (SCRATCH, "network.config.channels=[128,256]"),
    },
}
"""Variants by what is varied, as changes to the recipe; an empty one is the recipe itself, and is trained once."""

Train = Callable[[Sequence[str], Path, Callable[[Progress], None] | None], Path]
"""(changes to the recipe, folder of the run, what watches it) -> weights."""


class _CountedError(Exception):
    """Ends a run whose first step was counted."""


def operations(run: Train, recipe: Sequence[str], out: Path) -> int:
    """Floating-point operations of one step of a recipe."""
    counted = 0

    def watch(progress: Progress) -> None:
        nonlocal counted
        counted = progress.operations or 0
        raise _CountedError

    with contextlib.suppress(_CountedError):
        run([*recipe, "optim.steps=2", "log.validate=1000000", "log.checkpoint=1000000"], out, watch)
    return counted


def trained(name: str, changes: Sequence[str], options: argparse.Namespace, run: Train) -> NetworkRecord:
    """The record of a variant, which is trained unless it is stored as it would be made now.

    Raises:
        DataError: the folder of the variant holds one that was made otherwise.
    """
    folder = options.out / "-".join(name.replace(",", "").replace("/", "").split())
    partners = (f"partners.restorer={options.bundle}", f"partners.denoiser={options.bundle}")
    base = (*BASE, *partners, f"network.init={options.start}")
    recipe = (*base, *changes)
    plan = {"budget": options.steps, "changes": list(changes), "data": str(options.data.resolve())}
    plan |= {"bundle": str(options.bundle), "start": _identity(options.start), "weights": _identity(options.weights)}
    stored = _stored(folder / "steps.json")
    if stored is not None and {**stored, "steps": 0} != {**plan, "steps": 0}:
        differing = ", ".join(key for key in plan if stored.get(key) != plan[key])
        raise DataError(f"'{folder}' holds a variant that was made with other {differing}: name another --out.")
    if stored is None:
        folder.mkdir(parents=True, exist_ok=True)
        one, other = (operations(run, each, folder / "counted") for each in (base, recipe))
        stored = {**plan, "steps": max(1, round(options.steps * one / other))}
        write_whole(folder / "steps.json", json.dumps(stored).encode())
    steps = stored["steps"]
    weights = folder / "fusion.safetensors"
    if not weights.is_file() or load_network(weights)[1].card["training"]["steps"] != steps:
        run([*recipe, f"optim.steps={steps}", f"log.validate={steps}", "log.checkpoint=100"], folder, None)
    return load_network(weights)[1]


def _identity(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _stored(file: Path) -> dict[str, Any] | None:
    """How a variant was made; None where there is none yet."""
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def row(name: str, record: NetworkRecord) -> list[str | int | float | None]:
    """A variant in the table: at both places of its dial, against the restorer."""
    training = record.card["training"]
    figures = training["validation"]
    dial = validation_dial(record.config.get("detail"))
    cells = [name, f"{record.parameters / 1e6:.2f} M", training["steps"], dial[0]]
    for detail in (dial[0], dial[-1]):
        at = f"_{place_name(detail)}"
        cells += [
            *(f"{figures[metric + at] / figures[metric + '_restored']:.3f}" for metric in ("lpips", "lpips_half")),
            f"{figures['psnr' + at] - figures['psnr_restored']:+.2f}",
            *(f"{figures[band + at]:+.2f}" for band in ("band1", "band2")),
        ]
    return cells


COLUMNS = [
    "variant", "parameters", "steps", "dial from",
    *(f"{what}, {where}" for where in ("there", "at 1") for what in ("LPIPS", "1/2", "dB", "band 1", "band 2")),
]  # fmt: skip


def measure(options: argparse.Namespace) -> Report:
    """Train and judge the variants that were asked for."""
    if options.weights.is_dir():
        options.weights = options.weights / "squeezenet1_1_features.pth"
    for file in (options.start, options.weights):
        if not file.is_file():
            raise DataError(f"There is no file '{file}'.")
    if options.steps < 1:
        raise DataError(f"--steps is {options.steps}; at least 1 is needed.")
    judged = training_metrics(options.weights)

    def run(recipe: Sequence[str], out: Path, watch: Callable[[Progress], None] | None) -> Path:
        return train("fusion", RECIPE, [f"data.clean={options.data}", *recipe], out, watch=watch, **judged)

    report = Report("What is best for a fusion that is trained through its chain", command_line("fusion_study"))
    for group in options.only or VARIANTS:
        rows = []
        for name, changes in VARIANTS[group].items():
            record = trained(name if changes else "the recipe", changes, options, run)
            report.data.setdefault("variants", {})[name] = {"changes": list(changes), "card": record.card}
            rows.append(row(name, record))
        report.tables.append(Table(group, COLUMNS, rows))
    report.intro = [
        f"Every variant has the operations of {options.steps} steps of the recipe {RECIPE} with "
        f"{', '.join(BASE)}, starting with the weights of {options.start} unless it says otherwise. LPIPS at full and "
        "at half scale is over the restorer's, PSNR less the restorer's, and the energy of the two finest Laplacian "
        "bands over that of the truth, as log2, all on 192-pixel crops of 16 photographs held out of training: where "
        "what the fusion sees of the dial begins, or at 0.4 on the straight line for one that does not see it, "
        "and at 1, a sample."
    ]
    return report


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.1 file of LPIPS, or its folder")
    parser.add_argument("--bundle", default="sr4", help="whose restorer and denoiser are used")
    parser.add_argument("--start", type=Path, required=True, help="network file of the fusion that variants begin with")
    parser.add_argument("--steps", type=int, default=250, help="of the recipe; variants have as many operations")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, help="only these groups of variants")
    parser.add_argument("--out", type=Path, default=Path("runs/fusion-study"), help="folder of the runs")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with CSV and JSON beside it")
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(), parse()
    return conclude(lambda: measure(options), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
