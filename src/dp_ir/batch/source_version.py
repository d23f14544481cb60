"""Whether an input is still the one that was restored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp_ir.batch.locations import Location, Url
from dp_ir.image.raw.burst_files import frame_files


@dataclass(frozen=True)
class Stamp:
    """What tells the contents of a source from earlier ones.

    Args:
        size: bytes; of a burst, of all frames.
        version: time of the last change, or what the store says instead; equal means unchanged.
        sha256: of the content, for files of this machine: it shows that a file with a new time is the same as before.
    """

    size: int
    version: str
    sha256: str = ""


def stamp_of(source: Location, *, content: bool = True) -> Stamp | None:
    """The stamp of a source as it is now; None where it cannot be read.

    Args:
        source: a file, or the folder of a burst.
        content: read it for its hash; a URL's is never read.
    """
    if isinstance(source, Url):
        return None if source.size is None else Stamp(source.size, source.version)
    try:
        files = frame_files(source) if source.is_dir() else [source]
        states = [file.stat() for file in files]
        digest = _digest(files) if content else ""
    except OSError:
        return None
    newest = max((state.st_mtime_ns for state in states), default=0)
    return Stamp(sum(state.st_size for state in states), str(newest), digest)


def has_changed(source: Location, recorded: Stamp | None, *, certain: bool = False, moved: bool = False) -> bool:
    """Whether a source is another one than the manifest has recorded.

    Args:
        source: a file, or the folder of a burst.
        recorded: its stamp then.
        certain: answer True where that cannot be told, and look at the content in any case; otherwise False, and size
            and time suffice where they are equal.
        moved: what was recorded lay elsewhere, so that an equal time says nothing of files of this machine.
    """
    now = stamp_of(source, content=False)
    if now is None or recorded is None or not recorded.version:
        return certain
    if now.size != recorded.size:
        return True
    if isinstance(source, Url):
        return now.version != recorded.version or (certain and moved)
    if now.version == recorded.version and not certain and not moved:
        return False
    if not recorded.sha256:
        return certain or now.version != recorded.version
    found = stamp_of(source)  # a copy, or touched: its content decides
    return found is not None and found.sha256 != recorded.sha256


def _digest(files: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        own = hashlib.sha256()
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                own.update(block)
        whole.update(own.digest())  # of each on its own, so that it matters where one ends and the next begins
    return whole.hexdigest()


def recorded_stamp(entry: Mapping[str, Any]) -> Stamp | None:
    """The stamp in an entry of a manifest, written there by somebody; None where it is no stamp."""
    size, version, sha256 = entry.get("size"), entry.get("version"), entry.get("sha256")
    if not isinstance(size, int) or not isinstance(version, str):
        return None
    return Stamp(size, version, sha256 if isinstance(sha256, str) else "")
