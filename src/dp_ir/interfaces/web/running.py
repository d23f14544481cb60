"""Running the server: its address, its folder, and its end."""

from __future__ import annotations

import secrets
import socket
import tempfile
import webbrowser
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

import typer
import uvicorn
from fastapi import FastAPI

from dp_ir.errors import DPIRError
from dp_ir.interfaces.web.app import Limits, make_app
from dp_ir.interfaces.web.gate import LOCAL
from dp_ir.interfaces.web.work import Settings


def run(host: str, port: int, keep: Path | None, settings: Settings, limits: Limits, *, open_page: bool) -> None:
    """Serve until it is interrupted.

    Args:
        host: address to listen on; where it is not this machine's own, a token is made and needed.
        port: 0 for any free one.
        keep: folder for photos and results; None for one that is removed at the end.
        settings: of the work.
        limits: of what is taken in.
        open_page: open the page in the browser.

    Raises:
        DPIRError: the address cannot be listened on, or the folder cannot be used.
    """
    token = None if host in LOCAL else secrets.token_urlsafe(24)
    with ExitStack() as stack:
        listening = stack.enter_context(_listening(host, port))
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dp-ir-")))
        else:
            folder = keep
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        app = make_app(folder, settings, limits, token)
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}/" + ("" if token is None else f"?token={token}")
        typer.echo(f"The page is at {address} (Ctrl-C ends it)")
        typer.echo(
            "Photos and results are removed at the end: --keep DIR keeps them."
            if keep is None
            else f"Photos and results are kept in {keep}."
        )
        if open_page:
            webbrowser.open(address)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=256,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,
        )
        with suppress(KeyboardInterrupt):  # which is how a person ends it
            _Server(config, app).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Lets those go that wait when it is told to end; it would wait for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if hasattr(self._app.state, "desk"):
            self._app.state.desk.end()


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DPIRError(f"{host}:{port} cannot be listened on ({reason}): choose another --port or --host.") from error
    return listening
