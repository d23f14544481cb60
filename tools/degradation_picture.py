r"""Make a picture of what the degradations do to a photograph.

    python tools/degradation_picture.py docs/demo/original.png --square 224,24,192 --seed 4 \
        -o docs/demo/degradations.webp

Above: motion blur, first its parts, then all of it as networks are trained on it, each with another seed. Below: from
the photograph through the sensor of a camera to the frames of a burst, and rendered back.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from dp_ir.degradation import imresize
from dp_ir.degradation.motion_blur import GAMMA, average, motion_blur, random_motion
from dp_ir.degradation.synthetic_burst import FRAMES, SCALE, synthetic_burst
from dp_ir.errors import DataError, DPIRError
from dp_ir.image import read_image, to_tensor
from dp_ir.image.raw.burst import unpack
from dp_ir.image.raw.camera import encode
from dp_ir.image.raw.demosaicking import demosaick_bilinear

Tile = tuple[str, Tensor]
GAP, TEXT, SIDE = 6, 18, 192
LENGTH, MOMENTS = 24.0, 49  # pixels of the motion that is taken apart, and images that it is averaged of
RGGB = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])  # planes by colours


def read_square(text: str) -> tuple[int, int, int]:
    try:
        left, top, side = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not left,top,side in pixels") from None
    return left, top, side


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blur_tiles(clean: Tensor, seed: int) -> list[Tile]:
    """What motion blur is made of, and what it makes."""
    height, width = clean.shape[-2:]
    linear = clean**GAMMA
    camera, own = (random_motion((height, width), LENGTH, MOMENTS, seeded(seed + i)) for i in range(2))
    still = random_motion((height, width), 0.0, MOMENTS, seeded(seed))
    lights = torch.zeros_like(clean)
    spacing = min(height, width) // 6
    lights[..., spacing // 2 :: spacing, spacing // 2 :: spacing] = 12.0
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    disc = ((0.6 - (x**2 + y**2).sqrt()) * 20).clamp(0, 1)[None, None]

    def shown(light: Tensor) -> Tensor:
        return light.clamp(0, 1) ** (1 / GAMMA)

    return [
        ("clean", clean),
        ("a camera's motion", shown(average(lights, camera))),
        ("camera shake", shown(average(linear, camera))),
        ("a layer that moves", shown(average(linear, still, [(disc, own)]))),
        *((f"motion_blur, seed {seed + i}", motion_blur(clean, generator=seeded(seed + i))) for i in range(2)),
    ]


def burst_tiles(clean: Tensor, seed: int) -> list[Tile]:
    """A burst on the way from the photograph and back."""
    burst = synthetic_burst(clean, generator=seeded(seed))
    camera = burst.camera
    sensor = camera.sensor(clean).clamp(0, 1)

    def frame(number: int) -> Tensor:
        demosaicked = demosaick_bilinear(burst.frames[number : number + 1])
        return camera.render(imresize(demosaicked, SCALE / 2).clamp(0, 1))

    colours = (burst.frames[0, :, None] * RGGB[:, :, None, None]).transpose(0, 1)  # (3, 4, h, w)
    mosaic = unpack(colours).repeat_interleave(SCALE // 2, 1).repeat_interleave(SCALE // 2, 2)[None]
    return [
        ("sensor RGB", encode(sensor)),
        ("mosaic of frame 1", encode(mosaic)),
        *((f"frame {number}, rendered", frame(number - 1)) for number in (1, 2, FRAMES)),
        ("truth, rendered", camera.render(sensor)),
    ]


def compose(rows: list[list[Tile]], zoom: int) -> Image.Image:
    """One row of pictures under their names after the other."""
    height, width = (zoom * side for side in rows[0][0][1].shape[-2:])
    across, down = width + GAP, height + TEXT + GAP
    canvas = Image.new("RGB", (across * max(map(len, rows)) - GAP, down * len(rows) - GAP), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=TEXT - 5)
    for i, row in enumerate(rows):
        for j, (name, image) in enumerate(row):
            levels = image[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
            tile = Image.fromarray(np.ascontiguousarray(levels)).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(tile, (j * across, i * down + TEXT))
            draw.text((j * across + width // 2, i * down), name, fill="black", font=font, anchor="ma")
    return canvas


def make(options: argparse.Namespace) -> Image.Image:
    photograph = to_tensor(read_image(options.image))
    height, width = photograph.shape[-2:]
    left, top, side = options.square or ((width - SIDE) // 2, (height - SIDE) // 2, SIDE)
    if side < SCALE or side % SCALE or min(left, top) < 0 or left + side > width or top + side > height:
        raise DataError(
            f"A square of {side} pixels at {left},{top} was to be cut from '{options.image}', which has "
            f"{width}x{height}: expected one inside of it whose side is a multiple of {SCALE}; give it by --square."
        )
    clean = photograph[..., top : top + side, left : left + side]
    return compose([blur_tiles(clean, options.seed), burst_tiles(clean, options.seed)], options.zoom)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("image", type=Path, help="a sharp photograph")
    parser.add_argument("-o", "--out", dest="output", type=Path, required=True, help="picture to write, .webp or .png")
    parser.add_argument("--square", type=read_square, help="left,top,side of what is shown, in pixels; else its centre")
    parser.add_argument("--zoom", type=int, choices=range(1, 9), default=1, help="repeat every pixel so often")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        picture = make(options)
    except DPIRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.output, lossless=True, method=6, optimize=True)  # a mosaic is colours pixel by pixel
    print(f"{options.output}: {picture.width}x{picture.height}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
