"""Restoring many files: what is read, where each result goes, and what became of it.

The rules, in short:

* Inputs are files, folders (searched recursively, their sub-structure is kept) and glob patterns, on this machine or in
  an object store (s3://bucket/photos). Where bursts are restored, a folder with frames in it is one input, and so is a
  single RAW file. What a folder holds beside images is counted by kind; results of earlier runs are no inputs.
* The output is one file where it has an image's suffix and there is one input, else a folder; one that ends like some
  other file is asked about. In a folder results are PNG unless a format is named, because it loses nothing and keeps 16
  bits, transparency and profiles.
* `a.jpg` becomes `a.png`. Inputs that would share a name keep their own suffix (`a.jpg.png`, `a.tif.png`), and where
  that does not tell them apart, their folders.
* Several samples of `a.jpg` become `a-1.png`, `a-2.png`, ..., their mean `a-mean.png`, and `a-std.png`: the standard
  deviation of each value over the samples, in image units, always a 16-bit PNG because it is a measurement.
* Bursts give 16 bits where the format has them; asked to be linear, they are TIFF or PNG without a tone curve,
  with a linear profile.
* An input is never overwritten. One bad file does not stop the others.
* What exists is skipped unless overwriting is asked for, its input has changed, or the manifest of the output folder
  (`dp_ir.batch.manifest`) says that it failed or that a killed run was about to replace it. In a folder results
  that were made in another way than asked for are kept, which is said; one file that is named as the output is made
  again, and is left alone, as a failure, where nothing says what it is.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dp_ir.batch.finding import find
from dp_ir.batch.jobs import Job, LocalJob, Outcome, Plan, Status
from dp_ir.batch.locations import Location
from dp_ir.batch.manifest import Manifest
from dp_ir.batch.naming import FORMATS, places, suffix_of
from dp_ir.batch.output import Output, listed, output_of
from dp_ir.batch.paths import real, way_out
from dp_ir.batch.resume import History, recorded
from dp_ir.batch.source_version import stamp_of
from dp_ir.errors import DPIRError, ImageReadError, ImageWriteError, ScheduleError, SigmaRangeError
from dp_ir.image.files.writing import LOSSY_SUFFIXES
from dp_ir.part_files import remove_left_overs

__all__ = ["FORMATS", "Job", "LocalJob", "Outcome", "Plan", "Status", "carry_out", "plan_batch", "run_batch"]

_log = logging.getLogger(__name__)

_LINEAR_SUFFIXES = (".png", ".tif", ".tiff")


def plan_batch(
    inputs: Iterable[str | Location],
    output: str | Location | Output,
    *,
    format: str | None = None,
    samples: int = 1,
    overwrite: bool = False,
    bursts: bool = False,
    linear: bool = False,
    quality: int | None = None,
    manifest: Manifest | None = None,
    made_by: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Find the inputs and decide where each result goes; no image is read and nothing written yet.

    The names depend on the inputs alone, not on what exists or on the order they are named in.

    Args:
        inputs: files, folders and glob patterns (`**` reaches into sub-folders), or URLs of them.
        output: the file for a single result where it has an image's suffix, else a folder; see `output_of`.
        format: one of `FORMATS`; without it the suffix of `output` decides, and PNG in a folder.
        samples: results per input.
        overwrite: plan again what is done already.
        bursts: the inputs are bursts, not images.
        linear: results will be linear, which needs 16 bits: TIFF, the default in a folder, or PNG.
        quality: of the files, 1 to 100, where the format has one.
        manifest: of the folder of results; without it what exists in a folder is done.
        made_by: how results will be made, to be compared with the manifest; from `provenance`.

    Returns:
        The jobs, and the inputs that are settled without one.

    Raises:
        ImageReadError: no input was named.
        ImageWriteError: `output` does not suit the inputs or the format; linear results of images, or in 8 bits; a
            quality of a format without loss.
    """
    output = output if isinstance(output, Output) else output_of(output)
    if linear and not bursts:
        raise ImageWriteError("Linear results were asked for, which only bursts have: leave out --linear.")
    suffix = suffix_of(output, format or ("tiff" if linear and not output.is_file else None))
    if linear and suffix.lower() not in _LINEAR_SUFFIXES:
        raise ImageWriteError(
            f"Linear results cannot be {suffix} files, whose 8 bits are too few: expected {listed(_LINEAR_SUFFIXES)}."
        )
    if quality is not None and suffix.lower() not in LOSSY_SUFFIXES:
        raise ImageWriteError(
            f"A quality was asked for, but {suffix} files lose nothing: expected {listed(LOSSY_SUFFIXES)} (--format "
            "jpeg or webp), or no --quality."
        )
    findings = find(inputs, output, bursts=bursts)
    found = list(findings.found.values())
    settled = [Outcome(path, Status.FAILED, reason=reason) for path, reason in findings.missing]
    if not found and not settled:
        raise ImageReadError("No input was named: expected at least one image, folder or pattern.")
    spots = places(found, output, suffix, bursts=bursts)
    sources = {real(entry.source) for entry in found}
    past = History(output, manifest, made_by)
    jobs: list[Job] = []
    for entry, target in zip(found, spots, strict=True):
        job = Job(entry.source, target, samples)
        if blocked := [path for path in job.targets if real(path) in sources]:
            reason = f"The result of {entry.source} would overwrite the input {blocked[0]}: choose another output."
            settled.append(Outcome(entry.source, Status.FAILED, reason=reason))
        elif real(target.parent) in sources:
            reason = f"The result of {entry.source} would lie in the input {target.parent}: choose another output."
            settled.append(Outcome(entry.source, Status.FAILED, reason=reason))
        elif isinstance(target, Path) and isinstance(output.place, Path) and (reason := way_out(target, output.place)):
            settled.append(Outcome(entry.source, Status.FAILED, reason=reason))
        elif not overwrite and (outcome := past.outcome(job)) is not None:
            settled.append(outcome)
        else:
            jobs.append(job)
    past.tell(stacklevel=3)
    return Plan(tuple(jobs), tuple(settled), findings.count())


