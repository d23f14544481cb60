"""What a batch works on: files and folders as they were named become images or bursts, each once."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dp_ir.errors import ImageWriteError
from dp_ir.image import IMAGE_SUFFIXES
from dp_ir.image.burst_files import FRAMES, frame_files


@dataclass(frozen=True)
class Found:
    """An input and its path below the output folder.

    Args:
        source: a file, or the folder of a burst.
        place: relative path that its results are named after.
        folder: whether it is a folder, whose name has no suffix to be replaced.
    """

    source: Path
    place: Path
    folder: bool = False


def find(inputs: Iterable[str | Path], output: Path, *, bursts: bool) -> tuple[list[Found], list[tuple[Path, str]]]:
    """Expand files, folders and patterns.

    Args:
        inputs: as they were named.
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
    found: dict[Path, Found] = {}
    missing: list[tuple[Path, str]] = []
    for named in inputs:
        path = Path(named)
        if path.is_dir():
            entries = [
                replace(entry, place=Path(path.resolve().name)) if entry.place == Path() else entry
                for entry in search(path, output)
            ]
            reason = f"The folder {path} holds no {absent}."
        elif path.exists() or not glob.has_magic(str(named)):
            entries = [Found(path, Path(path.name))] if path.exists() else []
            reason = f"There is no file {path}: check the path."
        else:
            entries = list(_match(str(named), output, search))
            reason = f"No file matches {named}: check the pattern."
        if not entries:
            missing.append((path, reason))
        for entry in entries:
            found.setdefault(entry.source.resolve(), entry)
    return list(found.values()), missing


def names_file(output: Path) -> bool:
    """Whether an output is a single file rather than a folder."""
    return output.suffix.lower() in IMAGE_SUFFIXES and not output.is_dir()


def listed(suffixes: Iterable[str]) -> str:
    """Suffixes in a sentence."""
    return ", ".join(sorted(suffixes))


def images_in(folder: Path, output: Path) -> Iterator[Found]:
    """Images in a folder and below, sorted; hidden ones and the results of an earlier run are left out."""
    results = output.resolve()
    if results == folder.resolve():
        raise ImageWriteError(
            f"The output {output} is also the input folder: choose another, so that results and inputs do not mix."
        )
    for here, names in _folders(folder, results):
        for name in sorted(names):
            path = here / name
            if not name.startswith(".") and path.suffix.lower() in IMAGE_SUFFIXES and path.resolve() != results:
                yield Found(path, path.relative_to(folder))


def bursts_in(folder: Path, output: Path) -> Iterator[Found]:
    """Folders that directly hold frames: this one, or those below it, sorted; results of earlier runs are left out."""
    results = output.resolve()
    if folder.resolve() == (results.parent if names_file(output) else results):
        raise ImageWriteError(
            f"The output {output} would lie in the input folder {folder}: choose another, so that no result is taken "
            "for a frame."
        )
    holding: list[Path] = []
    for here, _ in _folders(folder, results):
        if not any(burst in here.parents for burst in holding) and frame_files(here):
            holding.append(here)
            yield Found(here, here.relative_to(folder), folder=True)


def _folders(folder: Path, results: Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and those below it, sorted, with the names of their files; hidden ones and the results are left out."""
    for current, folders, names in os.walk(folder):
        here = Path(current)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and (here / name).resolve() != results)
        yield here, names


def _match(pattern: str, output: Path, search: Callable[[Path, Path], Iterator[Found]]) -> Iterator[Found]:
    """Files that match a glob pattern, sorted; folders that match are searched, as if a shell had expanded it."""
    plain = itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
    base = Path(*plain)
    for match in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute patterns
        path = Path(match)
        if not path.is_dir():
            yield Found(path, path.relative_to(base))
        elif "**" not in pattern:  # `**` names the files in those folders itself
            yield from (replace(entry, place=path.relative_to(base) / entry.place) for entry in search(path, output))
