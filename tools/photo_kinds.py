"""Files of every kind that people have, made larger or cleaned by the default, side by side at 1:1.

    python tools/photo_kinds.py --photos PHOTOS --raw RAW [--only KIND ...] --write docs/photos.md

PHOTOS is the folder of training photographs; those used are held out of training (`src/dp_ir/zoo/training-images.tsv`).
RAW is the folder of a scene as sensor data, without which its kind is left out; no network saw it.
The inputs are made by Pillow, not by the degradation that the networks were trained on, and stay in runs/photo-kinds.
Left to right: the input (enlarged by Lanczos), the restorer (--detail 0), DP-IR as `dp-ir restore` runs it.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from compare_picture import compose
from dp_ir.errors import DataError, DPIRError
from dp_ir.image import read_image, to_tensor
from dp_ir.image.raw.burst import pack
from dp_ir.image.raw.camera import Camera
from dp_ir.image.raw.demosaicking import demosaick_bilinear
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks.choice import suited_bundle
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe

Size = tuple[int, int]
SMALL: Size = (128, 96)  # of the part that is shown of what is made four times larger, pixels of the input
PART: Size = (320, 240)  # the same of what keeps its size

FOREST, HOUSES, STONE = "cid22_train_024.jpg", "cid22_train_016.jpg", "cid22_train_030.jpg"
ROSE = "DSC_1339_768x512_rggb.raw"  # 14 bits in uint16, little endian
ROSE_SIZE: Size = (512, 768)
ROSE_BLACK, ROSE_WHITE = 600, 2**14 - 1
DAYLIGHT = (2.0, 1.0, 1.4)  # what red, green and blue are multiplied by


def opened(path: Path) -> Image.Image:
    """A photo, or sensor data as a camera would render them."""
    if path.suffix != ".raw":
        return Image.open(path).convert("RGB")
    try:
        values = np.fromfile(path, "<u2").reshape(ROSE_SIZE).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(
            f"'{path}' cannot be read as {ROSE_SIZE} values of 16 bits ({error}): copy it again."
        ) from error
    mosaic = torch.from_numpy((values - ROSE_BLACK).clip(0) / (ROSE_WHITE - ROSE_BLACK))
    camera = Camera(torch.tensor(DAYLIGHT), torch.eye(3))
    shown = camera.render(demosaick_bilinear(pack(mosaic)[None]))[0]
    return Image.fromarray((255 * shown).round().byte().permute(1, 2, 0).numpy())


def reduced(photo: Image.Image, width: int, filter: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    return photo.resize((width, round(photo.height * width / photo.width)), filter)


def compressed(image: Image.Image, quality: int, format: str = "JPEG", **options: object) -> Image.Image:
    file = io.BytesIO()
    image.save(file, format, quality=quality, **options)
    return Image.open(file).convert(image.mode)


def noisy(image: Image.Image, sigma: float) -> Image.Image:
    rng = np.random.default_rng(0)
    values = np.asarray(image, np.float64) + sigma * rng.normal(size=np.asarray(image).shape)
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def forwarded(photo: Image.Image) -> Image.Image:
    """Sent by a messenger, and from there by another one."""
    once = compressed(reduced(photo, 320, Image.Resampling.BILINEAR), 75)
    return compressed(reduced(once, 256, Image.Resampling.BILINEAR), 70)


def web(photo: Image.Image) -> Image.Image:
    """A picture of a web page."""
    return compressed(reduced(photo, 240), 82)


def webp(photo: Image.Image) -> Image.Image:
    """As WebP, of the quality that programs choose."""
    return compressed(reduced(photo, 240), 75, "WEBP")


def night(photo: Image.Image) -> Image.Image:
    """Taken at night: dark, noisy, and compressed by the camera."""
    dark = Image.fromarray((np.asarray(reduced(photo, 256), np.float64) * 0.3).round().astype(np.uint8))
    return compressed(noisy(dark, 5), 90)


def grey(photo: Image.Image) -> Image.Image:
    """A grey scan."""
    return compressed(noisy(reduced(photo, 256).convert("L"), 3), 85)


def halftone(photo: Image.Image) -> Image.Image:
    """A picture of a newspaper, whose dots are seen."""
    values = np.asarray(reduced(photo, 320).convert("L"), np.float64) / 255
    y, x = np.mgrid[: values.shape[0], : values.shape[1]]
    screen = 0.5 + 0.25 * (np.cos((x + y) * 1.6) + np.cos((x - y) * 1.6))
    return noisy(Image.fromarray((255.0 * (values > screen)).astype(np.uint8)).resize((256, 256)), 2)


def nothing(photo: Image.Image) -> Image.Image:
    """Made smaller by a program, and stored without loss."""
    return reduced(photo, 256)


def screenshot(_: Image.Image) -> Image.Image:
    """Text on a screen, as PNG."""
    image = Image.new("RGB", (256, 192), (250, 250, 252))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 255, 18), fill=(52, 101, 164))
    draw.text((6, 3), "Settings  -  Network", fill="white", font=ImageFont.load_default(size=11))
    for line, size in enumerate((9, 10, 11, 12, 14)):
        text = f"{size} px: The quick brown fox jumps over 13 lazy dogs."
        draw.text((8, 28 + 24 * line), text, fill=(30, 30, 30), font=ImageFont.load_default(size=size))
    draw.rectangle((8, 155, 90, 178), outline=(120, 120, 120), fill=(235, 235, 235))
    draw.text((28, 160), "Cancel", fill="black", font=ImageFont.load_default(size=11))
    return image


def drawing(_: Image.Image) -> Image.Image:
    """Flat colours and lines."""
    image = Image.new("RGB", (1024, 768), (255, 250, 235))
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 80, 560, 520), fill=(238, 180, 60), outline="black", width=10)
    draw.polygon([(500, 700), (700, 160), (960, 700)], fill=(70, 130, 90), outline="black", width=10)
    for step in range(12):
        draw.line((60, 560 + 16 * step, 960, 600 + 8 * step), fill=(60, 60, 160), width=3)
    return compressed(image.resize((256, 192), Image.Resampling.LANCZOS), 85)


def camera(photo: Image.Image) -> Image.Image:
    """A large photo as a camera stores it: noisy, sharpened, compressed at its own size."""
    return compressed(noisy(photo, 4), 60)


Kind = tuple[str, Callable[[Image.Image], Image.Image], str]
KINDS: dict[str, Kind] = {
    "forwarded": ("Sent by one messenger and forwarded by another (JPEG 75, smaller, JPEG 70)", forwarded, HOUSES),
    "web": ("From a web page (JPEG 82)", web, FOREST),
    "webp": ("WebP 75", webp, STONE),
    "nothing": ("Made smaller without loss", nothing, FOREST),
    "night": ("Taken at night", night, HOUSES),
    "grey": ("A grey scan (JPEG 85)", grey, STONE),
    "halftone": ("A newspaper's halftone", halftone, FOREST),
    "screenshot": ("A screenshot (PNG)", screenshot, FOREST),
    "drawing": ("A drawing (JPEG 85)", drawing, FOREST),
    "raw": ("A camera's RAW file, rendered, made smaller and stored as JPEG 82", web, ROSE),
    "camera": ("At its own size: noise of 4 levels, JPEG 60 (`--task clean`)", camera, HOUSES),
}
"""What it is, how it is made, and of which photo."""


def row(kind: str, photos: Path, raw: Path | None, work: Path) -> Image.Image:
    """The input, the restorer and DP-IR, of one kind."""
    _, make, name = KINDS[kind]
    folder = raw if name == ROSE else photos
    if folder is None:
        raise DataError(f"{name} lies in the folder of RAW files, which was not given: add --raw.")
    if name != ROSE and not is_held_out(name, DataRecipe.validation_fraction):
        raise DataError(f"{name} is in the training split: choose one of the validation split.")
    source = work / f"{kind}.png"
    make(opened(folder / name)).save(source)
    picture = read_image(source)
    height, width = picture.size
    bundle = "clean" if kind == "camera" else suited_bundle(width, height)
    restore = Restoration.from_pretrained(bundle, device="cpu")
    scale = restore.networks["restorer"].info.scale or 1
    shown = PART if scale == 1 else SMALL
    left, top = max(0, (width - shown[0]) // 2), max(0, (height - shown[1]) // 2)
    crop = tuple(scale * value for value in (left, top, min(shown[0], width), min(shown[1], height)))
    enlarged = Image.open(source).convert("RGB").resize((scale * width, scale * height), Image.Resampling.LANCZOS)
    columns: list[tuple[str, Tensor]] = [("input", _tensor(enlarged))]
    columns += [("restorer", to_tensor(restore(picture, detail=0).image)), ("DP-IR", to_tensor(restore(picture).image))]
    return compose(columns, [crop], 1)


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--raw", type=Path, help=f"folder of {ROSE}")
    parser.add_argument("--only", nargs="+", choices=KINDS, help="only these kinds")
    parser.add_argument(
        "--write", type=Path, required=True, help="Markdown page; its pictures lie in a folder beside it"
    )
    options = parser.parse_args()
    work, folder = Path("runs/photo-kinds"), options.write.with_suffix("")
    for place in (work, folder):
        place.mkdir(parents=True, exist_ok=True)
    lines = ["# Files of every kind", "", *_INTRO]
    try:
        for kind in options.only or (kind for kind in KINDS if options.raw or KINDS[kind][2] != ROSE):
            row(kind, options.photos, options.raw, work).save(folder / f"{kind}.webp", quality=90)
            lines += ["", f"## {KINDS[kind][0]}", "", f"![{KINDS[kind][0]}]({folder.name}/{kind}.webp)"]
            print(folder / f"{kind}.webp")
    except DPIRError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    options.write.write_text("\n".join(lines) + "\n" + _LARGER, encoding="utf-8")
    return 0


_INTRO = (
    "Left to right: the input, enlarged by Lanczos where the result is larger; the restorer alone (`--detail 0`);",
    "DP-IR as `dp-ir restore` runs it. All at 1:1, made by",
    "`python tools/photo_kinds.py --photos PHOTOS --raw RAW --write docs/photos.md` from photographs that are",
    "held out of training (CID22, Cloudinary, CC BY-SA 4.0; from Pexels), and from a RAW file.",
)

_LARGER = """
## More than four times larger

`--scale` and the sizes may ask for more than the task gives, up to its square (16 times): photos are restored
twice then. The second run starts from the restorer's own result (`--detail 0`), reduced to a quarter of the size that
is asked for; `--seed`, `--samples` and `--detail` are those of the second run. Going on from a sample was tried on
three held-out photos: the second run takes what the first one made up for the photo's own and turns it into scratches,
so that walls, fur and letters look worse. Going on from the whole result and reducing afterwards takes up to 16 times
as long, and the result stays soft.

## Motion blur is not recognised

`dp-ir info` says that a photo is soft, but not whether the lens or a motion made it so. A logistic regression on
classical features (energy by direction in bands of the spectrum, agreement between patches, the cepstrum) was tried on
synthetic and real blur. With few false alarms on sharp, noisy, defocused and compressed photos it missed too many of
those that moved to advise by.
"""


if __name__ == "__main__":
    sys.exit(main())
