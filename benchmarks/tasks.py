"""One table for all tasks: DP-IR against its restorer, the noise control and the input, and the bars of each task.

    python benchmarks/tasks.py --data DATA --weights WEIGHTS [--only deblur] [--write docs/tasks.md]

DATA holds test/Set14 and test/Kodak24, and deblur/gopro_patches, deblur/reds320 and deblur/gopro (real motion blur).
Blurred images and bursts for which there is no real truth are made of Kodak24, which nothing was trained on, always the
same ones. WEIGHTS is the SqueezeNet 1.1 file of LPIPS or a folder that holds it (left out: torchvision downloads it).
The command can be interrupted; with the same --out it goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dp_ir.errors import DataError
from dp_ir.evaluation import Bar, Report, Table, make_metrics, open_dataset
from dp_ir.evaluation.evaluate import evaluate
from dp_ir.evaluation.metric_names import border_of
from dp_ir.evaluation.results import Record, Results
from dp_ir.image import read_image, write_image
from dp_ir.interfaces.progress import bar_of
from dp_ir.tasks import Task, get_task
from dp_ir.tasks.synthesis import synthesise
from reporting import command_line, conclude

CALLS = 8
OURS, ALONE, NOISE, NOISE_HALF, ONE_FRAME = (
    f"DP-IR, {CALLS} steps",
    "restorer",
    "restorer + noise",
    "restorer + noise (half scale)",
    "restorer, one frame",
)
SYNTHETIC = "Kodak24"


@dataclass(frozen=True)
class Plan:
    """What is measured of one task, and what must be reached.

    Args:
        baseline: what there is without a restorer: its name, and the text of the method.
        sets: folders in DATA.
        synthetic: whether observations are also made of Kodak24.
        share: largest LPIPS of DP-IR / LPIPS of its restorer, at both scales.
        noise: largest LPIPS of DP-IR / LPIPS of the noise control, at full and at half scale.
        drop: lowest PSNR of DP-IR - PSNR of its restorer.
        gain: lowest PSNR of the restorer - PSNR of the baseline, on the synthetic set.
        frames: lowest PSNR of the restorer - its own PSNR with one frame, on the synthetic set.
    """

    baseline: tuple[str, str]
    sets: tuple[str, ...]
    synthetic: bool
    share: float
    noise: tuple[float, float]
    drop: float
    gain: float | None = None
    frames: float | None = None


PLANS = {
    "sr4": Plan(("bicubic", "bicubic:4"), ("test/Set14", "test/Kodak24"), False, 0.62, (0.90, 0.75), -1.8),
    "deblur": Plan(
        ("input", "bicubic:1"),
        ("deblur/gopro_patches", "deblur/reds320", "deblur/gopro"),
        True,
        0.75,
        (1.0, 1.0),
        -1.5,
        gain=1.5,
    ),
    "burst": Plan(("bilinear + bicubic", "bicubic:4"), (), True, 0.80, (1.0, 1.0), -1.5, gain=3.0, frames=1.0),
}


class Comparison:
    """The means of one task's comparison.

    Args:
        task: which.
        results: of the comparison.
    """

    def __init__(self, task: Task, results: Results) -> None:
        for record in results.records:
            if record.error is not None:
                raise DataError(f"'{record.method}' failed on '{record.image}' of {record.dataset}: {record.error}")
        if without := next((note for note in results.notes if "has no value" in note), None):
            raise DataError(without)
        self.task, self.results = task, results
        self.methods = [method.name for method in results.methods]

    def mean(self, dataset: str, method: str, metric: str) -> float:
        """Over the images of a data set."""
        return statistics.fmean(record.values[metric] for record in self._records(dataset, method))

    def calls(self, dataset: str, method: str) -> Mapping[str, int]:
        """The most calls of each network for one image."""
        counted: dict[str, int] = {}
        for record in self._records(dataset, method):
            counted = {role: max(count, counted.get(role, 0)) for role, count in {**counted, **record.calls}.items()}
        return counted

    def seconds(self, dataset: str, method: str) -> float | None:
        """Mean of one image; None where nothing was run for it."""
        taken = [record.seconds for record in self._records(dataset, method)]
        return statistics.fmean(second for second in taken if second is not None) if None not in taken else None

    def _records(self, dataset: str, method: str) -> list[Record]:
        return [record for record in self.results.records if (record.dataset, record.method) == (dataset, method)]

    def rows(self) -> list[list[str | float | None]]:
        """Rows of the table."""
        rows: list[list[str | float | None]] = []
        for dataset in self.results.datasets:
            for method in self.methods:
                calls = self.calls(dataset, method)
                seconds = self.seconds(dataset, method)
                lpips = {name: self.mean(dataset, method, name) for name in ("LPIPS", "LPIPS 1/2")}
                rows.append(
                    [
                        self.task.name,
                        dataset,
                        method,
                        " + ".join(f"{count} {role}" for role, count in calls.items()) or None,
                        f"{self.mean(dataset, method, 'PSNR'):.2f}",
                        f"{self.mean(dataset, method, 'PSNR linear'):.2f}" if self.task.takes_bursts else None,
                        f"{self.mean(dataset, method, 'SSIM'):.4f}",
                        *(f"{value:.4f}" for value in lpips.values()),
                        *(f"{lpips[name] / self.mean(dataset, ALONE, name):.3f}" for name in lpips),
                        f"{lpips['LPIPS'] / self.mean(dataset, NOISE, 'LPIPS'):.3f}",
                        f"{lpips['LPIPS 1/2'] / self.mean(dataset, NOISE_HALF, 'LPIPS 1/2'):.3f}",
                        None if seconds is None else f"{seconds:.2f}",
                    ]
                )
        return rows

    def bars(self, plan: Plan) -> list[Bar]:
        """What must be reached, on every data set."""
        bars = []
        errors = ["PSNR", "PSNR linear"] if self.task.takes_bursts else ["PSNR"]
        for dataset in self.results.datasets:
            on = f"{self.task.name}, {dataset}"
            steps = [("DP-IR", "restorer", plan.drop, OURS, ALONE)]
            if plan.synthetic and dataset == SYNTHETIC:
                if plan.gain is not None:
                    steps.append(("restorer", plan.baseline[0], plan.gain, ALONE, plan.baseline[0]))
                if plan.frames is not None:
                    steps.append(("restorer", "one frame", plan.frames, ALONE, ONE_FRAME))
            for better, worse, limit, first, second in steps:
                for metric in errors:
                    gap = self.mean(dataset, first, metric) - self.mean(dataset, second, metric)
                    bars.append(Bar(f"{metric}, {better} - {worse}", on, ">=", limit, gap, "dB"))
            for metric, control, limit in zip(("LPIPS", "LPIPS 1/2"), (NOISE, NOISE_HALF), plan.noise, strict=True):
                ours = self.mean(dataset, OURS, metric)
                share = ours / self.mean(dataset, ALONE, metric)
                bars.append(Bar(f"{metric}, DP-IR / restorer", on, "<=", plan.share, share, digits=3))
                share = ours / self.mean(dataset, control, metric)
                bars.append(Bar(f"{metric}, DP-IR / noise control", on, "<=", limit, share, digits=3))
            most = max(self.calls(dataset, OURS).values(), default=0)
            bars.append(Bar("calls of one network", on, "<=", CALLS, most, digits=0))
        return bars


COLUMNS = [
    "task", "data", "method", "calls", "PSNR", "PSNR linear", "SSIM", "LPIPS", "LPIPS 1/2",
    "LPIPS / restorer", "1/2", "LPIPS / noise", "1/2", "s / image",
]  # fmt: skip


def compare(task: Task, plan: Plan, bundle: str, options: argparse.Namespace) -> Comparison:
    """Run all methods of one task."""
    methods = [
        f"{OURS}={bundle},steps={CALLS}",
        f"{plan.baseline[0]}={plan.baseline[1]}",
        f"{ALONE}=restorer:{bundle}",
        *([f"{ONE_FRAME}=restorer:{bundle},frames=1"] if plan.frames is not None else []),
        f"{NOISE}=noise:{bundle}",
        f"{NOISE_HALF}=noise:{bundle},metric=lpips-half",
    ]
    names = ["psnr", *(["psnr-linear"] if task.takes_bursts else []), "ssim", "lpips", "lpips-half"]
    metrics, _ = make_metrics(names, border=border_of(task), weights=options.weights)
    datasets = [open_dataset(folder, scale=task.scale, degrade=task.degrade) for folder in folders(task, plan, options)]
    with bar_of("{task.description}", "{task.completed}/{task.total}") as progress:
        bar = progress.add_task(task.name, total=None)
        results = evaluate(
            methods,
            datasets,
            out=options.out / task.name,
            metrics=metrics,
            limit=options.limit,
            processes=options.processes,
            watch=lambda step: progress.update(
                bar, completed=step.done, total=step.total or None, description=f"{task.name}, {step.doing}"[-60:]
            ),
        )
    return Comparison(task, results)


def folders(task: Task, plan: Plan, options: argparse.Namespace) -> list[Path]:
    """The data sets of one task, those made here first."""
    found = []
    if plan.synthetic:
        made = options.out / "data" / task.name / SYNTHETIC
        for pair in synthesise(task, options.data / "test" / SYNTHETIC, made, limit=options.limit):
            if pair.error is not None:
                raise DataError(pair.error)
        found.append(made)
    for name in plan.sets:
        folder = options.data / name
        found.append(folder if _has_folders(folder) else _apart(folder, options.out / "data" / task.name / folder.name))
    return found


def _has_folders(folder: Path) -> bool:
    return not folder.is_dir() or any(path.is_dir() for path in folder.iterdir()) or not any(folder.glob("*_blur.*"))


def _apart(folder: Path, out: Path) -> Path:
    """A copy of NAME_blur and NAME_sharp in one folder as two folders."""
    for role in ("blur", "sharp"):
        (out / role).mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob(f"*_{role}.*")):
            write_image(out / role / f"{path.stem.removesuffix(f'_{role}')}.png", read_image(path))
    return out


def measure(options: argparse.Namespace) -> Report:
    """All tasks that were asked for."""
    bundles = dict(text.partition("=")[::2] for text in options.bundle)
    if unknown := bundles.keys() - PLANS.keys():
        raise DataError(f"There is no task '{min(unknown)}': --bundle takes TASK=SOURCE with {', '.join(PLANS)}.")
    report = Report("All tasks", command_line("tasks"))
    rows: list[list[str | float | None]] = []
    for name in options.only or PLANS:
        task, plan = get_task(name), PLANS[name]
        comparison = compare(task, plan, bundles.get(name, name), options)
        rows += comparison.rows()
        report.bars += comparison.bars(plan)
        report.state(*(f"{name}: {metric.protocol}" for metric in comparison.results.metrics))
        report.state(*(f"{name}: {note}" for note in comparison.results.notes))
        report.data[name] = [vars(record) for record in comparison.results.records]
    report.tables.append(Table("Methods", COLUMNS, rows))
    report.intro = [
        f"Every network that ships, on images that none was trained on. {SYNTHETIC} of deblur and burst is synthetic: "
        "`dp-ir degrade TASK` makes it of the photographs; the other sets are real or published. LPIPS is told against "
        "the restorer and against the restorer plus the white noise that is best for it, at full and at half scale.",
        *([f"Only the first {options.limit} images of each set were used."] if options.limit else []),
    ]
    return report


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with test and deblur")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 file of LPIPS, or its folder; else downloaded")
    parser.add_argument("--out", type=Path, default=Path("runs/tasks"), help="folder for images and records")
    parser.add_argument("--only", nargs="+", choices=PLANS, help="measure only these tasks")
    parser.add_argument("--bundle", nargs="+", default=[], metavar="TASK=SOURCE", help="instead of what ships")
    parser.add_argument("--limit", type=int, help="only the first images of each set, for a quick look")
    parser.add_argument("--processes", type=int, default=1, help="how many work side by side")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(), parse()
    return conclude(lambda: measure(options), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
