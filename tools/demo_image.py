"""Make the photo that `make demo` restores: a held-out photograph, made four times smaller and a JPEG by Pillow.

    python tools/demo_image.py DATA/train/cid22_train_024.jpg docs/demo

Writes original.png and input.jpg. The photograph is one of the validation split (see the table in
src/dp_ir/zoo/training-images.tsv): no shipped network was trained on it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from PIL import Image

from dp_ir.image import Picture, read_image, write_image
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe

QUALITY = 80  # between what cameras and what messengers choose


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    if not is_held_out(arguments.photo.name, DataRecipe.validation_fraction):
        parser.error(f"{arguments.photo.name} is in the training split; choose one of the validation split.")
    original: Picture = replace(read_image(arguments.photo), exif=None)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_image(arguments.out / "original.png", original)
    photo = Image.open(arguments.out / "original.png")
    small = photo.resize((photo.width // 4, photo.height // 4), Image.Resampling.LANCZOS)
    small.save(arguments.out / "input.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