def run_batch(jobs: Iterable[Job], process: Callable[[Job], Mapping[str, Any] | None]) -> Iterator[Outcome]:
    """Restore one file after another; a file that fails is reported and the others go on.

    Args:
        jobs: what to do, from `plan_batch`.
        process: reads and restores `job.source` and writes all of `job.targets`, as `restore_file` does; may return
            what it found of the source, for `Outcome.facts`.

    Yields:
        One outcome per job, as soon as it is known.

    Raises:
        ScheduleError, SigmaRangeError: settings that no file can be restored with; said once, not per file.
    """
    said = set[str]()
    for job in jobs:
        start = time.perf_counter()
        reason, stamp, notes, facts = "", None, list[str](), None
        try:
            if isinstance(job.target, Path):
                _prepare_folder(job.target.parent)  # before the work, so that a result never has nowhere to go
            stamp = stamp_of(job.source)  # before the work: a source that is replaced meanwhile has changed since
            with _noted(notes, said):
                facts = process(job)
        except (ScheduleError, SigmaRangeError):
            raise
        except Exception as error:
            reason = _sentence(error, job.source)
        status = Status.FAILED if reason else Status.RESTORED
        seconds = time.perf_counter() - start
        targets = () if reason else job.targets
        yield Outcome(job.source, status, targets, reason, seconds, stamp, tuple(notes), facts or {})


@contextmanager
def _noted(notes: list[str], said: set[str]) -> Iterator[None]:
    """Keep what is said to people meanwhile, each sentence once; it is shown unless it was `said` of another job."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            text = str(message)
            if issubclass(category, UserWarning) and text not in notes:
                notes.append(text)
            if text not in said:
                show(message, category, *place, **more)
            said.add(text)

        warnings.showwarning = keep
        yield


def carry_out(
    plan: Plan,
    run: Callable[[Sequence[Job]], Iterator[Outcome]],
    manifest: Manifest | None = None,
    made_by: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Outcome]:
    """Do what was planned.

    What killed runs left under way in the folders of the results is removed before.

    Args:
        plan: from `plan_batch`.
        run: handles jobs, here or elsewhere, such as `run_batch` with a process; not called where there are none.
        manifest: where it is written what became of each, before it is passed on.
        made_by: how results are made, as `plan_batch` was told.

    Yields:
        What became of each input, those settled in the plan first.
    """
    yield from plan.settled
    if not plan.jobs:
        return
    for folder in {job.target.parent for job in plan.jobs if isinstance(job.target, Path)}:
        remove_left_overs(folder)
    outcomes = run(plan.jobs)
    if manifest is None:
        yield from outcomes
        return
    with manifest:
        yield from recorded(outcomes, plan.jobs, manifest, made_by)


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageWriteError(f"The folder {folder} cannot be made ({reason}): choose another output.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImageWriteError(f"The folder {folder} cannot be written to: choose another output or change its rights.")


def _sentence(error: Exception, source: Location) -> str:
    """One sentence for whatever went wrong with a file, naming the file."""
    text = " ".join(str(error).split())
    if isinstance(error, DPIRError):
        return text if source.name in text else f"{source}: {text}"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in text):
        return f"There is not enough memory to restore {source}: make the image smaller or close other programs."
    if isinstance(error, OSError):
        return f"{source} could not be restored: {error.strerror or text}."
    _log.debug("Unexpected error on %s", source, exc_info=error)
    return f"{source} could not be restored because of an unexpected {type(error).__name__} ({text}): please report it."
