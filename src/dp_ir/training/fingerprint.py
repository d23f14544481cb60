"""Recognising test images among training images, whatever their file format."""

from __future__ import annotations

import csv
import importlib.resources
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAME_IMAGE = 24
"""Fingerprints with at most this many different bits are of one image, recompressed or resized."""


@dataclass(frozen=True)
class Fingerprint:
    """Difference hash of an image: which cells of a 16 x 17 thumbnail are darker than their right neighbours."""

    bits: int

    @classmethod
    def of(cls, pixels: npt.NDArray[np.floating]) -> Fingerprint:
        """Fingerprint of pixels (H, W, 3), in any range."""
        grey = pixels.mean(axis=2)
        rows = np.linspace(0, grey.shape[0], 17).astype(int)
        columns = np.linspace(0, grey.shape[1], 18).astype(int)
        # Integral image: the mean over any cell from four values, also where a cell is thinner than a pixel.
        integral = np.pad(grey, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
        top, bottom = rows[:-1], np.maximum(rows[1:], rows[:-1] + 1).clip(max=grey.shape[0])
        left, right = columns[:-1], np.maximum(columns[1:], columns[:-1] + 1).clip(max=grey.shape[1])
        total = (
            integral[bottom][:, right] - integral[top][:, right] - integral[bottom][:, left] + integral[top][:, left]
        )
        area = np.maximum((bottom - top)[:, None] * (right - left)[None], 1)
        mean = total / area
        darker = mean[:, :-1] < mean[:, 1:]
        return cls(int.from_bytes(np.packbits(darker).tobytes(), "big"))

    def distance(self, other: Fingerprint) -> int:
        """Number of different bits, 0 to 256; about 128 for unrelated images."""
        return (self.bits ^ other.bits).bit_count()

    def __str__(self) -> str:
        return f"{self.bits:064x}"


@dataclass(frozen=True)
class KnownImage:
    """An image of a known set."""

    name: str
    fingerprint: Fingerprint
    split: str  # "train" or "validation" of the shipped weights' images, or the name of a test set


def known_images(table: str) -> list[KnownImage]:
    """Images of a shipped table: "test-images" or "training-images"."""
    text = (importlib.resources.files("dp_ir.zoo") / f"{table}.tsv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t")
    return [KnownImage(row["file"], Fingerprint(int(row["fingerprint"], 16)), row["split"]) for row in rows]


def matching_test_image(fingerprint: Fingerprint, tests: list[KnownImage]) -> KnownImage | None:
    """The test image that a fingerprint belongs to, if any."""
    nearest = min(tests, key=lambda known: known.fingerprint.distance(fingerprint), default=None)
    if nearest is None or nearest.fingerprint.distance(fingerprint) > SAME_IMAGE:
        return None
    return nearest
