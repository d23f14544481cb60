"""`dp-ir serve`: the page in the browser. Heavy imports wait until it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; any but this machine's own needs the token it prints.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for any free one.")] = 8350,
    keep: Annotated[
        Path | None,
        typer.Option(
            "--keep",
            metavar="DIR",
            help="Keep photos and results there, and go on with the queue that is found.",
            show_default="removed at the end",
        ),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    max_upload: Annotated[float, typer.Option("--max-upload", min=0.0, metavar="MB", help="Of a file.")] = 200.0,
    max_photos: Annotated[int, typer.Option("--max-photos", min=1, help="That are kept at a time.")] = 200,
    max_pixels: Annotated[
        float, typer.Option("--max-pixels", min=0.0, metavar="MEGAPIXELS", help="Refuse photos that are larger.")
    ] = 200.0,
    memory: Annotated[
        float | None,
        typer.Option("--memory", min=0.0, metavar="GB", help="For a restoration.", show_default="half of what is free"),
    ] = None,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, ...")] = "auto",
) -> None:
    """Restore photos on a page in the browser; it runs on this machine, and nothing leaves it."""
    from dp_ir.extras import require

    for package in ("fastapi", "uvicorn"):
        require(package, "The page in the browser", "web")

    from dp_ir.interfaces.web.app import Limits
    from dp_ir.interfaces.web.running import run
    from dp_ir.interfaces.web.work import Settings
    from dp_ir.runtime.precision import pick_device

    pick_device(device)

    settings = Settings(device, None if memory is None else round(memory * 1e9), round(max_pixels * 1e6))
    run(host, port, keep, settings, Limits(round(max_upload * 1e6), max_photos), open_page=open_page)
