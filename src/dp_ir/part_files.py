"""Writing files whole or not at all, and the removal of what killed runs left.

A file is written beside its destination as `.NAME.HOST-PID-NUMBER.part` and renamed when it is whole. Host and process
say whose it is, so that a later run can tell what is left over from what somebody is writing right now.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from dp_ir.errors import DPIRError

_NAME = re.compile(r"\..{0,100}\.(?P<host>[0-9A-Za-z_-]{1,32})-(?P<process>\d{1,10})-[0-9a-f]{12}\.part", re.DOTALL)
_FORSAKEN = 24 * 3600  # seconds after which a file from another host, whose processes cannot be seen, is left over
_CLOCK_STEP = 10  # seconds by which the clocks of a file server and of this machine may differ


def part_path(target: Path) -> Path:
    """A new name beside `target` for what will be renamed to it; hidden, and with no image's suffix."""
    # File systems count bytes, mostly up to 255. The locale decides what letters there are.
    short = os.fsencode(target.name)[:100].decode(sys.getfilesystemencoding(), errors="ignore")
    return target.with_name(f".{short}.{_host()}-{os.getpid()}-{secrets.token_hex(6)}.part")


@contextmanager
def replacing(target: Path, error: type[DPIRError] | None = None) -> Iterator[Path]:
    """A new path beside `target`, renamed to it in one step where the block ends well, and else removed.

    Either the old content of `target` or the whole new one exists at any moment, also when the process is killed.

    Args:
        target: the destination; missing folders are made.
        error: what to raise, with one sentence, where the file cannot be written; None lets the OSError through.

    Examples:
        >>> with replacing(Path("table.csv")) as beside:
        ...     _ = beside.write_text("step,loss")
    """
    beside = part_path(target)
    try:
        if not target.parent.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("r+b") as file:
            os.fsync(file.fileno())  # the rename must not reach the disk before the bytes do
        beside.replace(target)
    except OSError as problem:
        if error is None:
            raise
        reason = problem.strerror or type(problem).__name__
        raise error(
            f"'{target}' cannot be written ({reason}), expected a writable folder with room: check its permissions and "
            "free space."
        ) from problem
    finally:  # also on an interrupt; after success there is nothing left by that name
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def replace_text(target: Path, text: str, error: type[DPIRError] | None = None) -> Path:
    """Write a text as UTF-8, with the line ends that it has, whole or not at all; its path. Errors: as `replacing`."""
    with replacing(target, error) as beside:
        beside.write_text(text, encoding="utf-8", newline="")
    return target


def remove_left_overs(folder: Path) -> int:
    """Remove files that runs left in a folder when they were killed; those of running processes stay.

    Only regular files with a name that `part_path` makes are touched, directly in the folder.

    Returns:
        How many were removed.
    """
    removed = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is None or not entry.is_file(follow_symlinks=False):
                continue
            with suppress(OSError):  # another run may have been quicker
                written = entry.stat(follow_symlinks=False).st_mtime
                if _left_over(match["host"], int(match["process"]), written):
                    Path(entry.path).unlink()
                    removed += 1
    return removed


def _left_over(host: str, process: int, written: float) -> bool:
    if host != _host():
        return time.time() - written > _FORSAKEN
    try:
        # A process that began after the file was written has only inherited the number of the one that wrote it.
        return bool(psutil.Process(process).create_time() > written + _CLOCK_STEP)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def _host() -> str:
    return re.sub(r"[^0-9A-Za-z_-]", "_", socket.gethostname())[:32] or "host"
