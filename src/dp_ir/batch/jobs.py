"""The words of a batch: a job, the plan that holds it, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from dp_ir.batch.locations import Location
from dp_ir.batch.source_version import Stamp


class Status(str, Enum):
    """What became of an input."""

    RESTORED = "restored"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    Args:
        source: the input, as it was found.
        status: what became of it.
        targets: the files that hold its results: written now, or found where it was skipped.
        reason: of a failure, one sentence; of what was skipped, how it was made if in another way than asked for.
        seconds: wall-clock time it took, reading and writing included.
        stamp: which version of the source was restored.
        notes: what was said of it meanwhile, such as metadata that its results lack; shown when it was said.
        facts: what was found of it, where that was looked for.
    """

    source: Location
    status: Status
    targets: tuple[Location, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    stamp: Stamp | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One input, and where its results go.

    Args:
        source: the file to restore.
        target: the file for its result; with several samples, the name theirs are made from.
        samples: how many results are drawn.
    """

    source: Location
    target: Location
    samples: int = 1

    @property
    def targets(self) -> tuple[Location, ...]:
        """Every file this job writes: the result; or each sample, their mean and their standard deviation."""
        if self.samples == 1:
            return (self.target,)
        names = [*map(str, range(1, self.samples + 1)), "mean"]
        stem, suffix = self.target.stem, self.target.suffix
        files = [self.target.with_name(f"{stem}-{name}{suffix}") for name in names]
        return (*files, self.target.with_name(f"{stem}-std.png"))


@dataclass(frozen=True)
class LocalJob(Job):
    """A job whose files are all on this machine."""

    source: Path
    target: Path

    @property
    def targets(self) -> tuple[Path, ...]:
        """As those of any job."""
        return tuple(path for path in super().targets if isinstance(path, Path))


@dataclass(frozen=True)
class Plan:
    """What a batch will do.

    Args:
        jobs: what is to be restored, in order.
        settled: inputs that need no work or cannot have any: done before, not found, in the way of themselves.
        left_out: how many files of the folders that were named are no input, by kind, such as {"HEIC": 2, ".txt": 1}.
    """

    jobs: tuple[Job, ...]
    settled: tuple[Outcome, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
