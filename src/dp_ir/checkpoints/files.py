"""Writing files so that a reader never meets half of one: write beside, then rename."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from dp_ir.errors import CheckpointError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a hidden file beside `path`, then rename it to `path` in one step.

    Either the old content of `path` or the whole new one exists at any moment, also when the process is killed;
    missing parent folders are made.

    Raises:
        CheckpointError: the folder or the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        with partial.open("rb") as handle:
            os.fsync(handle.fileno())  # the rename must not reach the disk before the bytes do
        partial.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror or error}): choose a folder that can be written and has room."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # what went wrong before matters more than a leftover
            partial.unlink(missing_ok=True)
