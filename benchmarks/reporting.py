"""How the commands in this folder end: the report is printed and written, an error is one line and exit status 1."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from dp_ir.errors import DPIRError
from dp_ir.evaluation import Report


def command_line(name: str) -> str:
    """The command that is running, as a reader would type it: a folder elsewhere has the name of its option."""
    words = ["python", f"benchmarks/{name}.py"]
    for before, word in zip(sys.argv, sys.argv[1:], strict=False):
        outside = word.startswith("..") or Path(word).is_absolute()
        words.append(f"{before.lstrip('-').upper()}" if outside and before.startswith("--") else word)
    return shlex.join(words)


def conclude(make: Callable[[], Report], console: Console, write: Path | None) -> int:
    """Make a report, print it, and write it where asked to; gives the exit status."""
    try:
        report = make()
    except DPIRError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", markup=True, highlight=False)
        return 1
    report.print(console)
    if write:
        for path in report.write(write):
            console.print(f"written: {path}")
    return 0
