"""`dp-ir export`: the networks of a bundle for other runtimes. Heavy imports wait until it is called."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class ExportFormatName(str, Enum):
    """The formats of `dp_ir.runtime.exporting.FORMATS`."""

    ONNX = "onnx"
    OPENVINO = "openvino"


class ExportKindName(str, Enum):
    """The networks of a bundle."""

    RESTORER = "restorer"
    DENOISER = "denoiser"
    FUSION = "fusion"


def export(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="A shipped name (sr4), a folder or a hub id.")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to; it is made.")],
    format: Annotated[
        ExportFormatName, typer.Option("--format", "-f", help="MODEL.onnx, or MODEL.xml and MODEL.bin.")
    ] = ExportFormatName.ONNX,
    kinds: Annotated[
        list[ExportKindName] | None,
        typer.Option("--kind", help="Only this network; may be given several times.", show_default="all"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace models that are in FOLDER.")] = False,
) -> None:
    """Write the networks of a bundle as ONNX or OpenVINO models, for images of any size, with a card that says how."""
    from dp_ir.runtime.export_files import export_bundle

    chosen = [kind.value for kind in kinds] if kinds else None
    for path in export_bundle(bundle, output, format=format.value, kinds=chosen, overwrite=overwrite):
        typer.echo(f"{bundle} -> {path}")
