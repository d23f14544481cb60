"""Make the photo that `make demo` restores: a held-out photograph, reduced by 4 as the task defines it.

    python benchmarks/demo_image.py DATA/train/cid22_train_024.jpg docs/demo

Writes original.png and input.png. The photograph is one of the validation split (see the table in
src/dp_ir/zoo/training-images.tsv): no shipped network was trained on it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from dp_ir.image import Picture, read_image, to_tensor, with_pixels, write_image
from dp_ir.tasks import get_task
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    if not is_held_out(arguments.photo.name, DataRecipe.validation_fraction):
        parser.error(f"{arguments.photo.name} is in the training split; choose one of the validation split.")
    original: Picture = replace(read_image(arguments.photo), exif=None)
    task = get_task("sr4")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_image(arguments.out / "original.png", original)
    reduced = task.degrade(task.crop(to_tensor(original)))
    write_image(arguments.out / "input.png", with_pixels(original, reduced))


if __name__ == "__main__":
    main()
