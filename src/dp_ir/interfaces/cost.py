"""`dp-ir cost`: what a restoration costs."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from dp_ir.errors import DPIRError
from dp_ir.interfaces.options import DenoiserOption, FusionOption, RestorerOption

_SIZE = re.compile(r"(\d{1,5})\s*[x×]\s*(\d{1,5})")  # noqa: RUF001 - people write both


def cost(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="What restores: a shipped name, a folder, or a hub id OWNER/NAME.")
    ] = "sr4",
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--size", metavar="WxH", help="Size of the restored image; repeat for several.", show_default="1280x720"
        ),
    ] = None,
    calls: Annotated[
        list[int] | None,
        typer.Option(
            "--calls", min=0, help="Number of sampling steps; repeat for several.", show_default="the bundle's"
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option("--measure", metavar="WxH", help="Also run it at this size for seconds and peak memory."),
    ] = None,
    restorer: RestorerOption = None,
    denoiser: DenoiserOption = None,
    fusion: FusionOption = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
) -> None:
    """Say what a restoration costs: parameters, and operations as base + per call x calls at any size."""
    from rich.console import Console

    from dp_ir.evaluation.report.cost_tables import cost_report
    from dp_ir.restoration.sources import restoration_of

    shown, run = ([parse_size(text) for text in texts] for texts in (sizes or ["1280x720"], measure or []))
    restoration = restoration_of(
        bundle,
        {"restorer": restorer, "denoiser": denoiser, "fusion": fusion},
        [],
        device=device,
        precision="auto",
        settings={},
    )
    report = cost_report(
        restoration, shown, calls or (), measured=run, title=f"Cost of {bundle}", command=" ".join(sys.argv)
    )
    report.print(Console())


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT".

    Raises:
        DPIRError: anything else, or a side of 0.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or 0 in (width := int(match[1]), height := int(match[2])):
        raise DPIRError(f"The size is '{text}', expected width and height in pixels such as 1280x720.")
    return height, width
