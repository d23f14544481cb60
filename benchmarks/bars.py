"""One table of bars for all that ships: DP-IR against its restorer, the noise control, other restorers, and time.

    python benchmarks/bars.py --data DATA --weights WEIGHTS [--only SECTION ...] [--write results/bars.md]

DATA holds test/ (Set5 and Set14, each HR and LR_x4, CBSD68, Kodak24) and deblur/ (reds320, gopro, gopro_frames,
gopro_patches). Blurred images, bursts and photos as people have them are
also made of Kodak24 and CBSD68, which nothing was trained on, always the same ones.
WEIGHTS is a folder with the SqueezeNet 1.1 file of LPIPS (left out: torchvision downloads it) and, for the section
swap, craft_x4.pth and rlfn_x4.pth of those projects. What needs data or weights that are not there is left out, which
is said. The command can be interrupted; with the same --out it goes on where it was. Everything runs on the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bar_measures import MEASURES, LeftOutError, metrics_of
from bar_plans import ALONE, CALLS, DEGRADED, NOISE, NOISE_HALF, SECTIONS, Plan
from bar_tasks import bar_task
from dp_ir.checkpoints.bundle import list_bundles
from dp_ir.errors import DataError, MissingExtraError
from dp_ir.evaluation import Record, Report, Results, Table, Target, open_dataset
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.evaluation.runner.resources import FLOPS_PROTOCOL
from dp_ir.image import read_image, write_image
from dp_ir.interfaces.progress import bar_of
from dp_ir.runtime.allocator import keep_freed_memory
from dp_ir.tasks import Task
from dp_ir.tasks.synthesis import synthesise
from reporting import command_line, conclude

BUNDLES = ("sr4", "photo", "clean", "deblur", "burst", "sr4-estimate")
# Columns of ratios: head, metric, and the method that divides.
RATIOS = (
    ("LPIPS / restorer", "LPIPS", ALONE),
    ("LPIPS 1/2 / restorer", "LPIPS 1/2", ALONE),
    ("LPIPS / noise", "LPIPS", NOISE),
    ("LPIPS 1/2 / noise", "LPIPS 1/2", NOISE_HALF),
)


class Comparison:
    """What one plan measured.

    Args:
        plan: what was asked for.
        results: what came of it.
    """

    def __init__(self, plan: Plan, results: Results) -> None:
        self.plan, self.results = plan, results

    def value(self, dataset: str, method: str, metric: str) -> float | None:
        """Of a data set: the mean over its images, of calls the most; None where an image has none."""
        records = self._records(dataset, method)
        if any(record.error is not None for record in records):
            return None
        if metric.startswith(CALLS):
            role = metric.removeprefix(CALLS)
            return max(record.calls.get(role, 0) for record in records)
        of_set = [record.values for record in self.results.sets if (record.dataset, record.method) == (dataset, method)]
        if of_set and metric in of_set[0]:
            return of_set[0][metric]
        values = [record.values.get(metric) for record in records]
        known = [value for value in values if value is not None]
        return statistics.fmean(known) if known and len(known) == len(values) else None

    def _records(self, dataset: str, method: str) -> list[Record]:
        return [record for record in self.results.records if (record.dataset, record.method) == (dataset, method)]

    def bars(self) -> list[Target]:
        """What must be reached, on every data set that there is."""
        bars = []
        for rule in self.plan.rules:
            for dataset in self.results.datasets:
                if not rule.sets or dataset in rule.sets:
                    on = ", ".join(filter(None, (self.plan.task, dataset, self.plan.partner)))
                    measured = rule.measured(partial(self.value, dataset))
                    bars.append(Target(rule.what, on, rule.relation, rule.limit, measured, rule.unit, rule.digits))
        return bars

    def table(self) -> Table:
        """One row per data set and method."""
        names = [method.name for method in self.results.methods]
        measured = {metric.name for metric in self.results.metrics}
        ratios = [ratio for ratio in RATIOS if ratio[1] in measured and ratio[2] in names]
        rows = [
            [dataset, name, *self._cells(dataset, name, [ratio[1:] for ratio in ratios])]
            for dataset in self.results.datasets
            for name in names
        ]
        heads = [metric.name for metric in self.results.metrics] + [ratio[0] for ratio in ratios]
        return Table(self.plan.title, ["data", "method", "calls", *heads], rows)

    def _cells(self, dataset: str, method: str, ratios: Sequence[tuple[str, str]]) -> list[str | None]:
        value = partial(self.value, dataset)
        roles = dict.fromkeys(role for record in self._records(dataset, method) for role in record.calls)
        calls = " + ".join(f"{value(method, CALLS + role)} {role}" for role in roles)
        shown = [_shown(value(method, metric.name), metric.digits) for metric in self.results.metrics]
        for metric, other in ratios:
            own, divisor = value(method, metric), value(other, metric)
            shown.append(_shown(None if own is None or not divisor else own / divisor, 3))
        return [calls or None, *shown]


def _shown(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


# ---- data and methods ------------------------------------------------------------------------------------------------


def compare(report: Report, options: argparse.Namespace, bundles: Mapping[str, str], *, plan: Plan) -> None:
    """Run the methods of a plan; raises LeftOutError where what it needs is not there."""
    task = bar_task(plan.task)
    if plan.needs and not (options.weights and (options.weights / plan.needs).is_file()):
        raise LeftOutError(f"There is no file '{plan.needs}' in the folder of --weights.")
    metrics, set_metrics = metrics_of(plan.metrics, task, options)
    found = folders(task, plan, options, report)
    texts = {}
    for name, text in plan.methods.items():
        try:
            texts[name] = text.format_map({**bundles, "weights": options.weights})
        except KeyError as error:
            report.state(f"{plan.title}: '{name}' is left out: there is no bundle {error}.")
    with bar_of("{task.description}", "{task.completed}/{task.total}") as progress:
        bar = progress.add_task(plan.title, total=None)
        results = evaluate(
            [f"{name}={text}" for name, text in texts.items()],
            [open_dataset(folder, scale=task.scale, degrade=task.degrade) for folder in found],
            out=options.out / plan.out,
            metrics=metrics,
            set_metrics=set_metrics,
            limit=options.limit,
            processes=options.processes,
            device="cpu",
            watch=lambda step: progress.update(
                bar, completed=step.done, total=step.total or None, description=f"{plan.title}, {step.doing}"[-60:]
            ),
        )
    comparison = Comparison(plan, results)
    report.targets += comparison.bars()
    report.tables.append(comparison.table())
    report.state(*(f"{plan.task}: {metric.protocol}" for metric in results.metrics))
    report.state(*(f"{plan.title}: {note}" for note in results.notes if note != FLOPS_PROTOCOL))  # none are shown
    report.state(
        *(f"{plan.title}: {r.method} on {r.image} of {r.dataset}: {r.error}" for r in results.records if r.error)
    )
    report.data[plan.title] = {
        "records": [vars(record) for record in results.records],
        "sets": [
            {**vars(record), "ranks": {part: vars(own) for part, own in record.ranks.items()}}
            for record in results.sets
        ],
    }


def folders(task: Task, plan: Plan, options: argparse.Namespace, report: Report) -> list[Path]:
    """The data sets of a plan that there are, those made here first; raises LeftOutError where there are none."""
    found, missing = [], []
    for name in plan.sets:
        source = options.data / name.removeprefix(DEGRADED)
        made = options.out / "data" / task.name / source.name
        if not source.is_dir():
            missing.append(source.name)
        elif name.startswith(DEGRADED):
            for pair in synthesise(task, source, made, limit=options.limit):
                if pair.error is not None:
                    raise DataError(pair.error)
            found.append(made)
        else:
            found.append(_apart(source, made) if any(source.glob("*_blur.*")) else source)
    if not found:
        raise LeftOutError(f"None of its data sets ({', '.join(missing)}) is in '{options.data}'.")
    if missing:
        report.state(f"{plan.title}: without {', '.join(missing)}, which '{options.data}' does not hold.")
    return found


def _apart(folder: Path, out: Path) -> Path:
    """A copy of NAME_blur and NAME_sharp in one folder as two folders."""
    for role in ("blur", "sharp"):
        (out / role).mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob(f"*_{role}.*")):
            write_image(out / role / f"{path.stem.removesuffix(f'_{role}')}.png", read_image(path))
    return out


# ---- the report ------------------------------------------------------------------------------------------------------


def measure(options: argparse.Namespace) -> Report:
    """All sections that were asked for."""
    if not options.data.is_dir():
        raise DataError(f"There is no folder '{options.data}' (--data).")
    if options.limit is not None and options.limit < 1:
        raise DataError(f"--limit is {options.limit}; at least 1 is needed.")
    report = Report("Bars", command_line("bars"))
    bundles = known_bundles(options.bundle)
    for section in options.only or SECTIONS:
        parts: dict[str, Callable[[Report, argparse.Namespace, Mapping[str, str]], None]] = {
            plan.title: partial(compare, plan=plan) for plan in SECTIONS[section]
        }
        for title, part in {**parts, **MEASURES.get(section, {})}.items():
            try:
                part(report, options, bundles)
            except (LeftOutError, MissingExtraError) as error:
                report.state(f"{title} is left out: {error}")
    if not report.targets:
        raise DataError(f"Nothing could be measured. {' '.join(report.protocols)}")
    report.intro = [
        "What ships, on images that none of its networks was trained on. Kodak24 of deblur and burst, and all "
        "sets of photo and clean, are synthetic: `dp-ir degrade TASK` makes them of the photographs, "
        "`benchmarks/bar_tasks.py` those of one kind of file; the other sets are real or published. LPIPS is told "
        "against the restorer and against the restorer plus the white noise that is best for it, at full and at half "
        "scale. Without another word DP-IR is the bundle as it ships; what is left out for want of data or weights is "
        "named under Protocols.",
        *([f"Only the first {options.limit} images of each set were used."] if options.limit else []),
    ]
    return report


def known_bundles(stated: Sequence[str]) -> dict[str, str]:
    """Source by name, of those that ship and those that were stated."""
    given = dict(text.partition("=")[::2] for text in stated)
    if (unknown := given.keys() - set(BUNDLES)) or "" in given.values():
        wrong = min(unknown) if unknown else next(name for name, source in given.items() if not source)
        raise DataError(f"--bundle names '{wrong}': it takes NAME=SOURCE with NAME of {', '.join(BUNDLES)}.")
    return {**{name: name for name in BUNDLES if name in list_bundles()}, **given}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with test and deblur")
    parser.add_argument("--weights", type=Path, help="folder with the SqueezeNet 1.1 file of LPIPS; else downloaded")
    parser.add_argument("--out", type=Path, default=Path("runs/bars"), help="folder for images and records")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--bundle", nargs="+", default=[], metavar="NAME=SOURCE", help="instead of what ships")
    parser.add_argument("--limit", type=int, help="only the first images of each set, for a quick look")
    parser.add_argument("--processes", type=int, default=1, help="how many work side by side")
    parser.add_argument("--repeats", type=int, default=7, help="calls timed")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with CSV and JSON beside it")
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(), parse()
    keep_freed_memory()  # as `dp-ir restore` does
    return conclude(lambda: measure(options), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
