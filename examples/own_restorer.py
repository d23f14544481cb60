"""Use a restorer of your own, a Python function, with the denoiser and the fusion of a bundle.

    python examples/own_restorer.py photo.png large.png [--restorer mine.py:enlarge]

A restorer takes observations (B, 3, h, w) in [0, 1] and gives its estimate (B, 3, scale * h, scale * w): here the
photo enlarged and sharpened, no network at all. DP-IR says that the fusion was trained with another one, and works.
"""

import argparse
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from dp_ir import Restoration, load_restorer, read_image, write_image

SCALE = 4


def enlarge(observation: Tensor) -> Tensor:
    """Enlarge and sharpen observations (B, 3, h, w) in [0, 1]."""
    large = F.interpolate(observation, scale_factor=SCALE, mode="bicubic", antialias=False).clamp(0, 1)
    blurred = F.avg_pool2d(large, 5, stride=1, padding=2, count_include_pad=False)
    return (large + 0.6 * (large - blurred)).clamp(0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--restorer", metavar="FILE.py:NAME", help="instead of the one above; the file is executed")
    options = parser.parse_args()

    restorer = load_restorer(options.restorer or enlarge, scale=SCALE)
    restore = Restoration.from_pretrained("sr4", restorer=restorer)
    result = restore(read_image(options.photo), seed=0)
    write_image(options.out, result.image)
    print(f"{options.out}: {result.image.pixels.shape[1]}x{result.image.pixels.shape[0]}")


if __name__ == "__main__":
    main()
