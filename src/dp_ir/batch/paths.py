"""Paths that a batch can rely on: patterns that end, places that lead downwards, folders that are where they seem."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TypeVar

from dp_ir.batch.locations import Location

_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
_WINDOWS = os.name == "nt"


LocationT = TypeVar("LocationT", bound=Location)


def real(location: LocationT) -> LocationT:
    """A path without symbolic links, unlike by `Path.resolve` also of links that lead in a circle; a URL as it is."""
    return type(location)(os.path.realpath(location)) if isinstance(location, Path) else location


def is_circular(path: Path) -> bool:
    """Whether a path is a symbolic link that leads back to itself."""
    return path.is_symlink() and real(path).is_symlink()


def expanded(pattern: str) -> list[Path]:
    """Files and folders that a glob pattern matches, sorted, each once.

    `**` stands for folders at any depth, but never for symbolic links to folders, whose circles have no end; any other
    part of a pattern may match one. Hidden ones are matched only by a part that begins with a dot.
    """
    return sorted({Path(match) for match in _expanded(pattern)})


def _expanded(pattern: str) -> Iterator[str]:
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.iglob(pattern)  # noqa: PTH207 - Path.glob takes no absolute patterns
        return
    deep = parts.index("**")
    rest = parts[deep + 1 :] or ("*",)
    for head in glob.iglob(str(Path(*parts[:deep]))) if deep else (".",):  # noqa: PTH207
        for folder, folders, _ in os.walk(head):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _expanded(str(Path(glob.escape(folder), *rest)))


def downwards(place: PurePath, *, windows: bool = _WINDOWS) -> Path:
    """A relative path of the same names that cannot lead out of the folder it is put below.

    Drives, roots and steps upwards are left out. For Windows, names of devices and names that end in a dot or a space,
    none of which are files there, get an underscore, as do colons and backslashes.
    """
    names = [name for name in place.parts if name not in (place.anchor, "..", ".", "")]
    return Path(*(_for_windows(name) if windows else name for name in names))


def _for_windows(name: str) -> str:
    name = "".join("_" if letter in '<>:"/\\|?*' or ord(letter) < 32 else letter for letter in name)
    stem, dot, rest = name.partition(".")
    if stem.rstrip(" ").casefold() in _RESERVED:
        name = f"{stem}_{dot}{rest}"
    return f"{name}_" if name.endswith((".", " ")) else name


def way_out(target: Path, folder: Path) -> str:
    """Why a target below a folder would not lie in it: a sentence about the symbolic link that leads elsewhere, or "".

    The folder itself may be a link. So may the target: it is replaced, not written through.
    """
    try:
        steps = target.parent.relative_to(folder).parts
    except ValueError:  # the target is the output itself
        return ""
    here = folder
    for step in steps:
        here = here / step
        if here.is_symlink() and not real(here).is_relative_to(real(folder)):
            return (
                f"The folder {here} of the output is a link to {real(here)}, outside of {folder}, where nothing is "
                "written: remove the link, or name that folder as the output."
            )
    return ""
