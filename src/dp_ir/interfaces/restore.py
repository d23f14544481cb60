"""`dp-ir restore`: photos, or bursts of RAW frames. Heavy imports wait until it is called."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dp_ir.interfaces.options import SOURCE, STATED_BY_KIND, PrecisionName

RESTORE_HELP = (
    "Restore images, or bursts of RAW frames.\n\n"
    "Results that exist are skipped. In a folder, a.jpg becomes a.png; images that share a name keep their suffix "
    "(a.jpg.png, a.tif.png). With several samples, NAME-std.png holds their standard deviation, where white is 1.\n\n"
    "Where the bundle restores bursts (--task burst), IN is a folder of frames (DNG, CR2, NEF, ARW, ..., or images), a "
    "folder of such folders, or one RAW file; FOLDER becomes FOLDER.png, with 16 bits."
)


class SamplerName(str, Enum):
    """The samplers of `dp_ir.diffusion.samplers.SAMPLERS`, named here so that help needs no torch."""

    DDPM = "ddpm"
    DDIM = "ddim"
    DPMPP_2M = "dpmpp-2m"


class FormatName(str, Enum):
    """The formats of `dp_ir.restoration.batch.FORMATS`."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    BMP = "bmp"


def restore(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Images or bursts: files, folders (with their sub-folders) or patterns."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="A file for one input, else a folder, which is made."),
    ],
    bundle: Annotated[
        str,
        typer.Option(
            "--task",
            "--bundle",
            "-b",
            help="What restores: a shipped name, which is that of its task (sr4, deblur, burst), a folder, or a hub id "
            "OWNER/NAME.",
        ),
    ] = "sr4",
    restorer: Annotated[
        str | None,
        typer.Option("--restorer", metavar="SOURCE", help=f"Instead of the bundle's own restorer: {SOURCE}"),
    ] = None,
    denoiser: Annotated[
        str | None,
        typer.Option("--denoiser", metavar="SOURCE", help="Instead of the bundle's own denoiser: likewise."),
    ] = None,
    fusion: Annotated[
        str | None, typer.Option("--fusion", metavar="FILE", help="Instead of the bundle's own fusion network.")
    ] = None,
    stated: Annotated[list[str] | None, typer.Option("--set", metavar="KIND.KEY=VALUE", help=STATED_BY_KIND)] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Which of the possible results; the same seed gives the same one.")
    ] = 0,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Results per image: NAME-1, NAME-2, ..., NAME-mean and NAME-std.")
    ] = 1,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Calls of the denoiser and of the fusion.", show_default="the bundle's"),
    ] = None,
    tau: Annotated[
        int | None,
        typer.Option(
            "--tau",
            min=0,
            help="Where the diffusion starts: 0 gives the restorer's own result, a later step leaves more freedom.",
            show_default="the bundle's",
        ),
    ] = None,
    sampler: Annotated[
        SamplerName | None, typer.Option("--sampler", help="How the steps are taken.", show_default="the bundle's")
    ] = None,
    eta: Annotated[
        float | None,
        typer.Option(
            "--eta", min=0.0, help="Fresh noise per step, 0 (none) to 1 (ancestral).", show_default="the bundle's"
        ),
    ] = None,
    sigma_min: Annotated[
        float | None,
        typer.Option(
            "--sigma-min",
            min=0.0,
            help="Last noise level before 0, in units of [0, 1] images.",
            show_default="the bundle's",
        ),
    ] = None,
    format: Annotated[
        FormatName | None,
        typer.Option("--format", "-f", help="Format of the results.", show_default="the suffix of OUT, else png"),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            "--crop",
            metavar="X,Y,WIDTH,HEIGHT",
            help="Restore only this part, in pixels of the upright input.",
            show_default="the whole",
        ),
    ] = None,
    linear: Annotated[
        bool,
        typer.Option("--linear", help="Of bursts: linear sRGB without a tone curve, a TIFF or PNG of 16 bits."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Restore again what exists in OUT; inputs are never overwritten.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
    precision: Annotated[
        PrecisionName, typer.Option("--precision", help="Precision of the networks; auto is bfloat16 where it is fast.")
    ] = PrecisionName.AUTO,
) -> None:
    """Restore images; the help text is above, and the rules are those of `dp_ir.restoration.batch`."""
    from dp_ir.interfaces.progress import restore_with_progress
    from dp_ir.interfaces.sources import box_of, restores_bursts
    from dp_ir.restoration.batch import Status, plan_batch
    from dp_ir.restoration.sources import restoration_of

    box = None if crop is None else box_of(crop)
    plan = plan_batch(
        inputs,
        output,
        format=format.value if format else None,
        samples=samples,
        overwrite=overwrite,
        bursts=restores_bursts(bundle),
        linear=linear,
    )
    load = partial(
        restoration_of,
        bundle,
        {"restorer": restorer, "denoiser": denoiser, "fusion": fusion},
        stated or [],
        device=device,
        precision=precision.value,
        settings={"tau": tau, "steps": steps, "sigma_min": sigma_min},
    )
    settings = {"seed": seed, "sampler": sampler.value if sampler else None, "eta": eta}
    count = dict.fromkeys(Status, 0)
    for outcome in restore_with_progress(plan, load, settings=settings, crop=box, linear=linear):
        count[outcome.status] += 1
        if outcome.status is Status.FAILED:
            typer.echo(f"dp-ir: {outcome.reason}", err=True)
        elif outcome.status is Status.SKIPPED:
            typer.echo(f"{outcome.source}: skipped, {outcome.targets[0]} exists (--overwrite restores it again)")
        else:
            others = f" and {len(outcome.targets) - 1} more" if len(outcome.targets) > 1 else ""
            typer.echo(f"{outcome.source} -> {outcome.targets[0]}{others} ({outcome.seconds:.1f} s)")
    if sum(count.values()) > 1:
        typer.echo(", ".join(f"{number} {status.value}" for status, number in count.items() if number))
    if count[Status.FAILED]:
        raise typer.Exit(1)
