"""Paths of the images that a comparison stores: the run writes them, the page shows them.

``OUT/images/<method>/<dataset>/<image>.png``, with the folders ``_target`` and ``_observation`` beside the methods, and
further samples of an image in ``OUT/samples/<method>/<dataset>/<image>/<number>.png``.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

TARGET = "_target"
OBSERVATION = "_observation"

_IMAGES = "images"
_SAMPLES = "samples"
_UNSAFE = re.compile(r"[^\w .+=(),@-]+")  # also what Windows and URLs take amiss
_LONGEST = 60  # characters of up to four bytes each; file systems allow 255 bytes


def safe_name(name: str) -> str:
    """A name of a folder or file for any text: equal texts give equal names, different texts different ones.

    A name that had to be changed ends in a piece of its hash, since two texts could otherwise meet.
    """
    short = _UNSAFE.sub("-", name)[:_LONGEST].strip("-. ")
    if short == name and short not in (TARGET, OBSERVATION):
        return short
    return f"{short or 'x'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def stored_image(out: Path, method: str, dataset: str, image: str) -> Path:
    """Path of the image that `method` made; `TARGET` and `OBSERVATION` stand for the data itself.

    Args:
        out: folder of the comparison.
        method: name of the method, or `TARGET`, or `OBSERVATION`.
        dataset: name of the data set.
        image: name in the data set; may hold "/", which stays a folder.
    """
    folder = method if method in (TARGET, OBSERVATION) else safe_name(method)
    *scenes, last = image.split("/")
    return Path(out, _IMAGES, folder, safe_name(dataset), *map(safe_name, scenes), f"{safe_name(last)}.png")


def stored_sample(out: Path, method: str, dataset: str, image: str, number: int) -> Path:
    """Path of one of the samples that `method` drew of an image; number 0 is the image of `stored_image`."""
    if number == 0:
        return stored_image(out, method, dataset, image)
    scenes = map(safe_name, image.split("/"))
    return Path(out, _SAMPLES, safe_name(method), safe_name(dataset), *scenes, f"{number}.png")
