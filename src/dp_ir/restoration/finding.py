"""What a batch works on: files and folders as they were named become images or bursts, each once."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dp_ir.errors import ImageWriteError
from dp_ir.image import IMAGE_SUFFIXES
from dp_ir.image.burst_files import FRAMES, frame_files
from dp_ir.image.raw import RAW_SUFFIXES
from dp_ir.restoration.locations import Location, Url, files_below, location_of, matching
from dp_ir.restoration.paths import downwards, expanded, is_circular, real


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


def find(
    inputs: Iterable[str | Location], output: Location, *, bursts: bool
) -> tuple[list[Found], list[tuple[Location, str]]]:
    """Expand files, folders and patterns.

    Args:
        inputs: as they were named; texts with a protocol are URLs.
        output: where results go; those of an earlier run are not found.
        bursts: look for bursts rather than for images: a folder that holds frames is one, any other is searched for
            such folders.

    Returns:
        What was found, each once, and the inputs that lead to nothing, with a sentence that says why.

    Raises:
        ImageWriteError: results would lie among the inputs.
    """
    search = bursts_in if bursts else images_in
    absent = f"frames: expected {FRAMES}" if bursts else f"image: expected files ending in {listed(IMAGE_SUFFIXES)}"
    found: dict[Location, Found] = {}
    missing: list[tuple[Location, str]] = []
    for named in inputs:
        path = location_of(named)
        if isinstance(path, Url):
            entries = _stored(path, output, bursts=bursts)
            reason = f"{path} leads to no {absent}."
        elif path.is_dir():
            entries = [
                replace(entry, place=Path(real(path).name or "frames")) if entry.place == Path() else entry
                for entry in search(path, output)
            ]
            reason = f"The folder {path} holds no {absent}."
        elif path.exists() or not glob.has_magic(str(path)):
            entries = [Found(path, Path(path.name))] if path.exists() else []
            reason = f"There is no file {path}: check the path."
        else:
            entries = list(_match(str(path), output, search))
            reason = f"No file matches {named}: check the pattern."
        if not entries:
            missing.append((path, reason))
        for entry in entries:
            if isinstance(entry.source, Path) and is_circular(entry.source):
                reason = f"{entry.source} is a symbolic link that leads back to itself: remove it."
                missing.append((entry.source, reason))
                continue
            found.setdefault(real(entry.source), replace(entry, place=downwards(entry.place)))
    return list(found.values()), missing


def names_file(output: Location) -> bool:
    """Whether an output is a single file rather than a folder."""
    return output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir()


def listed(suffixes: Iterable[str]) -> str:
    """Suffixes in a sentence."""
    return ", ".join(sorted(suffixes))


def images_in(folder: Path, output: Location | None = None) -> Iterator[Found]:
    """Images in a folder and below, sorted; hidden ones and the results of an earlier run are left out."""
    results = None if output is None else real(output)
    if results == real(folder):
        raise ImageWriteError(
            f"The output {output} is also the input folder: choose another, so that results and inputs do not mix."
        )
    for here, names in _folders(folder, results):
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES and real(path) != results:
                yield Found(path, path.relative_to(folder))


def bursts_in(folder: Path, output: Location) -> Iterator[Found]:
    """Folders that directly hold frames: this one, or those below it, sorted; results of earlier runs are left out."""
    results = real(output)
    if real(folder) == (results.parent if names_file(output) else results):
        raise ImageWriteError(
            f"The output {output} would lie in the input folder {folder}: choose another, so that no result is taken "
            "for a frame."
        )
    holding: list[Path] = []
    for here, _ in _folders(folder, results):
        if not any(burst in here.parents for burst in holding) and frame_files(here):
            holding.append(here)
            yield Found(here, here.relative_to(folder), folder=True)


def _folders(folder: Path, results: Location | None) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below it, sorted, with the names of their files; hidden ones and the results are left out."""
    for current, folders, names in os.walk(folder):
        here = Path(current)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and real(here / name) != results)
        yield here, names


def _stored(named: Url, output: Location, *, bursts: bool) -> list[Found]:
    """Images or bursts of a store: a file, a folder and those below it, or what a pattern matches."""
    if output == named:
        raise ImageWriteError(f"The output {output} is also the input folder: choose another.")
    if glob.has_magic(named.text):
        files, base = matching(named), Url(re.split(r"[*?\[]", named.text)[0].rpartition("/")[0])
    else:
        files, base = files_below(named), named
    suffixes = (*RAW_SUFFIXES, *IMAGE_SUFFIXES) if bursts else IMAGE_SUFFIXES
    holding: dict[Url, None] = {}
    entries: list[Found] = []
    for file in files:
        place = Path(file.name) if file == named else Path(file.path.relative_to(base.path))
        hidden = any(part.startswith(".") for part in place.parts)  # and nothing leads out of the folder by ".."
        if hidden or file.suffix.lower() not in suffixes or file.is_below(output):
            continue
        if not bursts or file == named:
            entries.append(Found(file, place))
        elif not any(file.parent.is_below(burst) for burst in holding):
            holding[file.parent] = None
    for folder in holding:
        place = Path(folder.name) if folder == named else Path(folder.path.relative_to(base.path))
        entries.append(Found(folder, place, folder=True))
    return entries


def _match(pattern: str, output: Location, search: Callable[[Path, Location], Iterator[Found]]) -> Iterator[Found]:
    """Files that match a glob pattern, sorted; folders that match are searched, as if a shell had expanded it."""
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    base = Path(*plain)
    for path in expanded(pattern):
        if not path.is_dir():
            yield Found(path, path.relative_to(base))
        elif "**" not in pattern:  # `**` names the files in those folders itself
            yield from (replace(entry, place=path.relative_to(base) / entry.place) for entry in search(path, output))
