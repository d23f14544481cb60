"""What a batch works on: files and folders as they were named become images or bursts, each once."""

from __future__ import annotations

import glob
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dp_ir.batch.folders import LeftOut, files_in
from dp_ir.batch.locations import Location, Url, location_of
from dp_ir.batch.object_store import stored
from dp_ir.batch.output import Output
from dp_ir.batch.paths import downwards, expanded, is_circular, real
from dp_ir.errors import ImageWriteError
from dp_ir.image.files.headers import FORMATS
from dp_ir.image.files.kinds import head_of, is_image_file, kind_of
from dp_ir.image.raw.burst_files import FRAMES, frame_files


@dataclass(frozen=True)
class Found:
    """An input and its path below the output folder.

    Args:
        source: a file, or the folder of a burst; here or in a store.
        place: relative path that its results are named after.
        folder: whether it is a folder, whose name has no suffix to be replaced.
    """

    source: Location
    place: Path
    folder: bool = False


@dataclass
class Findings:
    """What the inputs lead to.

    Args:
        found: inputs, each once.
        missing: what leads to nothing, with a sentence that says why.
        left_out: files of folders that are no input, with the kind of each.
    """

    found: dict[Location, Found] = field(default_factory=dict)
    missing: list[tuple[Location, str]] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=dict)

    def count(self) -> Mapping[str, int]:
        """How many files were left out, by kind, but for those that are an input all the same."""
        kinds = Counter(kind for path, kind in self.left_out.items() if path not in self.found)
        return dict(kinds.most_common())


def find(inputs: Iterable[str | Location], output: Output, *, bursts: bool) -> Findings:
    """Expand files, folders and patterns.

    In folders the content tells what is an image, unless the suffix does. Results of earlier runs that a manifest below
    a folder names are no inputs; those that its own manifest names are, unless they were made from what lies in it.

    Args:
        inputs: as they were named; texts with a protocol are URLs.
        output: where results go; those of an earlier run are not found.
        bursts: look for bursts rather than for images: a folder that holds frames is one, any other is searched for
            such folders.

    Raises:
        ImageWriteError: results would lie among the inputs.
    """
    expected = f"frames: expected {FRAMES}" if bursts else f"image: expected {', '.join(FORMATS)} files"
    findings = Findings()
    for named in inputs:
        path = location_of(named)
        left_out: LeftOut = {}
        if isinstance(path, Url):
            entries = [Found(*entry) for entry in stored(path, output, left_out, bursts=bursts)]
            reason = f"{path} leads to no {expected}{_but(left_out)}."
        elif path.is_dir():
            entries = [
                replace(entry, place=Path(real(path).name or "frames")) if entry.place == Path() else entry
                for entry in _below(path, output, findings.missing, left_out, bursts=bursts)
            ]
            reason = f"The folder {path} holds no {expected}{_but(left_out)}."
        elif path.exists() or not glob.has_magic(str(path)):
            entries = [Found(path, Path(path.name))] if path.exists() else []
            reason = f"There is no file {path}: check the path."
        else:
            entries = list(_match(str(path), output, findings.missing, left_out, bursts=bursts))
            reason = f"No file matches {named}: check the pattern."
        findings.left_out |= {real(path): kind for path, kind in left_out.items()}
        if not entries:
            findings.missing.append((path, reason))
        for entry in entries:
            if isinstance(entry.source, Path) and is_circular(entry.source):
                reason = f"{entry.source} is a symbolic link that leads back to itself: remove it."
                findings.missing.append((entry.source, reason))
                continue
            findings.found.setdefault(real(entry.source), replace(entry, place=downwards(entry.place)))
    return findings


def counted(left_out: Mapping[str, int]) -> str:
    """How many files were left out, in words: "2 GIF, 1 HEIC"."""
    return ", ".join(f"{number} {kind}" for kind, number in left_out.items())


def _but(left_out: LeftOut) -> str:
    return f", found {counted(Counter(left_out.values()))}" if left_out else ""


def _below(
    folder: Path, output: Output, missing: list[tuple[Location, str]], left_out: LeftOut, *, bursts: bool
) -> Iterator[Found]:
    """Images, or folders that directly hold frames, in a folder and below, sorted."""
    if real(folder) == real(output.folder if bursts else output.place):
        raise ImageWriteError(
            f"The output {output} would lie in the input folder {folder}: choose another, so that no result is taken "
            "for a frame."
            if bursts
            else f"The output {output} is also the input folder: choose another, so that results and inputs do not mix."
        )
    burst: Path | None = None
    for here, files in files_in(folder, output, missing, left_out):
        if not bursts:
            used = {path for path in files if is_image_file(path)}
            yield from (Found(path, path.relative_to(folder)) for path in files if path in used)
        elif burst is not None and burst in here.parents:
            used = set()
        else:
            used = set(frame_files(here)) & set(files)
            if used:
                burst = here
                yield Found(here, here.relative_to(folder), folder=True)
        left_out |= {path: kind_of(path.suffix, head_of(path)) for path in files if path not in used}


def _match(
    pattern: str, output: Output, missing: list[tuple[Location, str]], left_out: LeftOut, *, bursts: bool
) -> Iterator[Found]:
    """Files that match a glob pattern, sorted; folders that match are searched, as if a shell had expanded it."""
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    base = Path(*plain)
    for path in expanded(pattern):
        if not path.is_dir():
            yield Found(path, path.relative_to(base))
        elif "**" not in pattern:  # `**` names the files in those folders itself
            for entry in _below(path, output, missing, left_out, bursts=bursts):
                yield replace(entry, place=path.relative_to(base) / entry.place)
