"""The command line in a process of its own that costs no import, so that it can be killed many times."""

import multiprocessing
import os
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver") if hasattr(os, "fork") else None
if CONTEXT is not None:
    # torch._refs is what torch itself imports to fill a tensor without memory, as loading a network does.
    modules = ["dp_ir.interfaces.cli", "dp_ir.interfaces.progress", "dp_ir.batch.worker", "torch._refs"]
    CONTEXT.set_forkserver_preload(["forked_cli", *modules])


def start(arguments: list[str], log: Path) -> multiprocessing.Process:
    """Begin `dp-ir` with these arguments; what it says goes to a file."""
    process = CONTEXT.Process(target=_run, args=(arguments, str(log)))
    process.start()
    return process


def _run(arguments: list[str], log: str) -> None:
    from dp_ir.interfaces.cli import app

    with Path(log).open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    app(args=arguments, prog_name="dp-ir")
