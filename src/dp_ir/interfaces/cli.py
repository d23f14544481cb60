"""The `dp-ir` command.

Everything heavy is imported inside the commands, so that `--help` answers at once. Errors raised on purpose become one
sentence on standard error and exit status 1; wrong usage exits with 2, an interruption with 130.
"""

from __future__ import annotations

import os
import sys
import warnings
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dp_ir.errors import DPIRError
from dp_ir.interfaces.ablation import ablate
from dp_ir.interfaces.cost import cost
from dp_ir.interfaces.degrade import degrade
from dp_ir.interfaces.laboratory import evaluate


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


class PrecisionName(str, Enum):
    """The precisions of `dp_ir.restoration.precision.Precision`."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class ForeignKindName(str, Enum):
    """The networks that can be brought along from elsewhere."""

    RESTORER = "restorer"
    DENOISER = "denoiser"


class KindName(str, Enum):
    """The networks that can be trained."""

    DENOISER = "denoiser"
    RESTORER = "restorer"
    FUSION = "fusion"
    BRIDGE = "bridge"


_RECIPES = {
    KindName.DENOISER: "denoiser",
    KindName.RESTORER: "restorer-sr4",
    KindName.FUSION: "fusion-sr4",
    KindName.BRIDGE: "pmrf-sr4",
}

_SOURCE = "a weight file of any known network, a bundle, or a hub id."
_STATED = (
    "A fact about the network that is not as inferred, such as value_range=0,255 or sigma_range=0,50/255. KEY is "
    "scale, channels, size_multiple, min_size, value_range, sigma_range, sigma_input, half_safe or tiling; probe=no "
    "leaves out the check of all this on a test picture."
)
_STATED_BY_KIND = "A fact about the restorer or the denoiser, such as restorer.scale=4; KEY is as for dp-ir convert."

_INTERRUPTED = 130  # what shells expect of a program that ended on Ctrl-C


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings for people are shown without the place in the code; those for programmers are not shown."""
    if issubclass(category, UserWarning):
        typer.echo(f"dp-ir: note: {_one_line(message)}", err=True)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


class _Commands(TyperGroup):
    """Turns errors raised on purpose, and Ctrl-C, into a sentence and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except DPIRError as error:
            typer.echo(f"dp-ir: {_one_line(error)}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interruption:
            typer.echo("dp-ir: stopped; the same command continues with what is not done yet.", err=True)
            raise typer.Exit(_INTERRUPTED) from interruption


app = typer.Typer(
    cls=_Commands,
    help="Perceptual image restoration: a frozen restorer, a frozen denoiser and a small fusion network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from dp_ir import __version__

        typer.echo(f"dp-ir {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(
    help="Restore images, or bursts of RAW frames.\n\n"
    "Results that exist are skipped. In a folder, a.jpg becomes a.png; images that share a name keep their suffix "
    "(a.jpg.png, a.tif.png). With several samples, NAME-std.png holds their standard deviation, where white is 1.\n\n"
    "Where the bundle restores bursts (--task burst), IN is a folder of frames (DNG, CR2, NEF, ARW, ..., or images), a "
    "folder of such folders, or one RAW file; FOLDER becomes FOLDER.png, with 16 bits."
)
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
        typer.Option("--restorer", metavar="SOURCE", help=f"Instead of the bundle's own restorer: {_SOURCE}"),
    ] = None,
    denoiser: Annotated[
        str | None,
        typer.Option("--denoiser", metavar="SOURCE", help="Instead of the bundle's own denoiser: likewise."),
    ] = None,
    fusion: Annotated[
        str | None, typer.Option("--fusion", metavar="FILE", help="Instead of the bundle's own fusion network.")
    ] = None,
    stated: Annotated[list[str] | None, typer.Option("--set", metavar="KIND.KEY=VALUE", help=_STATED_BY_KIND)] = None,
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
    settings = {"seed": seed, "sampler": sampler.value if sampler else None, "eta": eta, "num_samples": samples}
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


@app.command()
def info(
    source: Annotated[
        str, typer.Argument(metavar="NAME_OR_PATH", help="A shipped bundle, a folder, a hub id or a weight file.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a bundle or a weight file is."""
    from dp_ir.interfaces.describe import describe, readable

    description = describe(source)
    if as_json:
        import json

        typer.echo(json.dumps(description, indent=2))
    else:
        typer.echo(readable(description))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(metavar="FILE", help="A weight file, here or OWNER/NAME/FILE on the hub.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The bundle, an empty folder.")],
    kind: Annotated[
        ForeignKindName | None,
        typer.Option("--kind", help="What the network is for.", show_default="what it looks like"),
    ] = None,
    stated: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_STATED)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is in FOLDER.")] = False,
) -> None:
    """Write the network of a weight file of any known origin as a bundle: safetensors, settings and a card."""
    from dp_ir.checkpoints.stated import parse_stated
    from dp_ir.restoration.partners import network_name
    from dp_ir.tasks.conversion import convert as write

    facts = parse_stated(stated or [])
    record = write(source, output, kind=kind.value if kind else None, stated=facts, overwrite=overwrite)
    typer.echo(
        f"{source} -> {output}: the {record.kind} {network_name(record)}, {record.parameters:,} parameters, in "
        f"{record.kind}.safetensors with config.json and README.md"
    )
    use = f"--bundle {output}" if record.kind == "restorer" else f"--denoiser {output}"
    typer.echo(f"Use it: dp-ir restore IN -o OUT {use}")


