"""What a batch works on in an object store."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dp_ir.batch.folders import EARLIER, HIDDEN, STRAY, LeftOut
from dp_ir.batch.locations import Url, files_below, matching, read_heads
from dp_ir.batch.manifest import Manifest, is_manifest
from dp_ir.batch.output import Output
from dp_ir.errors import ImageWriteError
from dp_ir.image.files.kinds import is_image_head, is_image_name, kind_of
from dp_ir.image.raw.raw_files import RAW_SUFFIXES


def stored(named: Url, output: Output, left_out: LeftOut, *, bursts: bool) -> list[tuple[Url, Path, bool]]:
    """Images or bursts of a store: a file, a folder and those below it, or what a pattern matches.

    Args:
        named: one of them.
        output: of this run; its results are left out without being counted, images beside them are.
        left_out: gets the files that are left out, with the kind of each.
        bursts: look for folders that directly hold frames.

    Returns:
        Each with its path below the output folder, and whether it is a folder.

    Raises:
        ImageReadError: the store cannot be reached or listed.
        ImageWriteError: the output is the input.
    """
    if output.place == named:
        raise ImageWriteError(f"The output {output} is also the input folder: choose another.")
    if glob.has_magic(named.text):
        files, base = list(matching(named)), Url(re.split(r"[*?\[]", named.text)[0].rpartition("/")[0])
    else:
        files, base = list(files_below(named)), named
    if files == [named]:
        return [(files[0], Path(named.name), False)]
    results = {url for folder in _with_manifests(files) for url in _results_of(folder, within=base)}
    candidates: list[Url] = []
    for file in files:
        if any(part.startswith(".") for part in file.path.relative_to(base.path).parts):  # and no way out by ".."
            left_out[file] = HIDDEN
        elif file in results:
            if not file.is_below(output.place):
                left_out[file] = EARLIER
        elif file != output.place and not is_manifest(file.name):
            candidates.append(file)
    used: list[Url] = []
    for file, head in zip(candidates, _heads(candidates), strict=True):
        is_raw = file.suffix.lower() in RAW_SUFFIXES
        usable = (bursts and is_raw) or is_image_name(file.suffix) or is_image_head(file.suffix, head)
        if usable and not file.is_below(output.place):
            used.append(file)
        elif usable:
            left_out[file] = STRAY
        elif not file.is_below(output.place):
            left_out[file] = kind_of(file.suffix, head)
    if not bursts:
        return [(file, Path(file.path.relative_to(base.path)), False) for file in used]
    holding: dict[Url, None] = {}
    for file in used:
        if not any(file.parent.is_below(burst) for burst in holding):
            holding[file.parent] = None
    return [
        (folder, Path(folder.name) if folder == named else Path(folder.path.relative_to(base.path)), True)
        for folder in holding
    ]


def _heads(files: Sequence[Url]) -> Iterator[bytes]:
    """The first bytes of those files whose names leave open what they are."""
    asked = [file for file in files if not is_image_name(file.suffix) and file.suffix.lower() not in RAW_SUFFIXES]
    heads = dict(zip(asked, read_heads(asked), strict=True))
    return (heads.get(file, b"") for file in files)


def _with_manifests(files: Sequence[Url]) -> list[Url]:
    return list(dict.fromkeys(file.parent for file in files if is_manifest(file.name)))


def _results_of(folder: Url, *, within: Url) -> Iterator[Url]:
    """The results that the manifests of a folder name; of the folder that was named, those made from what is in it."""
    for record in Manifest(folder).read().values():
        if folder != within or record.source.startswith(f"{within}/"):
            yield from (folder / target for target in record.targets)
