"""Whether text stays legible: lines of text, a reader of them, and the share of characters read right.

Lines are found in the original photographs, or written onto them. The reader is the text recogniser of the package
rapidocr_onnxruntime (Apache-2.0), which no training here saw.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.evaluation.report.document import Table
from dp_ir.evaluation.report.statistics import paired_p_value
from unseen_features import to_8_bit

PACKAGE = "rapidocr_onnxruntime"
SURE, SHORTEST = 0.9, 3

SIZES = (20, 26, 32, 40, 48)
"""Font sizes in pixels of the original."""
OPACITIES = (1.0, 0.6, 0.35)
SHEET = (480, 320)
"""Width and height of a sheet, which every photo of the customary sets has room for."""
_WORDS = (
    "harbour", "quay", "Lantern", "seven", "bridge", "violet", "Juniper", "market", "oxygen", "Walnut", "keyhole",
    "zephyr", "Marble", "figure", "copper", "timber", "Quartz", "window", "silver", "Garden", "plywood", "exhibit",
)  # fmt: skip

Corners = Sequence[tuple[float, float]]
"""Of a line of text: top left, top right, bottom right, bottom left, each (x, y) in pixels."""


@dataclass(frozen=True)
class Line:
    """A line of text in an image.

    Args:
        image: number of its image in the set.
        corners: where it stands.
        text: what is written there, without spaces.
        size: of its font in pixels, and `opacity` in (0, 1], where it was written here.
    """

    image: int
    corners: Corners
    text: str
    size: int | None = None
    opacity: float | None = None


class Reader(Protocol):
    """Finds and reads text in RGB images (1, 3, H, W) in [0, 1]."""

    def find(self, image: Tensor) -> list[Corners]:
        """Where text stands."""
        ...

    def read(self, image: Tensor, places: Sequence[Corners]) -> list[tuple[str, float]]:
        """The text at each place, without spaces, and how sure the reader is, 0 to 1."""
        ...


class RapidReader:
    """A `Reader` with the detector and the recogniser of rapidocr_onnxruntime; `load_reader` makes one.

    Images are rounded to 8 bits. Each place is read by itself, upright, so that no other decides how it is scaled.

    Args:
        engine: a `RapidOCR`.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        engine.text_rec.rec_batch_num = 1

    def find(self, image: Tensor) -> list[Corners]:
        """Where text stands that the recogniser makes anything of."""
        found, _ = self._engine(_bgr(image), use_cls=False)
        return [[(float(x), float(y)) for x, y in corners] for corners, *_ in found or []]

    def read(self, image: Tensor, places: Sequence[Corners]) -> list[tuple[str, float]]:
        """The text at each place."""
        if not places:
            return []
        pieces = self._engine.get_crop_img_list(_bgr(image), [np.asarray(place, np.float32) for place in places])
        results, _ = self._engine.text_rec(pieces)
        return [("".join(text.split()), float(confidence)) for text, confidence, *_ in results]


