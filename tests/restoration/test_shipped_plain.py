"""The weights that ship, at their defaults, on pictures of which it is known what must stay: grey, and flat areas."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dp_ir.batch import restoring as files
from dp_ir.batch.jobs import LocalJob
from dp_ir.image import read_image
from dp_ir.restoration.pipeline import Restoration

DEMO = Path(__file__).parents[2] / "docs" / "demo" / "original.png"
COLOURS = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (230, 40, 30), (20, 60, 200), (240, 220, 60), (40, 30, 25)]


@pytest.fixture(scope="module", params=["photo", "clean"])
def restoration(request: pytest.FixtureRequest) -> Restoration:
    return Restoration.from_pretrained(request.param, device="cpu")


def _grey(mode: str) -> Image.Image:
    """Part of a photo as a grey scan, with noise; "I;16" has 16 bits, "RGB" three channels of one value."""
    grey = np.asarray(Image.open(DEMO).convert("L"), np.float64)[64:112, 160:216]
    grey = (grey + 3 * np.random.default_rng(0).normal(size=grey.shape)).clip(0, 255)
    if mode == "I;16":
        return Image.fromarray((257 * grey).round().astype(np.uint16))
    return Image.fromarray(grey.round().astype(np.uint8)).convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix", "options"),
    [
        ("L", ".png", {}),
        ("I;16", ".png", {}),
        ("I;16", ".tif", {}),
        ("L", ".jpg", {"quality": 70}),
        ("RGB", ".png", {}),
        ("RGB", ".jpg", {"quality": 70}),
    ],
)
def test_grey_stays_grey(restoration: Restoration, tmp_path: Path, mode: str, suffix: str, options: Any) -> None:
    source = tmp_path / f"grey{suffix}"
    _grey(mode).save(source, **options)
    whole, streamed = (LocalJob(source, tmp_path / f"{name}.png") for name in ("whole", "streamed"))
    files.restore_file(restoration, whole)
    with pytest.warns(UserWarning, match="from disk to disk"):
        files.restore_file(restoration, streamed, memory=0)
    for job in (whole, streamed):
        result = Image.open(job.target)
        assert (result.mode == "RGB") == (mode == "RGB")
        pixels = np.asarray(result)
        assert pixels.std() > 10
        assert pixels.ndim == 2 or np.ptp(pixels, axis=2).max() == 0


def test_colours_beside_grey_stay(restoration: Restoration, tmp_path: Path) -> None:
    """A photo that is grey but for its last rows is no grey one, however it is read."""
    pixels = np.array(_grey("RGB"))
    pixels[-8:] = (200, 40, 40)
    source = tmp_path / "mixed.png"
    Image.fromarray(pixels).save(source)
    whole, streamed = (LocalJob(source, tmp_path / f"{name}.png") for name in ("whole", "streamed"))
    files.restore_file(restoration, whole)
    with pytest.warns(UserWarning, match="from disk to disk"):
        files.restore_file(restoration, streamed, memory=0)
    one, other = (np.asarray(Image.open(job.target)).astype(int) for job in (whole, streamed))
    assert abs(one - other).max() <= 2
    assert (one[-4:, :, 0] > one[-4:, :, 1] + 80).all()


def _stored(pixels: NDArray[np.uint8], quality: int | None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(file, "PNG") if quality is None else image.save(file, "JPEG", quality=quality)
    return file.getvalue()


@pytest.mark.parametrize("quality", [None, 75, 30])
def test_flat_areas_stay_flat(restoration: Restoration, quality: int | None) -> None:
    """Grain of at most three levels of 255, and no other colour."""
    for colour in COLOURS:
        content = _stored(np.full((40, 48, 3), colour, np.uint8), quality)
        stored = 255 * read_image(content).pixels
        assert stored.std(axis=(0, 1)).max() < 0.5
        made = 255 * restoration(content).image.pixels
        assert abs(made.mean((0, 1)) - stored.mean((0, 1))).max() < 1.5, colour
        assert made.std(axis=(0, 1)).max() < 3, colour
