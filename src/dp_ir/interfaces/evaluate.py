"""`dp-ir evaluate`: methods on data sets, as tables, files and a page. Heavy imports wait until it is called."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dp_ir.evaluation.report.document import Report
    from dp_ir.evaluation.runner.results import Results
    from dp_ir.tasks.task import Task

_NO_TASK = "none"
_PIPED_WIDTH = 200  # columns, where no terminal says how wide it is
_METHODS = (
    "[NAME=][KIND:]SOURCE[,KEY=VALUE]..., such as sr4, late=sr4,tau=300, restorer:sr4, noise:sr4, bicubic, a weight "
    "file, a folder of images that another program made, or FILE.py:FUNCTION."
)


def evaluate(
    methods: Annotated[list[str], typer.Argument(metavar="METHOD", help=_METHODS)],
    data: Annotated[
        list[Path],
        typer.Option(
            "--data", "-d", metavar="DIR", help="A data set; several with several --data.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder for images, tables and the page.")],
    task: Annotated[
        str,
        typer.Option("--task", metavar="TASK", help=f"What observations are, or {_NO_TASK} for paired files alone."),
    ] = "sr4",
    split: Annotated[
        str | None,
        typer.Option("--split", help="Part of the data sets, such as valid.", show_default="what is tested on"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", metavar="NAME", help="psnr-y, lpips, bands, ...", show_default="the usual six"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="DIR", help="Folder with the backbones of metrics.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=2, help="Samples of each image, for spread-error and psnr-mean.", show_default="8"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use only the first N images of each data set.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the first image of each data set.")] = 0,
    processes: Annotated[int, typer.Option("--processes", "-j", min=1, help="Number of worker processes.")] = 1,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference", metavar="NAME", help="Method that the others are tested against.", show_default="the first"
        ),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
    precision: Annotated[
        str, typer.Option("--precision", help="Precision of the networks: auto, float32 or bfloat16.")
    ] = "auto",
) -> None:
    """Compare methods on data sets: tables, CSV, JSON, LaTeX and a page. A run that was interrupted goes on."""
    from dp_ir.evaluation.report.output_files import to_report

    options: dict[str, Sequence[Any]] = {
        "--data": data, "--out": [out], "--task": [task], "--split": [split], "--metric": metric or [],
        "--weights": [weights], "--samples": [samples], "--limit": [limit], "--seed": [seed or None],
        "--processes": [None if processes == 1 else processes], "--reference": [reference],
        "--device": [None if device == "auto" else device], "--precision": [None if precision == "auto" else precision],
    }  # fmt: skip
    results = compare(
        methods,
        data,
        out,
        task=task,
        split=split,
        metric=metric,
        weights=weights,
        samples=samples,
        limit=limit,
        seed=seed,
        processes=processes,
        reference=reference,
        device=device,
        precision=precision,
        command=command_line("evaluate", methods, options),
    )
    write(results, to_report(results, reference=reference), out, reference=reference)
    say_what_failed(results)


def compare(
    methods: Sequence[str],
    data: Sequence[Path],
    out: Path,
    *,
    task: str = "sr4",
    split: str | None = None,
    metric: Sequence[str] | None = None,
    weights: Path | None = None,
    samples: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    processes: int = 1,
    reference: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    command: str = "",
) -> Results:
    """Run `dp_ir.evaluation.evaluate` with a progress bar; arguments are the options of the command."""
    from dp_ir.datasets.opening import open_datasets
    from dp_ir.evaluation.metrics.names import border_of, default_metrics, make_metrics
    from dp_ir.evaluation.metrics.spread import SAMPLES
    from dp_ir.evaluation.runner.comparison import evaluate as run
    from dp_ir.interfaces.progress import bar_of
    from dp_ir.restoration.precision import pick_device, uses_bfloat16
    from dp_ir.tasks.registry import get_task

    where = pick_device(device)
    uses_bfloat16(precision, where)  # type: ignore[arg-type]  # says so if there is no such precision
    chosen: Task | None = None if task == _NO_TASK else get_task(task)
    names = _wanted(metric or default_metrics(chosen), methods, reference)
    scale, degrade = (None, None) if chosen is None else (chosen.scale, chosen.degrade)
    datasets = open_datasets(data, scale=scale, degrade=degrade, split=split)
    image_metrics, set_metrics = make_metrics(
        names, border=border_of(chosen), weights=weights, device=where, samples=samples or SAMPLES
    )
    with bar_of("{task.description}", "{task.completed}/{task.total}") as progress:
        bar = progress.add_task("reading", total=None)
        return run(
            methods,
            datasets,
            out=out,
            metrics=image_metrics,
            set_metrics=set_metrics,
            seed=seed,
            limit=limit,
            processes=processes,
            command=command,
            watch=lambda step: progress.update(
                bar, completed=step.done, total=step.total or None, description=step.doing[-60:]
            ),
            device=device,
            precision=precision,
        )


def write(
    results: Results, report: Report, out: Path, *, reference: str | None = None, plots: Sequence[Path] | None = None
) -> None:
    """Print a report, and write all files, see `output_files.write_all`."""
    from rich.console import Console

    from dp_ir.evaluation.report.output_files import write_all

    report.print(Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH))
    for path in write_all(results, report, out, reference=reference, plots=plots):
        typer.echo(f"Wrote {path}")


def _wanted(metrics: Sequence[str], methods: Sequence[str], reference: str | None) -> list[str]:
    """Names of metrics, those among them that noise controls are tuned for; refuses an unknown reference early."""
    from dp_ir.checkpoints.architectures import nearest
    from dp_ir.errors import DataError
    from dp_ir.evaluation.methods.parsing import split_method

    parts = [split_method(text) for text in methods]
    known = [part.name for part in parts]
    if reference is not None and reference not in known:
        raise DataError(
            f"The reference {reference!r} is none of the methods{nearest(reference, known)}: name one of "
            f"{', '.join(known)}."
        )
    tuned = [
        part.settings.get("metric", "lpips") for part in parts if part.kind == "noise" and "std" not in part.settings
    ]
    return [name for text in metrics for name in text.split(",")] + tuned


def command_line(command: str, arguments: Sequence[str], options: dict[str, Sequence[Any]]) -> str:
    """The command as a reader would type it; options without a value are left out."""
    given = [(key, str(value)) for key, values in options.items() for value in values if value is not None]
    return shlex.join(["dp-ir", command, *arguments, *(text for pair in given for text in pair)])


def say_what_failed(results: Results) -> None:
    """One line per method and reason; exit status 1 if there is any."""
    failures = Counter((record.method, record.error) for record in results.records if record.error is not None)
    for (method, reason), count in failures.items():
        typer.echo(f"dp-ir: {method} failed on {count} image{'s' if count > 1 else ''}: {reason}", err=True)
    if failures:
        raise typer.Exit(1)
