"""What results are called: a name of its own for each, the shortest that tells them apart."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dp_ir.errors import ImageWriteError
from dp_ir.image import IMAGE_SUFFIXES
from dp_ir.restoration.finding import Found, listed, names_file
from dp_ir.restoration.locations import Location, Url
from dp_ir.restoration.paths import real

FORMATS: dict[str, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp"}
"""Formats results can be asked for, with the suffix each gets."""

_OTHER_IMAGE_SUFFIXES = frozenset({".gif", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".exr", ".hdr", ".psd", ".dng"})


def suffix_of(output: Location, format: str | None) -> str:
    """Suffix of the results, checked against the name of the output."""
    if format is None:
        return output.suffix if names_file(output) else FORMATS["png"]
    if format not in FORMATS:
        raise ImageWriteError(f"The format {format!r} cannot be written: expected one of {', '.join(FORMATS)}.")
    alike = {"tiff": {".tif", ".tiff"}, "jpeg": {".jpg", ".jpeg"}}.get(format, {FORMATS[format]})
    if names_file(output) and output.suffix.lower() not in alike:
        raise ImageWriteError(f"The output {output} does not end in {FORMATS[format]}, but the format is {format}.")
    return FORMATS[format]


def places(found: Sequence[Found], output: Location, suffix: str) -> list[Location]:
    """The target of each input: the output itself, or a name of its own in the output folder."""
    if names_file(output):
        if len(found) > 1:
            raise ImageWriteError(f"The output {output} is one file, but there are {len(found)} inputs: name a folder.")
        return [output] * len(found)
    if isinstance(output, Url):
        return [output / place for place in _distinct_names(found, suffix)]
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
