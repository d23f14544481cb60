"""Progress of long jobs on standard error: a bar with the time that is left, and nothing where no one looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dp_ir.batch.plan import Job, Outcome, run_batch
from dp_ir.batch.worker import Worker
from dp_ir.interfaces.words import printable


def restore_with_progress(jobs: Sequence[Job], worker: Worker) -> Iterator[Outcome]:
    """Handle jobs one after the other, with a bar over the files that moves on with every tile.

    Args:
        jobs: from `plan_batch`.
        worker: what handles them; asked to load its networks before the bar appears.

    Yields:
        What became of each.
    """
    worker.prepare()
    done = 0
    with bar_of("{task.description}", "{task.fields[count]}") as progress:
        task = progress.add_task("", total=len(jobs), count="")

        def process(job: Job) -> dict[str, Any]:
            progress.update(task, description=printable(job.source.name), count=f"{done + 1}/{len(jobs)}")
            return worker(job, progress=lambda share: progress.update(task, completed=done + share))

        for outcome in run_batch(jobs, process):
            done += 1
            progress.update(task, completed=done)
            yield outcome


def counted_with_progress(outcomes: Iterable[Outcome], total: int) -> Iterator[Outcome]:
    """Pass on what became of each input, with a bar over them."""
    with bar_of("{task.description}", MofNCompleteColumn()) as progress:
        task = progress.add_task("", total=total)
        for outcome in outcomes:
            progress.update(task, advance=1, description=printable(outcome.source.name))
            yield outcome


def train_with_progress(
    kind: str, recipe: str, overrides: list[str], out: Path, *, lpips: Path | None
) -> tuple[Path, bool]:
    """Train a network, with a bar over the steps and a line per validation; see `dp_ir.training.run.train`.

    Returns:
        The weight file, and whether this process saw a step of training.
    """
    from dp_ir.evaluation.metrics.training_metrics import training_metrics
    from dp_ir.training.run import train
    from dp_ir.training.trainer import Progress as Step

    judged, trained = training_metrics(lpips), False
    with bar_of(
        TextColumn(f"Training the {kind}"), MofNCompleteColumn(), TextColumn("{task.fields[loss]}")
    ) as progress:
        task = progress.add_task("", total=None, loss="", visible=False)

        def follow(step: Step) -> None:
            nonlocal trained
            trained = True
            progress.update(task, total=step.steps, completed=step.step, visible=True)
            if step.loss is not None:
                speed = "" if step.share is None else f", {step.share:.0%} of a matrix product's speed"
                progress.update(task, loss=f"loss {step.loss:.4g}{speed}")
            if step.figures:
                figures = ", ".join(f"{name} {value:.4g}" for name, value in step.figures.items())
                typer.echo(f"step {step.step}: {figures}")

        weights = train(kind, recipe, overrides, out, watch=follow, **judged)
    return weights, trained


def bar_of(*texts: Any) -> Progress:
    """A bar on standard error with these columns before it; nothing where no one looks."""
    console = Console(stderr=True)
    return Progress(
        *(TextColumn(text, markup=False) if isinstance(text, str) else text for text in texts),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines meant for a file or a pipe go there, whatever the bar does
    )
