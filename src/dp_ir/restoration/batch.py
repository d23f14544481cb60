"""Restoring many files: what is read, where each result goes, and what became of it.

The rules, in short:

* Inputs are files, folders (searched recursively, their sub-structure is kept) and glob patterns. Where bursts are
  restored, a folder with frames in it is one input, and so is a single RAW file.
* The output is one file where it has an image's suffix and there is one input, else a folder. In a folder results are
  PNG unless a format is named, because it loses nothing and keeps 16 bits, transparency and profiles.
* `a.jpg` becomes `a.png`. Inputs that would share a name keep their own suffix (`a.jpg.png`, `a.tif.png`), and where
  that does not tell them apart, their folders.
* Several samples of `a.jpg` become `a-1.png`, `a-2.png`, ..., their mean `a-mean.png`, and `a-std.png`: the standard
  deviation of each value over the samples, in image units, always a 16-bit PNG because it is a measurement.
* Bursts give 16 bits where the format has them; asked to be linear, they are TIFF or PNG without a tone curve.
* An input is never overwritten. What exists is skipped unless overwriting is asked for. One bad file does not stop
  the others.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dp_ir.errors import DPIRError, ImageReadError, ImageWriteError, ScheduleError, SigmaRangeError
from dp_ir.image import IMAGE_SUFFIXES
from dp_ir.restoration.finding import Found, find, listed, names_file

_log = logging.getLogger(__name__)

FORMATS: dict[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}
"""Formats results can be asked for, with the suffix each gets."""

_LINEAR_SUFFIXES = (".png", ".tif", ".tiff")
_OTHER_IMAGE_SUFFIXES = frozenset({".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".exr", ".hdr", ".psd", ".dng"})


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
        reason: one sentence, for failures only.
        seconds: wall-clock time it took, reading and writing included.
    """

    source: Path
    status: Status
    targets: tuple[Path, ...] = ()
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Job:
    """One input, and where its results go.

    Args:
        source: the file to restore.
        target: the file for its result; with several samples, the name theirs are made from.
        samples: how many results are drawn.
    """

    source: Path
    target: Path
    samples: int = 1

    @property
    def targets(self) -> tuple[Path, ...]:
        """Every file this job writes: the result; or each sample, their mean and their standard deviation."""
        if self.samples == 1:
            return (self.target,)
        names = [*map(str, range(1, self.samples + 1)), "mean"]
        stem, suffix = self.target.stem, self.target.suffix
        files = [self.target.with_name(f"{stem}-{name}{suffix}") for name in names]
        return (*files, self.target.with_name(f"{stem}-std.png"))


@dataclass(frozen=True)
class Plan:
    """What a batch will do.

    Args:
        jobs: what is to be restored, in order.
        settled: inputs that need no work or cannot have any: done before, not found, in the way of themselves.
    """

    jobs: tuple[Job, ...]
    settled: tuple[Outcome, ...]


def plan_batch(
    inputs: Iterable[str | Path],
    output: str | Path,
    *,
    format: str | None = None,
    samples: int = 1,
    overwrite: bool = False,
    bursts: bool = False,
    linear: bool = False,
) -> Plan:
    """Find the inputs and decide where each result goes; nothing is read or written yet.

    The names depend on the inputs alone, not on what exists or on the order they are named in.

    Args:
        inputs: files, folders and glob patterns (`**` reaches into sub-folders).
        output: the file for a single result where it has an image's suffix, else a folder.
        format: one of `FORMATS`; without it the suffix of `output` decides, and PNG in a folder.
        samples: results per input.
        overwrite: plan again what is done already.
        bursts: the inputs are bursts, not images.
        linear: results will be linear, which needs 16 bits: TIFF, the default in a folder, or PNG.

    Returns:
        The jobs, and the inputs that are settled without one.

    Raises:
        ImageReadError: no input was named.
        ImageWriteError: `output` does not suit the inputs or the format; linear results of images, or in 8 bits.
    """
    output = Path(output)
    if linear and not bursts:
        raise ImageWriteError("Linear results were asked for, which only bursts have: leave out --linear.")
    suffix = _suffix(output, format or ("tiff" if linear and not names_file(output) else None))
    if linear and suffix.lower() not in _LINEAR_SUFFIXES:
        raise ImageWriteError(
            f"Linear results cannot be {suffix} files, whose 8 bits are too few: expected {listed(_LINEAR_SUFFIXES)}."
        )
    found, missing = find(inputs, output, bursts=bursts)
    settled = [Outcome(path, Status.FAILED, reason=reason) for path, reason in missing]
    if not found and not settled:
        raise ImageReadError("No input was named: expected at least one image, folder or pattern.")
    places = _places(found, output, suffix)
    sources = {entry.source.resolve() for entry in found}
    jobs: list[Job] = []
    for entry, target in zip(found, places, strict=True):
        job = Job(entry.source, target, samples)
        if blocked := [path for path in job.targets if path.resolve() in sources]:
            reason = f"The result of {entry.source} would overwrite the input {blocked[0]}: choose another output."
            settled.append(Outcome(entry.source, Status.FAILED, reason=reason))
        elif target.parent.resolve() in sources:
            reason = (
                f"The result of {entry.source} would lie among the frames in {target.parent}: choose another output."
            )
            settled.append(Outcome(entry.source, Status.FAILED, reason=reason))
        elif not overwrite and all(path.exists() for path in job.targets):
            settled.append(Outcome(entry.source, Status.SKIPPED, job.targets))
        else:
            jobs.append(job)
    return Plan(tuple(jobs), tuple(settled))


