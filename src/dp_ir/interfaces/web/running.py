"""Running the server: its address, its folder, and its end."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import typer
import uvicorn
from fastapi import FastAPI
from filelock import FileLock, Timeout

from dp_ir.errors import DPIRError
from dp_ir.interfaces.web.app import Limits, make_app
from dp_ir.interfaces.web.gate import LOCAL
from dp_ir.interfaces.web.work import Settings

_PREFIX, _LOCK = "dp-ir-server-", ".lock"


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
            _remove_left_overs()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX)))
        else:
            folder = keep
            if keep.exists() and not keep.is_dir():
                raise DPIRError(f"--keep {keep} is a file: name a folder.")
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stack.enter_context(_alone_in(folder))
        app = make_app(folder, settings, limits, token)
        named = _own_address() if host in ("0.0.0.0", "::") else host
        name = f"[{named}]" if ":" in named else named
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
        server = _Server(config, app)
        for name in ("SIGTERM", "SIGHUP"):  # the server takes the first over, and passes it on when it has ended
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), server.end)
        with suppress(KeyboardInterrupt):  # which is how a person ends it
            server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Lets those go that wait when it is told to end; it would wait for them."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def end(self, sig: int, frame: FrameType | None) -> None:
        """End at a signal that the server does not handle; one that it has handled comes again when it has ended."""
        if self.should_exit:
            raise KeyboardInterrupt
        self.handle_exit(signal.SIGINT, frame)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if hasattr(self._app.state, "desk"):
            self._app.state.desk.end()


def _own_address() -> str:
    """An address of this machine that others can reach; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostname()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keeps other servers out of a folder; raises DPIRError where one is in it."""
    try:
        with FileLock(folder / _LOCK, timeout=0):
            yield
    except Timeout:
        raise DPIRError(
            f"Another server works in {folder}: name another folder with --keep, or end that one."
        ) from None


def _remove_left_overs() -> None:
    """Remove the folders of servers that were killed; those of servers that run are locked, or not yet."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError, Timeout), FileLock(lock, timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).split(" (while")[0]
        raise DPIRError(f"{host}:{port} cannot be listened on ({reason}): choose another --port or --host.") from error
    return listening
