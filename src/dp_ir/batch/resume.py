"""What earlier runs left of a batch, and what this one leaves to the next."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from dp_ir.batch.jobs import Job, Outcome, Status
from dp_ir.batch.locations import Location, Url, files_below
from dp_ir.batch.manifest import Manifest, Record
from dp_ir.batch.output import Output
from dp_ir.batch.provenance import differences
from dp_ir.batch.source_version import has_changed


class History:
    """What earlier runs left: which results are there, and what the manifest says of them.

    Args:
        output: of the batch.
        manifest: of the folder of results; without it nothing is known of how they were made.
        made_by: how results would be made now.
    """

    def __init__(self, output: Output, manifest: Manifest | None, made_by: Mapping[str, Any]) -> None:
        self._output, self._manifest, self._made_by = output, manifest, made_by
        self._records: dict[str, Record] = {} if manifest is None else manifest.read()
        self._stored = frozenset(files_below(output.folder)) if isinstance(output.folder, Url) else frozenset()
        self._changed: list[Location] = []
        self._made_otherwise: Counter[str] = Counter()

    def outcome(self, job: Job) -> Outcome | None:
        """What is settled about a job because its results are there; None where it is to be done.

        In a folder, results stay that were made in another way, which is said. The file that was named as the output
        is made again unless it is certain that it was made of the same content by the same version in the same way.
        """
        if not all(path.exists() if isinstance(path, Path) else path in self._stored for path in job.targets):
            return None
        record = self._records.get(self._manifest.key(job.targets[0])) if self._manifest is not None else None
        named = self._output.is_file
        if record is not None and record.status == Status.FAILED.value and not record.has_result:
            record = None  # the file is of another origin
        if record is None and named:
            return Outcome(
                job.source,
                Status.FAILED,
                reason=f"{job.targets[0]} exists and nothing says that it is a result of {job.source}: --overwrite "
                "replaces it, or choose another output.",
            )
        if record is None:
            return Outcome(job.source, Status.SKIPPED, job.targets)
        if record.status != Status.RESTORED.value:
            return None
        moved = record.source != str(job.source.resolve())
        if has_changed(job.source, record.stamp, certain=named, moved=moved):
            self._changed.append(job.source)
            return None
        different = ", ".join(differences(self._made_by, record.made_by, certain=named))
        if different:
            self._made_otherwise[different] += 1
        if different and named:
            return None
        return Outcome(job.source, Status.SKIPPED, job.targets, different and f"made with {different}")

    def tell(self, *, stacklevel: int) -> None:
        """Warn of sources that changed, and of results that were made in another way; once, not per file."""
        if self._changed:
            several = len(self._changed) > 1
            inputs = f"{len(self._changed)} inputs, such as {self._changed[0]}," if several else str(self._changed[0])
            warnings.warn(
                f"{inputs} is not what {self._output} was made from: it is made again."
                if self._output.is_file
                else f"{inputs} changed since their results were made, which are made again.",
                stacklevel=stacklevel,
            )
        for different, count in self._made_otherwise.most_common(3):
            if self._output.is_file:
                text = f"{self._output} was made with {different}: it is made again."
            else:
                results, stay, them = (
                    (f"{count} results", "stay as they are", "them")
                    if count > 1
                    else ("1 result", "stays as it is", "it")
                )
                text = (
                    f"{results} of earlier runs in {self._output}, made with {different}, {stay}: --overwrite makes "
                    f"{them} again."
                )
            warnings.warn(text, stacklevel=stacklevel)


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
    # Results that are there are about to be replaced: a run that is killed amid them would leave a mixture. A single
    # one may be a file that was named, which is not made again unless something says that a run was about to make it.
    begun = [job for job in jobs if any(isinstance(path, Path) and path.exists() for path in job.targets)]
    if begun := list(jobs) if len(jobs) == 1 else begun:
        manifest.add(
            [{"target": keys[job.source], "status": "begun", "source": str(job.source.resolve())} for job in begun],
            made_by,
        )
    for outcome in outcomes:
        entry = {
            "target": keys[outcome.source],
            "status": outcome.status.value,
            "source": str(outcome.source.resolve()),
            "targets": [manifest.key(path) for path in outcome.targets],
            **({"reason": outcome.reason} if outcome.reason else {}),
            **({"notes": outcome.notes} if outcome.notes else {}),
            **({"facts": dict(outcome.facts)} if outcome.facts else {}),
            "seconds": round(outcome.seconds, 3),
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **(asdict(outcome.stamp) if outcome.stamp is not None else {}),
        }
        manifest.add([entry], made_by)
        yield outcome