def run_batch(jobs: Iterable[Job], process: Callable[[Job], None]) -> Iterator[Outcome]:
    """Restore one file after another; a file that fails is reported and the others go on.

    Args:
        jobs: what to do, from `plan_batch`.
        process: reads and restores `job.source` and writes all of `job.targets`, as `restore_file` does.

    Yields:
        One outcome per job, as soon as it is known.

    Raises:
        ScheduleError, SigmaRangeError: settings that no file can be restored with; said once, not per file.
    """
    for job in jobs:
        start = time.perf_counter()
        reason = ""
        try:
            _prepare_folder(job.target.parent)  # before the work, so that a result never has nowhere to go
            process(job)
        except (ScheduleError, SigmaRangeError):
            raise
        except Exception as error:
            reason = _sentence(error, job.source)
        status = Status.FAILED if reason else Status.RESTORED
        yield Outcome(job.source, status, () if reason else job.targets, reason, time.perf_counter() - start)


def _suffix(output: Path, format: str | None) -> str:
    """Suffix of the results, checked against the name of the output."""
    if format is None:
        return output.suffix if names_file(output) else FORMATS["png"]
    if format not in FORMATS:
        raise ImageWriteError(f"The format {format!r} cannot be written: expected one of {', '.join(FORMATS)}.")
    alike = {"tiff": {".tif", ".tiff"}, "jpeg": {".jpg", ".jpeg"}}.get(format, {FORMATS[format]})
    if names_file(output) and output.suffix.lower() not in alike:
        raise ImageWriteError(f"The output {output} does not end in {FORMATS[format]}, but the format is {format}.")
    return FORMATS[format]


def _places(found: Sequence[Found], output: Path, suffix: str) -> list[Path]:
    """The target of each input: the output itself, or a name of its own in the output folder."""
    if names_file(output):
        if len(found) > 1:
            raise ImageWriteError(f"The output {output} is one file, but there are {len(found)} inputs: name a folder.")
        return [output] * len(found)
    if output.is_file():
        raise ImageWriteError(f"The output {output} is a file but not an image: expected an image or a folder.")
    if output.suffix.lower() in _OTHER_IMAGE_SUFFIXES and not output.exists():
        raise ImageWriteError(
            f"The output {output} cannot be written in that format: expected {listed(IMAGE_SUFFIXES)} or a folder."
        )
    return [output / place for place in _distinct_names(found, suffix)]


def _distinct_names(found: Sequence[Found], suffix: str) -> list[Path]:
    """The shortest name for each input that no other input has; case tells apart only what nothing else does."""
    parent = _common_folder([entry.source for entry in found])
    choices: list[list[Path]] = []
    for entry in found:
        below = _below(entry.source, parent)
        forms = [(place, whole) for place in (entry.place, below) for whole in (False, True)]
        choices.append(
            [place.with_name((place.name if whole or entry.folder else place.stem) + suffix) for place, whole in forms]
        )
    level = [0] * len(found)
    while True:
        names = [forms[rank] for forms, rank in zip(choices, level, strict=True)]
        count = Counter(str(name).casefold() for name in names)
        clashing = [
            index
            for index, name in enumerate(names)
            if count[str(name).casefold()] > 1 and level[index] < len(forms) - 1
        ]
        if not clashing:
            return names
        for index in clashing:
            level[index] += 1


def _common_folder(sources: Sequence[Path]) -> Path | None:
    try:
        return Path(os.path.commonpath([source.resolve().parent for source in sources]))
    except ValueError:  # no inputs, or inputs on several drives
        return None


def _below(source: Path, folder: Path | None) -> Path:
    full = source.resolve()
    if folder is not None:
        return full.relative_to(folder)
    return Path(full.drive.replace(":", ""), *full.parts[1:])


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageWriteError(f"The folder {folder} cannot be made ({reason}): choose another output.") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImageWriteError(f"The folder {folder} cannot be written to: choose another output or change its rights.")


def _sentence(error: Exception, source: Path) -> str:
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
