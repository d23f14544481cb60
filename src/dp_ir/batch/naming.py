"""What results are called: a name of its own for each, the shortest that tells them apart."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dp_ir.batch.finding import Found
from dp_ir.batch.locations import Location, Url
from dp_ir.batch.output import Output
from dp_ir.batch.paths import real
from dp_ir.errors import ImageWriteError

FORMATS: dict[str, str] = {
    "png": ".png",
    "jpeg": ".jpg",
    "webp": ".webp",
    "tiff": ".tif",
    "avif": ".avif",
    "jxl": ".jxl",
    "bmp": ".bmp",
}
"""Formats results can be asked for, with the suffix each gets."""


def suffix_of(output: Output, format: str | None) -> str:
    """Suffix of the results, checked against the name of the output."""
    if format is None:
        return output.place.suffix if output.is_file else FORMATS["png"]
    if format not in FORMATS:
        raise ImageWriteError(f"The format {format!r} cannot be written: expected one of {', '.join(FORMATS)}.")
    alike = {"tiff": {".tif", ".tiff"}, "jpeg": {".jpg", ".jpeg"}}.get(format, {FORMATS[format]})
    if output.is_file and output.place.suffix.lower() not in alike:
        raise ImageWriteError(f"The output {output} does not end in {FORMATS[format]}, but the format is {format}.")
    return FORMATS[format]


def places(found: Sequence[Found], output: Output, suffix: str, *, bursts: bool) -> list[Location]:
    """The target of each input: the output itself, or a name of its own in the output folder.

    Raises:
        ImageWriteError: the output is one file, and there are several inputs.
    """
    if not output.is_file:
        return [output.place / place for place in _distinct_names(found, suffix)]
    if len(found) > 1 and bursts and not any(entry.folder for entry in found):
        raise ImageWriteError(
            f"The output {output} is one file, but each of the {len(found)} files that were named is a burst of its "
            "own: to restore them together put them into a folder and name that; to restore each, name a folder as "
            "the output."
        )
    if len(found) > 1:
        raise ImageWriteError(f"The output {output} is one file, but there are {len(found)} inputs: name a folder.")
    return [output.place] * len(found)


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
        count = Counter(map(_folded, names))
        clashing = [
            index for index, name in enumerate(names) if count[_folded(name)] > 1 and level[index] < len(forms) - 1
        ]
        if not clashing:
            return names
        for index in clashing:
            level[index] += 1


def _folded(name: Path) -> str:
    """The name as file systems compare it that tell neither case nor the two spellings of an accented letter apart."""
    return unicodedata.normalize("NFC", str(name)).casefold()


def _common_folder(sources: Sequence[Location]) -> Path | None:
    try:
        return Path(os.path.commonpath([real(source).parent for source in sources if isinstance(source, Path)]))
    except ValueError:  # no inputs, or inputs on several drives
        return None


def _below(source: Location, folder: Path | None) -> Path:
    if isinstance(source, Url):
        return Path(source.path)
    full = real(source)
    if folder is not None:
        return full.relative_to(folder)
    return Path(full.drive.replace(":", ""), *full.parts[1:])
