"""Where the results of a batch go: one file, or a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dp_ir.batch.locations import Location, location_of
from dp_ir.errors import ImageWriteError
from dp_ir.image import IMAGE_SUFFIXES

_LIKE_A_SUFFIX = re.compile(r"\.\w*[^\W\d_]\w*")  # ".pdf" and ".7z", but not ".2024" or ". Smith"
_ENDS_OF_FOLDERS = tuple({"/", os.sep})


@dataclass(frozen=True)
class Output:
    """Where results go.

    Args:
        place: the file for a single result, or the folder.
        is_file: which of the two it is.
    """

    place: Location
    is_file: bool

    @property
    def folder(self) -> Location:
        """The folder that results and their manifest lie in."""
        return self.place.parent if self.is_file else self.place

    def __str__(self) -> str:
        return str(self.place)


def output_of(named: str | Location) -> Output:
    """What an output that was named is: a file where it has an image's suffix, a folder where it is one or has none.

    Args:
        named: a path or URL; a text that ends in a slash names a folder, whatever its suffix.

    Raises:
        ImageWriteError: it is a file but no image, or its suffix is that of some other file, so that neither is meant
            for certain.
    """
    place = location_of(named)
    if place.is_dir() or (isinstance(named, str) and named.endswith(_ENDS_OF_FOLDERS)):
        return Output(place, is_file=False)
    if place.suffix.lower() in IMAGE_SUFFIXES:
        return Output(place, is_file=True)
    if isinstance(place, Path) and place.is_file():
        raise ImageWriteError(f"The output {place} is a file but not an image: expected an image or a folder.")
    if _LIKE_A_SUFFIX.fullmatch(place.suffix):
        raise ImageWriteError(
            f"The output {place} cannot be written in that format ({place.suffix}): expected "
            f"{listed(IMAGE_SUFFIXES)}, or for a folder of that name a slash at its end."
        )
    return Output(place, is_file=False)


def listed(suffixes: Iterable[str]) -> str:
    """Suffixes in a sentence."""
    return ", ".join(sorted(suffixes))
