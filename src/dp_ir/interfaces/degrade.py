"""`dp-ir degrade`: synthetic test and training sets from clean images. Heavy imports wait until it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def degrade(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What the images are degraded for, such as sr4.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="A folder of clean images, or one.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder of the set.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one gives other observations.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only so many images.")] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            "--crop", min=1, metavar="SIDE", help="Use a central square of each.", show_default="whole images"
        ),
    ] = None,
    average: Annotated[
        int | None,
        typer.Option(
            "--average",
            min=1,
            metavar="FRAMES",
            help="IN holds frames of a clip of a high frame rate, or folders of such frames: blur is the mean of so "
            "many, an odd number.",
        ),
    ] = None,
) -> None:
    """Write a synthetic set: OUT/gt and OUT/lq, or OUT/gt and OUT/bursts. What is there already is not made again."""
    from dp_ir.errors import DataError
    from dp_ir.interfaces.progress import bar_of
    from dp_ir.tasks import get_task
    from dp_ir.tasks.synthesis import clean_images, synthesise

    chosen = get_task(task)
    if average is not None:
        if crop is not None or chosen.scale != 1:
            raise DataError(
                f"--average was given with {'--crop' if crop is not None else f'the task {task}'}: it makes blurred "
                "frames as large as those of the clip, for a task that keeps their size, such as deblur."
            )
        _average(source, out, average, limit)
        return
    total = len(list(clean_images(source, out))[:limit])
    made, existed, failed = 0, 0, 0
    with bar_of("{task.description}", "{task.completed}/{task.total}") as progress:
        bar = progress.add_task("", total=total)
        for pair in synthesise(chosen, source, out, seed=seed, limit=limit, crop=crop):
            progress.update(bar, advance=1, description=pair.name[-60:])
            if pair.error is not None:
                failed += 1
                typer.echo(f"dp-ir: {pair.error}", err=True)
            existed += pair.existed
            made += pair.error is None and not pair.existed
    counts = {"made": made, "there already": existed, "failed": failed}
    typer.echo(f"{out}: {', '.join(f'{count} {what}' for what, count in counts.items() if count)}")
    if failed:
        raise typer.Exit(1)


def _average(source: Path, out: Path, window: int, limit: int | None) -> None:
    from dp_ir.degradation.frame_averaging import average_clips
    from dp_ir.interfaces.progress import bar_of

    with bar_of("{task.description}", "{task.completed}") as progress:
        bar = progress.add_task("", total=None)
        pairs = average_clips(
            source,
            out,
            window=window,
            limit=limit,
            watch=lambda name: progress.update(bar, advance=1, description=name[-60:]),
        )
    typer.echo(f"{out}: {pairs} pairs, each the mean of {window} frames")
