"""Restore one photo, and see what of it was made up.

    python examples/restore_photo.py photo.jpg restored/

The restorer's own answer invents nothing and looks soft. A sample is a plausible sharp photo, another one for each
seed. Where samples differ, what is shown was made up: their standard deviation, written as a picture, is bright there.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from dp_ir import Restoration, read_image, write_image

WHITE = 0.25  # the deviation that is shown white, where 1 is the whole range of the pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path, help="folder for the results")
    parser.add_argument("--task", default="photo", help="bundle: photo, clean, sr4, deblur, a folder or a hub id")
    options = parser.parse_args()

    photo = read_image(options.photo)
    restore = Restoration.from_pretrained(options.task)
    result = restore(photo, seed=0, num_samples=3, detail=1)

    options.out.mkdir(parents=True, exist_ok=True)
    write_image(options.out / "restorer.png", result.restored)
    write_image(options.out / "sample.png", result.image)
    shown = np.uint8(255 * np.clip(result.std / WHITE, 0, 1))
    Image.fromarray(shown).save(options.out / "deviation.png")
    print(f"{result.nfe} network calls; results in {options.out}")


if __name__ == "__main__":
    main()
