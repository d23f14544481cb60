"""`dp-ir ablate`: the paper's experiments on own networks and data. Heavy imports wait until it is called."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dp_ir.interfaces.evaluate import command_line, compare, say_what_failed, write

if TYPE_CHECKING:
    from dp_ir.evaluation.report.document import Table


class StudyName(str, Enum):
    """The studies of `dp_ir.evaluation.ablations.studies.STUDIES`, named here so that help needs no torch."""

    DETAIL = "detail"
    TAU = "tau"
    STEPS = "steps"
    SAMPLER = "sampler"
    START = "start"
    FUSION = "fusion"
    SWAP = "swap"
    RESTORER = "restorer"
    DENOISER = "denoiser"


_STUDIES = (
    "detail: the dial from mean to sample. tau: where sampling starts, up to T. steps: calls. sampler: DDPM, DDIM and "
    "DPM-Solver++ with and without the jump. start: the jump against CCDF and SDEdit. fusion: forms of the fusion, "
    "trained on equal terms. swap: other networks. restorer, denoiser: how good they must be."
)


def ablate(
    study: Annotated[StudyName, typer.Argument(metavar="STUDY", help=_STUDIES)],
    data: Annotated[
        list[Path],
        typer.Option("--data", "-d", metavar="DIR", help="A data set to test on; several with several --data."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="Folder for images, tables and plots.")],
    values: Annotated[
        list[float] | None,
        typer.Argument(metavar="VALUE", help="The grid, such as steps or taus.", show_default="the study's own"),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            "--bundle",
            "-b",
            help="A shipped name, a folder, or a hub id.",
            show_default="sr4 for detail and swap, sr4-estimate, whose fusion serves any chain, for the others",
        ),
    ] = None,
    restorer: Annotated[
        list[str] | None,
        typer.Option("--restorer", metavar="NAME=SOURCE", help="Another restorer, for swap, restorer."),
    ] = None,
    denoiser: Annotated[
        list[str] | None,
        typer.Option("--denoiser", metavar="NAME=SOURCE", help="Another denoiser, for swap, denoiser."),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option("--photos", metavar="DIR", help="Photographs to train the fusion forms on.")
    ] = None,
    train_steps: Annotated[
        int, typer.Option("--train-steps", min=1, help="Training steps of every fusion form.")
    ] = 6000,
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", metavar="KEY=VALUE", help="A change to the forms' recipe.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", "-m", metavar="NAME", help="psnr-y, lpips, fid, ...", show_default="the usual six"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="DIR", help="Folder with the backbones of metrics.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Use only the first N images of each data set.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the first image of each data set.")] = 0,
    processes: Annotated[int, typer.Option("--processes", "-j", min=1, help="Number of worker processes.")] = 1,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
) -> None:
    """Repeat one of the paper's experiments: a table, files as of `dp-ir evaluate`, and plots. It can be continued."""
    from dataclasses import replace

    from dp_ir.evaluation.ablations.fusion_forms import estimate_table
    from dp_ir.evaluation.ablations.studies import STUDIES, Subject
    from dp_ir.evaluation.ablations.study_plots import draw
    from dp_ir.evaluation.report.output_files import to_report
    from dp_ir.tasks.registry import get_task

    if bundle is None:
        bundle = "sr4" if study in (StudyName.DETAIL, StudyName.SWAP) else "sr4-estimate"
    subject = Subject(bundle, tuple(values or ()), _named(restorer, "--restorer"), _named(denoiser, "--denoiser"))
    task = get_task(subject.settings.task).name
    extra: list[Table] = []
    if study is StudyName.FUSION:
        fusions = _forms(bundle, photos, out, train_steps, recipe or [])
        subject = replace(subject, fusions=fusions)
        assert photos is not None
        extra = [estimate_table(bundle, photos, fusions)]
    planned = STUDIES[study.value](subject)
    options: dict[str, Sequence[Any]] = {
        "--bundle": [bundle], "--data": data, "--out": [out],
        "--restorer": restorer or [], "--denoiser": denoiser or [],
        "--photos": [photos], "--train-steps": [train_steps if extra else None], "--recipe": recipe or [],
        "--metric": metric or [], "--weights": [weights], "--limit": [limit], "--seed": [seed or None],
        "--processes": [None if processes == 1 else processes], "--device": [None if device == "auto" else device],
    }  # fmt: skip
    results = compare(
        [variant.text for variant in planned.variants],
        data,
        out,
        task=task,
        metric=metric,
        weights=weights,
        limit=limit,
        seed=seed,
        processes=processes,
        device=device,
        command=command_line("ablate", [study.value, *(f"{value:g}" for value in values or ())], options),
    )
    results = replace(results, notes=[*planned.notes, *results.notes])
    report = to_report(results, title=planned.question, further=extra)
    write(results, report, out, plots=draw(planned, results, out))
    say_what_failed(results)


def _forms(bundle: str, photos: Path | None, out: Path, steps: int, recipe: Sequence[str]) -> dict[str, Path]:
    """Train what the study of fusion forms compares."""
    from dp_ir.errors import DataError
    from dp_ir.evaluation.ablations.fusion_forms import FORMS, train_forms
    from dp_ir.interfaces.progress import bar_of

    if photos is None:
        raise DataError("The study 'fusion' trains what it compares: name photographs to train on with --photos DIR.")
    with bar_of("{task.description}", "{task.completed}/{task.total}") as progress:
        tasks = {name: progress.add_task(f"training {name}", total=steps) for name in FORMS}
        return train_forms(
            bundle,
            photos,
            out / "runs",
            steps=steps,
            overrides=recipe,
            watch=lambda name, step: progress.update(tasks[name], completed=step.step),
        )


def _named(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """NAME=SOURCE texts as a mapping."""
    from dp_ir.errors import DataError

    named: dict[str, str] = {}
    for text in texts or ():
        name, _, source = text.partition("=")
        if not name or not source or name in named:
            raise DataError(f"{option} {text} is not NAME=SOURCE with a name of its own: write {option} mine=FILE.")
        named[name] = source
    return named
