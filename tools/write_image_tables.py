"""Write the tables of known images: which images the shipped weights saw, which were held out, and which are tests.

    python tools/write_image_tables.py --training DATA/train --tests DATA/test

The trainer refuses images of the test table; a test of this repository checks that the two tables share no image and
that the split follows its rule.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from dp_ir.image import read_image
from dp_ir.training.data import is_held_out
from dp_ir.training.fingerprint import Fingerprint
from dp_ir.training.recipe import DataRecipe
from dp_ir.training.store import image_files

ZOO = Path(__file__).resolve().parents[1] / "src" / "dp_ir" / "zoo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--training", type=Path, required=True, help="folder of the training images")
    parser.add_argument("--tests", type=Path, required=True, help="folder with one folder per test set")
    arguments = parser.parse_args()
    fraction = DataRecipe.validation_fraction
    write(
        ZOO / "training-images.tsv",
        (
            row(file, arguments.training, "validation" if is_held_out(file.name, fraction) else "train")
            for file in image_files(arguments.training)
        ),
    )
    write(
        ZOO / "test-images.tsv",
        (
            row(file, arguments.tests, file.relative_to(arguments.tests).parts[0])
            for file in image_files(arguments.tests)
            if not file.parent.name.startswith("LR")
        ),
    )


def row(file: Path, folder: Path, split: str) -> list[str]:
    fingerprint = Fingerprint.of(read_image(file).pixels)
    return [str(file.relative_to(folder)), split, hashlib.sha256(file.read_bytes()).hexdigest(), str(fingerprint)]


def write(path: Path, rows: Iterator[list[str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["file", "split", "sha256", "fingerprint"])
        writer.writerows(rows)
    print(path)


if __name__ == "__main__":
    main()
