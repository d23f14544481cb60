"""Which image files belong together: observations and the clean images of the same names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dp_ir.errors import DataError
from dp_ir.image.files.writing import IMAGE_SUFFIXES

# What data sets append to the same name in the two folders: "img_001_SRF_4_HR" and "..._LR", "0801" and "0801x4".
ROLE = re.compile(r"([_-](HR|LR|GT|LQ)|[_-]?x\d+)+$", re.IGNORECASE)


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair: one observation, the frames of a burst, or none where the target is degraded."""

    name: str
    target: Path
    observations: tuple[Path, ...] = ()


def find_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; raises DataError if there are none."""
    found = sorted(path for path in folder.iterdir() if is_image(path))
    if not found:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(
            f"The folder '{folder}' holds no images ({suffixes}); name the folder that directly holds them."
        )
    return found


def is_image(path: Path) -> bool:
    """Whether a file looks like an image by its name; hidden files, which some systems leave beside images, do not."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def unpaired(folder: Path) -> list[PairFiles]:
    """The images directly in a folder as targets without observations."""
    return [PairFiles(path.stem, path) for path in find_images(folder)]


def matched(high: Path, low: Path, prefix: str = "") -> list[PairFiles]:
    """Pair files by their names, or, where these differ, by their names without the ending that tells the role.

    Args:
        high: folder of targets, with its sub-folders.
        low: of observations.
        prefix: of the pairs' names.

    Raises:
        DataError: a file has no partner, or two have one name.
    """
    targets, observations = images_below(high), images_below(low)
    equal = {_stem(path, high) for path in targets} == {_stem(path, low) for path in observations}
    first, second = _by_name(targets, high, with_role=equal), _by_name(observations, low, with_role=equal)
    for here, there, folder in ((first, second, low), (second, first, high)):
        alone = sorted(here.keys() - there.keys())
        if alone:
            raise DataError(
                f"'{here[alone[0]]}' has no partner in '{folder}' ({len(alone)} such files); both folders must hold "
                "the same names, apart from an ending such as _HR, _LR or x4."
            )
    return [PairFiles(prefix + _stem(first[name], high), first[name], (second[name],)) for name in sorted(first)]


def _by_name(paths: Sequence[Path], folder: Path, *, with_role: bool) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = _stem(path, folder)
        if not with_role and path.stem != ROLE.sub("", path.stem) != "":
            name = ROLE.sub("", name)
        if name in named:
            raise DataError(
                f"'{named[name]}' and '{path}' count as the same name '{name}', so their partners are not clear; "
                "keep one of them."
            )
        named[name] = path
    return named


def images_below(folder: Path) -> list[Path]:
    """The images of a folder and of its sub-folders, hidden ones left out."""
    found = sorted(
        path
        for path in folder.rglob("*")
        if is_image(path) and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return found or find_images(folder)  # which says what is missing


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def folders_of(folder: Path) -> list[Path]:
    """The folders directly in a folder, sorted by name, without those that some systems leave."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def listing(folder: Path) -> str:
    """What folders there are in a folder, for errors."""
    names = [path.name for path in folders_of(folder)]
    if not names:
        return "no folders"
    return f"the folders {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
