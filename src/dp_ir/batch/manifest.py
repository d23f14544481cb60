"""What became of every input, kept beside the results: a batch that was killed goes on where it was.

`dp-ir-manifest.jsonl` in the output folder has one JSON object per line. A line with "made_by" describes a way of
restoring (networks, settings, seed, ...) under a number; a line with "target" says what became of one input: its
result, its source with size, time and content hash, the status, the reason of a failure, the seconds it took, and the
number of how it was made. Lines are only ever added, and are on the disk before the next file is begun; the last line
about a target counts, and what cannot be read, such as the torn last line of a killed run, is passed over.

In an object store, where nothing can be added to a file, every run has files of its own: `dp-ir-manifest-TIME-*.jsonl`,
written every half minute and at the end. What a killed run did not write down there is found by its results.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dp_ir.batch.locations import Location, Url, matching, read_bytes, upload
from dp_ir.batch.source_version import Stamp, recorded_stamp
from dp_ir.errors import DPIRError

MANIFEST = "dp-ir-manifest.jsonl"
"""Name of the file in the output folder."""

_UPLOAD_SECONDS = 30.0
_UPLOAD_LINES = 1000  # a file of a store is full then and the next one is begun, so that none is sent again and again


@dataclass(frozen=True)
class Record:
    """What the manifest says of a target.

    Args:
        status: "restored", "failed", or "begun" where a run was about to replace an older result.
        stamp: of the source; None where it was not known.
        made_by: how it was made; see `dp_ir.batch.provenance`.
        source: what it was made from, as a whole path or URL.
        targets: the files of its results, those of earlier runs too, by their paths below the folder.
        has_result: whether this run or an earlier one restored it.
    """

    status: str
    stamp: Stamp | None = None
    made_by: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    targets: tuple[str, ...] = ()
    has_result: bool = False


class Manifest:
    """The manifest of an output folder.

    Args:
        folder: the output folder; it need not exist before the first line is written.
    """

    def __init__(self, folder: Location) -> None:
        self.folder = folder
        self._sheet: _Sheet = _StoredSheet(folder) if isinstance(folder, Url) else _FileSheet(folder / MANIFEST)
        self._numbers: dict[str, str] = {}
        self._silent = False

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self._guarded(self._sheet.close)

    def read(self) -> dict[str, Record]:
        """The last record of each target, by its path below the folder.

        Raises:
            ImageReadError: the store cannot be reached.
        """
        records: dict[str, Record] = {}
        ways: dict[str, Mapping[str, Any]] = {}
        for entry in _entries(self._sheet.lines()):
            way, target = entry.get("made_by"), entry.get("target")
            if isinstance(way, dict):
                ways[str(entry.get("way"))] = way
            elif isinstance(target, str):
                before = records[target].targets if target in records else ()
                records[target] = Record(
                    str(entry.get("status")),
                    recorded_stamp(entry),
                    ways.get(str(entry.get("way")), {}),
                    str(entry.get("source", "")),
                    tuple(dict.fromkeys((*before, target, *_texts(entry.get("targets"))))),
                    entry.get("status") == "restored" or (target in records and records[target].has_result),
                )
        return records

    def add(self, entries: Iterable[Mapping[str, Any]], made_by: Mapping[str, Any]) -> None:
        """Write lines that are on the disk when this returns.

        A manifest that cannot be written is said once and stops nothing: the results are what counts.

        Args:
            entries: "target", "status" and whatever else is to be kept of each.
            made_by: how they are made.
        """
        made_by = dict(made_by)
        text = json.dumps(made_by, sort_keys=True)
        lines = []
        if (number := self._numbers.get(text)) is None:
            number = self._numbers[text] = hashlib.sha256(text.encode()).hexdigest()[:12]
            lines.append(json.dumps({"way": number, "made_by": made_by}))
        lines += [json.dumps({**entry, "way": number}) for entry in entries]
        self._guarded(lambda: self._sheet.append(lines))

    def key(self, target: Location) -> str:
        """What a target is called in the manifest."""
        if isinstance(target, Url):
            return target.path.relative_to(self.folder.path).as_posix() if isinstance(self.folder, Url) else str(target)
        return Path(os.path.relpath(target, str(self.folder))).as_posix()

    def _guarded(self, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, DPIRError) as error:
            self._numbers.clear()  # what they stand for is perhaps not written
            # Where there is no folder, no result can be written either, and that is said of each.
            if not self._silent and (isinstance(self.folder, Url) or self.folder.is_dir()):
                reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
                warnings.warn(
                    f"The manifest in {self.folder} cannot be written ({reason}): results are written all the same, "
                    "but no later run can tell how they were made.",
                    stacklevel=3,
                )
            self._silent = True


class _FileSheet:
    """Lines of a file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def lines(self) -> Iterator[bytes]:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except OSError:
            return
        with os.fdopen(descriptor, "rb") as file:
            yield from file

    def append(self, lines: list[str]) -> None:
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A link in place of the manifest is refused, so that nothing outside the folder is written to.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self._path, flags, 0o644)
            size = os.fstat(self._descriptor).st_size
            if size:
                os.lseek(self._descriptor, size - 1, os.SEEK_SET)
                if os.read(self._descriptor, 1) != b"\n":
                    lines = ["", *lines]  # ends the torn line of a killed run
        data = "".join(f"{line}\n" for line in lines).encode()
        try:
            while data:  # one call where the disk allows, so that the lines of two runs do not mix
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError:
            self.close()  # opened anew, the torn line is ended
            raise

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _StoredSheet:
    """Lines of the files of an object store; those of this run are sent together."""

    def __init__(self, folder: Url) -> None:
        self._folder = folder
        # The names sort by time, so that what a later run says counts.
        now = time.time_ns()
        begun = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now // 10**9))
        self._stem = f"dp-ir-manifest-{begun}.{now % 10**9:09}-{secrets.token_hex(3)}"
        self._part, self._waiting, self._sent = 0, list[str](), 0
        self._due = time.monotonic() + _UPLOAD_SECONDS

    def lines(self) -> Iterator[bytes]:
        for file in matching(self._folder / "dp-ir-manifest*.jsonl"):
            yield from read_bytes(file).splitlines()

    def append(self, lines: list[str]) -> None:
        self._waiting += lines
        if len(self._waiting) >= _UPLOAD_LINES or time.monotonic() >= self._due:
            self._send()

    def close(self) -> None:
        if len(self._waiting) > self._sent:
            self._send()

    def _send(self) -> None:
        with tempfile.TemporaryDirectory(prefix="dp-ir-") as scratch:
            file = Path(scratch) / "manifest.jsonl"
            file.write_text("".join(f"{line}\n" for line in self._waiting), encoding="utf-8")
            upload(file, self._folder / f"{self._stem}-{self._part:04}.jsonl")
        self._sent = len(self._waiting)
        self._due = time.monotonic() + _UPLOAD_SECONDS
        if len(self._waiting) >= _UPLOAD_LINES:
            self._part, self._waiting, self._sent = self._part + 1, [], 0


_Sheet = _FileSheet | _StoredSheet


def is_manifest(name: str) -> bool:
    """Whether a file of this name in a store is a manifest of this package."""
    return name.startswith("dp-ir-manifest") and name.endswith(".jsonl")


def _texts(given: Any) -> tuple[str, ...]:
    """The texts in what somebody wrote into a manifest."""
    return tuple(text for text in given if isinstance(text, str)) if isinstance(given, list) else ()


def _entries(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict):
            yield entry