def _bgr(image: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.ascontiguousarray(to_8_bit(image)[..., ::-1])


def load_reader(folder: Path) -> RapidReader:
    """The reader of the package that lies in `folder`, one of Python's own or one given to `pip install --target`.

    Raises:
        DataError: the package, or something that it needs, is not there.
    """
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last: what Python has already comes first
    try:
        threads = torch.get_num_threads()
        engine = import_module(PACKAGE).RapidOCR(intra_op_num_threads=threads, inter_op_num_threads=1)
    except ImportError as error:
        raise DataError(
            f"The package {PACKAGE} in '{folder}' cannot be used ({error}): install what it needs beside it, or leave "
            "the text out with --only features."
        ) from error
    return RapidReader(engine)


def find_lines(reader: Reader, images: Sequence[Tensor]) -> list[Line]:
    """The lines of text in original images that are read with confidence `SURE` and have `SHORTEST` characters."""
    lines = []
    for number, image in enumerate(images):
        places = reader.find(image)
        for place, (text, confidence) in zip(places, reader.read(image, places), strict=True):
            if confidence >= SURE and len(text) >= SHORTEST:
                lines.append(Line(number, place, text))
    return lines


def read_lines(reader: Reader, lines: Sequence[Line], images: Sequence[Tensor]) -> list[float]:
    """Characters of every line that are read right in these images, which stand for the originals one by one."""
    right = []
    for number, image in enumerate(images):
        here = [line for line in lines if line.image == number]
        texts = reader.read(image, [line.corners for line in here])
        right += [characters_right(line.text, text) for line, (text, _) in zip(here, texts, strict=True)]
    return right


def characters_right(reference: str, text: str) -> float:
    """Characters of a reference that were read right: its length less the edit distance, at least 0."""
    return float(max(0, len(reference) - edit_distance(reference, text)))


def share_right(lines: Sequence[Line], right: Sequence[float]) -> float | None:
    """Share of all characters that were read right, 0 to 1; None without a line."""
    return sum(right) / sum(len(line.text) for line in lines) if lines else None


@dataclass
class Legibility:
    """Lines of text, and by method how many of each one's characters were read right."""

    lines: list[Line] = field(default_factory=list)
    right: dict[str, list[float]] = field(default_factory=dict)

    def share(self, method: str, chosen: Sequence[bool]) -> float | None:
        """Share of the characters of the chosen lines that were read right."""
        pairs = [
            pair for pair, taken in zip(zip(self.lines, self.right[method], strict=True), chosen, strict=True) if taken
        ]
        return share_right([line for line, _ in pairs], [right for _, right in pairs])

    def count(self, chosen: Sequence[bool]) -> str:
        """How many lines and characters were chosen, as "2 / 31"."""
        lines = [line for line, taken in zip(self.lines, chosen, strict=True) if taken]
        return f"{len(lines)} / {sum(len(line.text) for line in lines)}"

    def table(self, title: str, columns: Mapping[str, Sequence[bool]], reference: str) -> Table:
        """The first row counts, the others are methods; columns choose lines.

        The last column is the p-value of a method's having the same mean over all lines as `reference`.
        """
        counts = [self.count(chosen) for chosen in columns.values()]
        rows: list[list[str | float | None]] = [["lines / characters", *counts, None]]
        for method, right in self.right.items():
            shares = (self.share(method, chosen) for chosen in columns.values())
            p_value = None if method == reference else paired_p_value(right, self.right[reference])
            cells = [None if share is None else f"{share:.3f}" for share in shares]
            rows.append([method, *cells, None if p_value is None else f"{p_value:.3f}"])
        return Table(title, ["read from", *columns, f"p, as the {reference}"], rows)


def edit_distance(first: str, second: str) -> int:
    """Fewest characters to put in, take out or exchange to make one text of the other (Levenshtein 1966)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def write_sheet(photo: Tensor, number: int, opacity: float) -> tuple[Tensor, list[Line]]:
    """A piece of a photo with a word and a number in every font size.

    Args:
        photo: (1, 3, H, W) in [0, 1], at least as large as `SHEET`; its middle is used.
        number: of the sheet in its set, which decides what is written.
        opacity: of the letters, in (0, 1]: black on what is light, white on what is dark.

    Returns:
        The sheet (1, 3, h, w), and its lines.
    """
    width, height = SHEET
    top, left = (photo.shape[-2] - height) // 2, (photo.shape[-1] - width) // 2
    sheet = photo[..., top : top + height, left : left + width].clone()
    chance, lines = random.Random(number), []
    free = height - sum(SIZES)
    y = gap = free // (len(SIZES) + 1)
    for size in SIZES:
        words = f"{chance.choice(_WORDS)} {chance.randrange(100, 1000)}"
        font = ImageFont.load_default(size=size)
        x = chance.randrange(10, max(11, width - 10 - int(font.getlength(words))))
        mask = Image.new("L", SHEET)
        ImageDraw.Draw(mask).text((x, y), words, fill=255, font=font)
        cover = opacity * torch.from_numpy(np.array(mask)).to(sheet.dtype) / 255.0
        x0, y0, x1, y1 = _around(mask, size)
        ink = 0.0 if sheet[..., y0:y1, x0:x1].mean() > 0.5 else 1.0
        sheet = sheet + cover * (ink - sheet)
        corners = [(float(x), float(y)) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
        lines.append(Line(number, corners, words.replace(" ", ""), size, opacity))
        y += size + gap
    return sheet, lines


def _around(mask: Image.Image, size: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is written, with the margin that a detector of text leaves."""
    margin = round(0.2 * size)
    left, top, right, bottom = mask.getbbox() or (0, 0, *SHEET)
    return max(left - margin, 0), max(top - margin, 0), min(right + margin, SHEET[0]), min(bottom + margin, SHEET[1])


def sheets_of(photos: Sequence[Tensor], count: int) -> tuple[list[Tensor], list[Line]]:
    """Sheets of every opacity on `count` photos, spread over those that have room for one; none where none has."""
    width, height = SHEET
    roomy = [photo for photo in photos if photo.shape[-1] >= width and photo.shape[-2] >= height]
    count = min(count, len(roomy))
    chosen = [roomy[index * len(roomy) // count] for index in range(count)]
    sheets: list[Tensor] = []
    lines: list[Line] = []
    for photo in chosen:
        for opacity in OPACITIES:
            sheet, written = write_sheet(photo, len(sheets), opacity)
            sheets.append(sheet)
            lines += written
    return sheets, lines
