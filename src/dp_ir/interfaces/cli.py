"""The `dp-ir` command.

Everything heavy is imported inside the commands, so that `--help` answers at once. Errors raised on purpose become one
sentence on standard error and exit status 1; wrong usage exits with 2, an interruption with 130.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dp_ir.errors import DPIRError
from dp_ir.interfaces.ablation import ablate
from dp_ir.interfaces.cost import cost
from dp_ir.interfaces.degrade import degrade
from dp_ir.interfaces.evaluate import evaluate
from dp_ir.interfaces.export import export
from dp_ir.interfaces.options import OVERRIDE, OVERRIDE_BY_KIND, SOURCE
from dp_ir.interfaces.restore import RESTORE_HELP, restore
from dp_ir.interfaces.web.serve import serve
from dp_ir.interfaces.words import printable


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

_INTERRUPTED = 130  # what shells expect of a program that ended on Ctrl-C


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Warnings for people are shown without the place in the code; those for programmers are not shown."""
    if issubclass(category, UserWarning):
        typer.echo(f"dp-ir: note: {printable(message)}", err=True)


def _failed(error: OSError) -> str:
    """What to say of an error of the system that was not foreseen where it happened."""
    reason = error.strerror or str(error) or type(error).__name__
    if isinstance(error, BrokenPipeError):
        return f"no one reads standard output any more ({reason}), and the work was stopped; what is written is whole."
    where = f"{error.filename} cannot be used" if error.filename is not None else "something cannot be written"
    return f"{where} ({reason}): check your rights and the room on the disk, also where standard output goes."


class _Commands(TyperGroup):
    """Turns errors raised on purpose, those of the system, and Ctrl-C, into a sentence and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except DPIRError as error:
            typer.echo(f"dp-ir: {printable(error)}", err=True)
            raise typer.Exit(1) from error
        except OSError as error:
            typer.echo(f"dp-ir: {printable(_failed(error))}", err=True)
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


app.command(help=RESTORE_HELP)(restore)


@app.command()
def info(
    source: Annotated[
        str,
        typer.Argument(metavar="NAME_OR_PATH", help="A shipped bundle, a folder, a hub id, a weight file or a photo."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a bundle, a weight file or a photo is."""
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
    output: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="The bundle, an empty folder.")],
    kind: Annotated[
        ForeignKindName | None,
        typer.Option("--kind", help="What the network is for.", show_default="what it looks like"),
    ] = None,
    stated: Annotated[list[str] | None, typer.Option("--override", metavar="KEY=VALUE", help=OVERRIDE)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that is in FOLDER.")] = False,
) -> None:
    """Write the network of a weight file of any known origin as a bundle: safetensors, settings and a card."""
    from dp_ir.checkpoints.overrides import parse_overrides
    from dp_ir.restoration.trained_with import network_name
    from dp_ir.tasks.conversion import convert as write

    facts = parse_overrides(stated or [])
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
        typer.Option("--restorer", metavar="SOURCE", help=f"Of a fusion or a bridge, the frozen restorer: {SOURCE}"),
    ] = None,
    denoiser: Annotated[
        str | None, typer.Option("--denoiser", metavar="SOURCE", help="Of a fusion, the frozen denoiser: likewise.")
    ] = None,
    stated: Annotated[
        list[str] | None, typer.Option("--override", metavar="KIND.KEY=VALUE", help=OVERRIDE_BY_KIND)
    ] = None,
    lpips: Annotated[
        Path | None,
        typer.Option(
            "--lpips",
            metavar="FILE",
            help="Weights of SqueezeNet 1.1: validate with LPIPS beside PSNR. The recipes of fusions that are trained "
            "through their chain also train on its features.",
        ),
    ] = None,
) -> None:
    """Train a network; the help text is above."""
    from dp_ir.interfaces.progress import train_with_progress
    from dp_ir.interfaces.sources import partner_overrides, quoted

    settings = [*(overrides or ()), *partner_overrides(kind.value, restorer, denoiser, stated or [])]
    if data is not None:
        settings.append(f"data.clean={quoted(str(data))}")
    if observations is not None:
        settings.append(f"data.observation={quoted(str(observations))}")
    weights, trained = train_with_progress(kind.value, recipe or _RECIPES[kind], settings, out, lpips=lpips)
    if os.environ.get("RANK", "0") == "0":  # with several processes, one of them speaks
        done = "Trained" if trained else "The run has all its steps, nothing was left to train:"
        typer.echo(f"{done} {weights}")


app.command()(evaluate)
app.command()(ablate)
app.command()(cost)
app.command()(degrade)
app.command()(export)
app.command()(serve)


def main() -> None:
    """Run the command line."""
    if sys.stdout is None:  # a file that is opened later would take its place, and what is said
        sys.exit("dp-ir: standard output is closed: let it go to a file, or to /dev/null.")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names may have letters that the locale does not
    try:
        app(prog_name="dp-ir", args=sys.argv[1:])
    except OSError as error:  # outside of the commands
        sys.exit(f"dp-ir: {printable(_failed(error))}")


if __name__ == "__main__":
    main()
