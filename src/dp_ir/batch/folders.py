"""The files of a folder and below that may be inputs: what is hidden and what earlier runs made is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from dp_ir.batch.locations import Location
from dp_ir.batch.manifest import MANIFEST, Manifest
from dp_ir.batch.output import Output
from dp_ir.batch.paths import real
from dp_ir.errors import ImageReadError
from dp_ir.image.files.kinds import is_image_file

LeftOut: TypeAlias = dict[Location, str]
"""Files, and folders that are not looked into, with what each is called where they are counted."""

HIDDEN, EARLIER, STRAY, LINKED = "hidden", "from earlier runs", "in the output folder", "linked folder"


def files_in(
    folder: Path, output: Output | None, missing: list[tuple[Location, str]], left_out: LeftOut
) -> Iterator[tuple[Path, list[Path]]]:
    """A folder and those below it, sorted, each with the files in it that may be inputs, sorted.

    Args:
        folder: where to begin.
        output: of this run, if there is one; its results are left out without being counted, images beside them are.
        missing: gets the folders that cannot be listed.
        left_out: gets what is left out.
    """

    def cannot_list(error: OSError) -> None:
        place = Path(error.filename)
        missing.append((place, f"The folder {place} cannot be read ({error.strerror}): check its rights."))

    place = None if output is None else real(output.place)
    below = place if output is not None and not output.is_file else None
    results: set[str] = set()  # of earlier runs
    own: set[str] = set()  # of this one's folder
    for current, folders, names in os.walk(folder, onerror=cannot_list):
        here = Path(current)
        in_output = below is not None and (real(here) == below or below in real(here).parents)
        if MANIFEST in names:
            made = results_of(here, within=folder if here == folder else None)
            results |= made
            own |= made if in_output else set()
        hidden = [name for name in (*folders, *names) if name.startswith(".")]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [here / name for name in sorted(names) if not name.startswith(".") and name != MANIFEST]
        if in_output:
            left_out |= {path: STRAY for path in files if _plain(path) not in own and is_image_file(path)}
            continue
        left_out |= {here / name: HIDDEN for name in hidden}
        left_out |= {path: LINKED for name in folders if (path := here / name).is_symlink() and real(path) != place}
        left_out |= {path: EARLIER for path in files if _plain(path) in results}
        yield here, [path for path in files if _plain(path) not in results and real(path) != place]


def images_in(folder: Path) -> list[Path]:
    """The images in a folder and below that a batch would find.

    Raises:
        ImageReadError: a folder cannot be listed.
    """
    missing = list[tuple[Location, str]]()
    found = [path for _, files in files_in(folder, None, missing, {}) for path in files if is_image_file(path)]
    if missing:
        raise ImageReadError(missing[0][1])
    return found


def results_of(folder: Path, *, within: Path | None = None) -> set[str]:
    """Paths of the results that the manifest of a folder names; `within` a folder, only those made from what is in it.

    So an output folder can be named as an input, and results that were put beside their sources are none.
    """
    records = Manifest(folder).read().values()
    home = None if within is None else real(within)
    return {
        _plain(folder / target)
        for record in records
        for target in record.targets
        if home is None or Path(record.source).is_relative_to(home)
    }


def _plain(path: Path) -> str:
    return os.path.normpath(path)
