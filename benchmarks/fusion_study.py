"""What is best for a fusion that is trained through its chain: variants of its recipe, on equal training time.

    python benchmarks/fusion_study.py --data PHOTOS --weights WEIGHTS --minutes 6 [--only calls lambda] \
        [--write docs/fusion_study.md]

PHOTOS is a folder of training photographs, WEIGHTS the SqueezeNet 1.1 file of LPIPS. Every variant begins with the
weights of an estimate-trained fusion, unless it says otherwise, and trains for so many minutes of one thread: how many
steps that is comes from the time of a few steps. Everything is judged on photographs that are held out of training. A
run that was interrupted goes on where it was; what is done in --out is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from dp_ir.checkpoints.network_file import NetworkRecord, load_network
from dp_ir.evaluation import Report, Table
from dp_ir.evaluation.judges import judges
from dp_ir.training.run import train
from reporting import command_line, conclude

RECIPE = "fusion-sr4"
BASE = ("data.patch=96", "optim.warm_up=50", "optim.ema=0.98", "optim.decay=1.0", "log.every=20")
TIMED = 60
"""Steps that a variant is timed with, the first third of them for warming up."""

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
        "bands x 4, LPIPS, LPIPS 1/2": ("score.bands=4",),
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

DIAL = ("0.4", "1")


Train = Callable[[Sequence[str], Path], Path]


def steps_in(minutes: float, run: Train, recipe: Sequence[str], out: Path) -> int:
    """How many steps of a recipe fit into so many minutes, by the time of a few."""
    run([*recipe, f"optim.steps={TIMED}", "log.validate=1000000", "log.checkpoint=1000000"], out)
    with (out / "log.csv").open() as file:
        seconds = {int(row["step"]): float(row["seconds"]) for row in csv.DictReader(file)}
    first = min(seconds)
    return max(1, round(60 * minutes * (TIMED - first) / (seconds[TIMED] - seconds[first])))


def trained(name: str, changes: Sequence[str], options: argparse.Namespace, run: Train) -> NetworkRecord:
    """The record of a variant, which is trained unless it is stored."""
    folder = options.out / "-".join(name.replace(",", "").replace("/", "").split())
    partners = (f"partners.restorer={options.bundle}", f"partners.denoiser={options.bundle}")
    recipe = (*BASE, *partners, f"network.init={options.start}", *changes)
    plan = folder / "steps.json"
    if not plan.is_file():
        steps = steps_in(options.minutes, run, recipe, folder / "timed")
        plan.write_text(json.dumps({"minutes": options.minutes, "changes": list(changes), "steps": steps}), "utf-8")
    steps = json.loads(plan.read_text("utf-8"))["steps"]
    file = folder / "fusion.safetensors"
    if not file.is_file() or load_network(file)[1].card["training"]["steps"] != steps:
        run([*recipe, f"optim.steps={steps}", f"log.validate={steps}", "log.checkpoint=100"], folder)
    return load_network(file)[1]


def row(name: str, record: NetworkRecord) -> list[str | int | float | None]:
    """A variant in the table: at both places of the dial, against the restorer."""
    training = record.card["training"]
    figures = training["validation"]
    cells = [name, f"{record.parameters / 1e6:.2f} M", training["steps"], f"{training['seconds'] / 60:.1f}"]
    for detail in DIAL:
        at = f"_detail{detail}"
        cells += [
            *(f"{figures[metric + at] / figures[metric + '_restored']:.3f}" for metric in ("lpips", "lpips_half")),
            f"{figures['psnr' + at] - figures['psnr_restored']:+.2f}",
            *(f"{figures[band + at]:+.2f}" for band in ("band1", "band2")),
        ]
    return cells


COLUMNS = [
    "variant", "parameters", "steps", "minutes",
    *(f"{what}, detail {detail}" for detail in DIAL for what in ("LPIPS", "1/2", "dB", "band 1", "band 2")),
]  # fmt: skip


def measure(options: argparse.Namespace) -> Report:
    """Train and judge the variants that were asked for."""
    judged = judges(options.weights)

    def run(recipe: Sequence[str], out: Path) -> Path:
        return train("fusion", RECIPE, [f"data.clean={options.data}", *recipe], out, **judged)

    report = Report("What is best for a fusion that is trained through its chain", command_line("fusion_study"))
    for group in options.only or VARIANTS:
        rows = []
        for name, changes in VARIANTS[group].items():
            record = trained(name if changes else "the recipe", changes, options, run)
            report.data.setdefault("variants", {})[name] = {"changes": list(changes), "card": record.card}
            rows.append(row(name, record))
        report.tables.append(Table(group, COLUMNS, rows))
    report.intro = [
        f"Every variant trained for {options.minutes:g} minutes of one thread, from the recipe {RECIPE} with "
        f"{', '.join(BASE)}, starting with the weights of {options.start} unless it says otherwise. LPIPS at full and "
        "at half scale is over the restorer's, PSNR less the restorer's, and the energy of the two finest Laplacian "
        "bands over that of the truth, as log2, all on 192-pixel crops of 16 photographs that are held out of training."
    ]
    return report


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.1 file of LPIPS, or its folder")
    parser.add_argument("--bundle", default="sr4", help="whose restorer and denoiser are used")
    parser.add_argument("--start", required=True, help="network file of the fusion that variants begin with")
    parser.add_argument("--minutes", type=float, default=6.0, help="of training for each variant")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, help="only these groups of variants")
    parser.add_argument("--out", type=Path, default=Path("runs/fusion-study"), help="folder of the runs")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(), parse()
    return conclude(lambda: measure(options), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
