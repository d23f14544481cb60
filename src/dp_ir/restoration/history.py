"""What earlier runs left of a batch, and what this one leaves to the next."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dp_ir.restoration.finding import names_file
from dp_ir.restoration.jobs import Job, Outcome, Status
from dp_ir.restoration.locations import Location, Url, files_below
from dp_ir.restoration.manifest import Manifest, Record
from dp_ir.restoration.provenance import differences
from dp_ir.restoration.stamps import has_changed


class History:
    """What earlier runs left: which results are there, and what the manifest says of them.

    Args:
        output: of the batch.
        manifest: of the output folder; without it what exists is done.
        made_by: how results would be made now.
    """

    def __init__(self, output: Location, manifest: Manifest | None, made_by: Mapping[str, Any]) -> None:
        self._output, self._manifest, self._made_by = output, manifest, made_by
        self._records: dict[str, Record] = {} if manifest is None else manifest.read()
        self._stored = _stored(output) if isinstance(output, Url) else frozenset()
        self._changed: list[Location] = []
        self._made_otherwise: Counter[str] = Counter()

    def is_done(self, job: Job) -> bool:
        """Whether there is nothing left to do for a job."""
        if not all(path.exists() if isinstance(path, Path) else path in self._stored for path in job.targets):
            return False
        record = self._records.get(self._manifest.key(job.targets[0])) if self._manifest is not None else None
        if record is None:
            return True
        if record.status != Status.RESTORED.value:
            return False
        if has_changed(job.source, record.stamp):
            self._changed.append(job.source)
            return False
        if different := differences(self._made_by, record.made_by):
            self._made_otherwise[", ".join(different)] += 1
        return True

    def tell(self, *, stacklevel: int) -> None:
        """Warn of sources that changed, and of results that were made in another way; once, not per file."""
        if self._changed:
            several = len(self._changed) > 1
            inputs = f"{len(self._changed)} inputs, such as {self._changed[0]}," if several else str(self._changed[0])
            warnings.warn(
                f"{inputs} changed since their results were made, which are made again.", stacklevel=stacklevel
            )
        for different, count in self._made_otherwise.most_common(3):
            results, stay, them = (
                (f"{count} results", "stay as they are", "them") if count > 1 else ("1 result", "stays as it is", "it")
            )
            warnings.warn(
                f"{results} of earlier runs in {self._output}, made with {different}, {stay}: --overwrite makes {them} "
                "again.",
                stacklevel=stacklevel,
            )


def _stored(output: Url) -> frozenset[Url]:
    """The results that a store holds already; listed once, since asking for each would take a request each."""
    folder = output.parent if names_file(output) else output
    return frozenset(files_below(folder))


def recorded(
    outcomes: Iterable[Outcome], jobs: Sequence[Job], manifest: Manifest, made_by: Mapping[str, Any]
) -> Iterator[Outcome]:
    """Write down what becomes of jobs before it is passed on.

    Args:
        outcomes: of `jobs`, in any order.
        jobs: what is done.
        manifest: where it is written.
        made_by: how results are made.
    """
    keys = {job.source: manifest.key(job.targets[0]) for job in jobs}
    # Results that are there are about to be replaced: a run that is killed amid them would leave a mixture.
    if begun := [job for job in jobs if any(isinstance(path, Path) and path.exists() for path in job.targets)]:
        manifest.add([{"target": keys[job.source], "status": "begun"} for job in begun], made_by)
    for outcome in outcomes:
        entry = {
            "target": keys[outcome.source],
            "status": outcome.status.value,
            "source": str(outcome.source.resolve()),
            "targets": [manifest.key(path) for path in outcome.targets],
            **({"reason": outcome.reason} if outcome.reason else {}),
            **({"notes": outcome.notes} if outcome.notes else {}),
            "seconds": round(outcome.seconds, 3),
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **(asdict(outcome.stamp) if outcome.stamp is not None else {}),
        }
        manifest.add([entry], made_by)
        yield outcome
