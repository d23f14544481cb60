"""Make a picture that shows input, restorer and DP-IR side by side.

    python tools/compare_picture.py photo.png -o comparison.png --crop 30,20,64,48

Each crop is a row; crops are given in pixels of the input (cells of a burst's mosaic) as left,top,width,height. Left
out: one from the centre. With --target the true image is the last column; with --degrade the input file is itself
the true image, and what is restored comes about by the degradation of the bundle's task: an image, or a burst of which
the first frame, demosaicked and enlarged, is shown. Each --detail is a column, and so is each bundle --beside.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from dp_ir.datasets.layouts import load_rgb
from dp_ir.degradation.chance import image_generator
from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.methods.method import Observation
from dp_ir.evaluation.methods.restoration_methods import Interpolation
from dp_ir.image import Picture, to_tensor
from dp_ir.image.raw.burst import Burst
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task

Crop = tuple[int, int, int, int]
GAP, TEXT, DEFAULT_CROP = 6, 18, 64


def read_crop(text: str) -> Crop:
    parts = [int(part) for part in text.split(",")]
    if len(parts) != 4 or min(parts) < 0 or min(parts[2:]) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not left,top,width,height in pixels of the input")
    return parts[0], parts[1], parts[2], parts[3]


def centre_crop(height: int, width: int) -> Crop:
    w, h = min(DEFAULT_CROP, width), min(DEFAULT_CROP, height)
    return (width - w) // 2, (height - h) // 2, w, h


def cut(image: Tensor, crop: Crop, zoom: int) -> Image.Image:
    """The crop of an image, in its pixels, as a Pillow image, each pixel repeated `zoom` times."""
    left, top, width, height = crop
    part = image[0, :, top : top + height, left : left + width].clamp(0, 1).permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.round(part * 255).astype(np.uint8))
    return picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)


def compose(columns: Sequence[tuple[str, Tensor]], crops: Sequence[Crop], zoom: int) -> Image.Image:
    """Labels above, one column per image, one row per crop; a row is as high as its crop."""
    rows = [[cut(image, crop, zoom) for _, image in columns] for crop in crops]
    width = max(sum(part.width + GAP for part in row) for row in rows) - GAP
    height = TEXT + GAP + sum(row[0].height + GAP for row in rows) - GAP
    canvas = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=TEXT - 4)
    step = rows[0][0].width + GAP
    for index, (label, _) in enumerate(columns):
        draw.text((index * step + rows[0][0].width // 2, 0), label, fill="black", font=font, anchor="ma")
    top = TEXT + GAP
    for row in rows:
        left = 0
        for part in row:
            canvas.paste(part, (left, top))
            left += part.width + GAP
        top += row[0].height + GAP
    return canvas


def make(options: argparse.Namespace) -> Image.Image:
    restore = Restoration.from_pretrained(options.bundle, device="cpu")
    task = get_task(restore.settings.task)
    given = load_rgb(options.image)
    target: Tensor | None = None
    if options.degrade:
        target = task.crop(given)
        made = task.degrade(target, generator=image_generator(options.image.stem, options.seed))
        observed = Observation("", "", made.frames[None], made.camera) if isinstance(made, Burst) else _image(made)
    else:
        observed = _image(given)
        if options.target:
            target = load_rgb(options.target)
    height, width = observed.image.shape[-2:]
    if target is not None and target.shape[-2:] != (task.scale * height, task.scale * width):
        raise DataError(
            f"The target has {target.shape[-1]}x{target.shape[-2]} pixels, but the input of {width}x{height} needs one "
            f"of {task.scale * width}x{task.scale * height}; give the image that belongs to it."
        )
    crops = options.crop or [centre_crop(height, width)]
    for left, top, w, h in crops:
        if left + w > width or top + h > height:
            raise DataError(
                f"The crop {left},{top},{w},{h} leaves the input of {width}x{height} pixels; move it inside."
            )
    if observed.camera is not None:
        columns = [("first frame", Interpolation(scale=task.scale // 2)(observed, 0).image)]
    elif task.scale == 1:
        columns = [("input", observed.image)]
    elif options.enlarge == "nearest":
        columns = [("input (nearest)", interpolate(observed.image, scale_factor=task.scale, mode="nearest"))]
    else:
        columns = [("input (bicubic)", Interpolation(scale=task.scale)(observed, 0).image)]
    results = [restore(observed.input, seed=options.seed, detail=detail) for detail in options.detail or [None]]
    columns.append(("restorer", _tensor(results[0].restored)))
    for name in options.beside:
        other = Restoration.from_pretrained(name, device="cpu")
        columns.append((name, _tensor(other(observed.input, seed=options.seed).image)))
    labels = [f"DP-IR, detail {detail:g}" for detail in options.detail or []] or ["DP-IR"]
    columns += [(label, _tensor(result.image)) for label, result in zip(labels, results, strict=True)]
    if target is not None:
        columns.append(("original", target))
    scaled = [(task.scale * x, task.scale * y, task.scale * w, task.scale * h) for x, y, w, h in crops]
    return compose(columns, scaled, options.zoom)


def _image(observation: Tensor) -> Observation:
    return Observation("", "", observation)


def _tensor(result: Tensor | Picture) -> Tensor:
    return to_tensor(result) if isinstance(result, Picture) else result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("image", type=Path, help="the degraded image, or with --degrade the true one")
    parser.add_argument("-o", "--out", dest="output", type=Path, required=True, help="picture to write, .webp or .png")
    parser.add_argument("--target", type=Path, help="the true image")
    parser.add_argument("--degrade", action="store_true", help="degrade the image first; it is its own target then")
    parser.add_argument("--crop", type=read_crop, action="append", help="left,top,width,height; may be repeated")
    parser.add_argument(
        "--enlarge", choices=("bicubic", "nearest"), default="bicubic", help="how a small input is shown"
    )
    parser.add_argument("--zoom", type=int, choices=range(1, 9), default=1, help="repeat every pixel so often")
    parser.add_argument("--bundle", default="sr4", help="bundle: shipped name, folder or hub id")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detail", type=float, action="append", help="instead of the bundle's; may be repeated")
    parser.add_argument("--beside", action="append", default=[], help="a bundle to compare with; may be repeated")
    options = parser.parse_args()
    try:
        picture = make(options)
    except DPIRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    options.output.parent.mkdir(parents=True, exist_ok=True)
    picture.save(options.output, quality=94, method=6, use_sharp_yuv=True, optimize=True)  # each format takes its own
    print(f"{options.output}: {picture.width}x{picture.height}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