@app.command(
    help="Train a network.\n\n"
    "The folder of the run gets the weights, a log, and checkpoints that the same command continues from. "
    "For several processes: accelerate launch --multi_gpu --num_processes N -m dp_ir train KIND ..."
)
def train(
    kind: Annotated[KindName, typer.Argument(metavar="KIND", help="What to train.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Folder of the run; a run that exists goes on.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to the recipe, such as optim.steps=20000.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", help="A YAML file, or a shipped recipe.", show_default="the shipped one for this KIND"
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--gt", "--data", "-d", metavar="DIR", help="Folder of clean images.")
    ] = None,
    observations: Annotated[
        Path | None,
        typer.Option(
            "--lq",
            "--observations",
            metavar="DIR",
            help="Folder of degraded images, named as the clean ones; without it those are degraded on the fly.",
        ),
    ] = None,
    restorer: Annotated[
        str | None,
        typer.Option("--restorer", metavar="SOURCE", help=f"Of a fusion or a bridge, the frozen restorer: {_SOURCE}"),
    ] = None,
    denoiser: Annotated[
        str | None, typer.Option("--denoiser", metavar="SOURCE", help="Of a fusion, the frozen denoiser: likewise.")
    ] = None,
    stated: Annotated[list[str] | None, typer.Option("--set", metavar="KIND.KEY=VALUE", help=_STATED_BY_KIND)] = None,
    lpips: Annotated[
        Path | None,
        typer.Option("--lpips", metavar="FILE", help="Weights of SqueezeNet 1.1: validate with LPIPS beside PSNR."),
    ] = None,
) -> None:
    """Train a network; the help text is above."""
    from dp_ir.interfaces.progress import train_with_progress
    from dp_ir.interfaces.sources import partner_overrides

    settings = [*(overrides or ()), *partner_overrides(kind.value, restorer, denoiser, stated or [])]
    if data is not None:
        settings.append(f"data.clean={data}")
    if observations is not None:
        settings.append(f"data.observation={observations}")
    weights = train_with_progress(kind.value, recipe or _RECIPES[kind], settings, out, lpips=lpips)
    if os.environ.get("RANK", "0") == "0":  # with several processes, one of them speaks
        typer.echo(f"Trained {weights}")


app.command()(evaluate)
app.command()(ablate)
app.command()(cost)
app.command()(degrade)


def main() -> None:
    """Run the command line."""
    app(prog_name="dp-ir", args=sys.argv[1:])


if __name__ == "__main__":
    main()
