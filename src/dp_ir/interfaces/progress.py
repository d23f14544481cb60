"""Progress of long jobs on standard error: a bar with the time that is left, and nothing where no one looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dp_ir.diffusion.samplers import StepInfo
from dp_ir.image.crop import Box
from dp_ir.restoration.batch import Job, Outcome, Plan, run_batch
from dp_ir.restoration.files import restore_file
from dp_ir.restoration.pipeline import Restoration


def restore_with_progress(
    plan: Plan,
    load: Callable[[], Restoration],
    *,
    settings: Mapping[str, Any],
    crop: Box | None = None,
    linear: bool = False,
) -> Iterator[Outcome]:
    """Carry out a plan, with a bar over the files that moves on with every step.

    Args:
        plan: from `plan_batch`.
        load: reads the networks; called only if there is something to restore.
        settings: further keyword arguments of `restore_file`.
        crop: restore only this part.
        linear: see `dp_ir.restoration.files.pictures_of`.

    Yields:
        What became of each input, those settled in the plan first.
    """
    yield from plan.settled
    if not plan.jobs:
        return
    restoration = load()
    done = 0
    with bar_of(TextColumn("{task.description}"), TextColumn("{task.fields[count]}")) as progress:
        task = progress.add_task("", total=len(plan.jobs), count="")

        def process(job: Job) -> None:
            progress.update(task, description=job.source.name, count=f"{done + 1}/{len(plan.jobs)}")
            calls = 0

            def follow(info: StepInfo) -> None:
                nonlocal calls
                calls += 1
                progress.update(task, completed=done + calls / (info.steps * job.samples))

            restore_file(restoration, job, crop=crop, linear=linear, callback=follow, **settings)

        for outcome in run_batch(plan.jobs, process):
            done += 1
            progress.update(task, completed=done)
            yield outcome


def train_with_progress(kind: str, recipe: str, overrides: list[str], out: Path, *, lpips: Path | None) -> Path:
    """Train a network, with a bar over the steps and a line per validation; see `dp_ir.training.run.train`."""
    from dp_ir.evaluation.lpips import LPIPS, load_lpips
    from dp_ir.evaluation.metrics import PSNR
    from dp_ir.training.run import train
    from dp_ir.training.trainer import Progress as Step

    metrics: dict[str, Any] = {"psnr": PSNR()}
    if lpips is not None:
        metrics["lpips"] = LPIPS(load_lpips(lpips))
    with bar_of(
        TextColumn(f"Training the {kind}"), MofNCompleteColumn(), TextColumn("{task.fields[loss]}")
    ) as progress:
        task = progress.add_task("", total=None, loss="", visible=False)

        def follow(step: Step) -> None:
            progress.update(task, total=step.steps, completed=step.step, visible=True)
            if step.loss is not None:
                progress.update(task, loss=f"loss {step.loss:.4g}")
            if step.figures:
                figures = ", ".join(f"{name} {value:.4g}" for name, value in step.figures.items())
                typer.echo(f"step {step.step}: {figures}")

        return train(kind, recipe, overrides, out, metrics=metrics, watch=follow)


def bar_of(*texts: Any) -> Progress:
    """A bar on standard error with these columns before it; nothing where no one looks."""
    console = Console(stderr=True)
    return Progress(
        *texts,
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines meant for a file or a pipe go there, whatever the bar does
    )
