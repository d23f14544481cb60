"""Whatever a photo's size, mode and depth: the result is of the size and kind it should be, finite, and the same again.

Files are written and results are read by Pillow, tifffile and imagecodecs, not by the code under test.
"""

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from dp_ir.batch.jobs import LocalJob
from dp_ir.batch.restoring import restore_file
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.networks.fast_burst.model import FastBurst
from dp_ir.networks.fast_deblur.model import FastDeblur
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration

SIDES = st.one_of(st.integers(1, 12), st.integers(1, 70))
RESTORERS = {
    1: lambda: FastDeblur(channels=(4, 4), blocks=(1, 1)),
    2: lambda: FastSR(channels=4, blocks=1, scale=2),
    4: lambda: FastSR(channels=4, blocks=1, scale=4),
}

any_case = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def restoration_with(restorer):
    torch.manual_seed(0)
    return Restoration.from_parts(
        restorer=restorer,
        denoiser=UNetDenoiser(channels=(4, 4), blocks=(1, 1), encoding=8),
        fusion=FastFusion(channels=(4, 4), blocks=(1, 1, 1), encoding=8),
        tau=300,
        steps=2,
        sigma_min=0.05,
        device="cpu",
    )


@pytest.fixture(scope="module")
def restorations():
    return {scale: restoration_with(make()) for scale, make in RESTORERS.items()}


def by_pillow(mode, suffix, **options):
    def write(path, rgb):
        Image.fromarray(rgb).convert(mode).save(path, **options)

    return suffix, write


def by_imagecodecs(channels):
    def write(path, rgb):
        wide = np.concatenate([rgb, rgb[..., :1]], -1).astype(np.uint16) * 257
        path.write_bytes(
            imagecodecs.png_encode(np.ascontiguousarray(wide[..., 0 if channels == 1 else slice(channels)]))
        )

    return ".png", write


def by_tifffile(dtype, channels, **options):
    def write(path, rgb):
        values = np.concatenate([rgb, rgb[..., :1]], -1)[..., :channels]
        scale = {"u1": 1, "u2": 257, "f4": np.float32(1 / 255)}[dtype]
        extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
        values = (values.astype(dtype) * scale).astype(dtype)
        values = values[..., 0] if channels == 1 else values
        photometric = "rgb" if channels >= 3 else "minisblack"
        tifffile.imwrite(path, values, photometric=photometric, metadata=None, **extra, **options)

    return ".tif", write


KINDS = {
    # what is written: (suffix and writer), channels of the result, bits of the result
    "1-bit PNG": (by_pillow("1", ".png"), 1, 8),
    "grey PNG": (by_pillow("L", ".png"), 1, 8),
    "grey and alpha PNG": (by_pillow("LA", ".png"), 2, 8),
    "palette PNG": (by_pillow("P", ".png"), 3, 8),
    "transparent palette PNG": (by_pillow("P", ".png", transparency=0), 4, 8),
    "RGB PNG": (by_pillow("RGB", ".png"), 3, 8),
    "RGBA PNG": (by_pillow("RGBA", ".png"), 4, 8),
    "16-bit grey PNG": (by_imagecodecs(1), 1, 16),
    "16-bit RGB PNG": (by_imagecodecs(3), 3, 16),
    "16-bit RGBA PNG": (by_imagecodecs(4), 4, 16),
    "JPEG": (by_pillow("RGB", ".jpg"), 3, 8),
    "grey JPEG": (by_pillow("L", ".jpg"), 1, 8),
    "CMYK JPEG": (by_pillow("CMYK", ".jpg"), 3, 8),
    "progressive JPEG": (by_pillow("RGB", ".jpg", progressive=True), 3, 8),
    "WebP": (by_pillow("RGB", ".webp"), 3, 8),
    "RGBA WebP": (by_pillow("RGBA", ".webp", lossless=True, exact=True), (3, 4), 8),  # opaque ones are stored as RGB
    "1-bit BMP": (by_pillow("1", ".bmp"), 1, 8),
    "grey BMP": (by_pillow("L", ".bmp"), 1, 8),
    "palette BMP": (by_pillow("P", ".bmp"), 3, 8),
    "RGB BMP": (by_pillow("RGB", ".bmp"), 3, 8),
    "RGBA BMP": (by_pillow("RGBA", ".bmp"), (3, 4), 8),
    "grey TIFF": (by_tifffile("u1", 1), 1, 8),
    "16-bit grey and alpha TIFF": (by_tifffile("u2", 2), 2, 16),
    "16-bit RGB TIFF": (by_tifffile("u2", 3, compression="zlib"), 3, 16),
    "16-bit RGBA TIFF": (by_tifffile("u2", 4, compression="lzw"), 4, 16),
    "float TIFF": (by_tifffile("f4", 3), 3, 32),
    "float RGBA TIFF": (by_tifffile("f4", 4), 4, 32),
    "CMYK TIFF": (by_pillow("CMYK", ".tif"), 3, 8),
    "tiled TIFF": (by_tifffile("u1", 3, tile=(16, 16), compression="zlib"), 3, 8),
}
OUTPUT_BITS = {".png": (8, 16), ".tif": (8, 16, 32)}


def photo(height, width, seed=0):
    rng = np.random.default_rng([height, width, seed])
    ramp = np.add.outer(np.arange(height) * 3, np.arange(width) * 2)[..., None] + np.array([0, 40, 80])
    return ((ramp + rng.integers(0, 30, (height, width, 3))) % 256).astype(np.uint8)


def read_back(path):
    """(H, W, C) as stored, whatever the library that read it."""
    if path.suffix == ".tif":
        with tifffile.TiffFile(path) as tiff:
            values = tiff.pages[0].asarray()
    else:
        values = imagecodecs.png_decode(path.read_bytes())
    return values[..., None] if values.ndim == 2 else values


@any_case
@given(
    kind=st.sampled_from(sorted(KINDS)),
    height=SIDES,
    width=SIDES,
    scale=st.sampled_from(sorted(RESTORERS)),
    suffix=st.sampled_from(sorted(OUTPUT_BITS)),
)
@example(kind="RGB PNG", height=1, width=1, scale=4, suffix=".png")
@example(kind="16-bit RGBA PNG", height=1, width=70, scale=1, suffix=".tif")
@example(kind="float RGBA TIFF", height=70, width=1, scale=2, suffix=".tif")
@example(kind="1-bit PNG", height=1, width=9, scale=4, suffix=".png")
def test_every_kind_and_size(tmp_path, restorations, kind, height, width, scale, suffix):
    (source_suffix, write), channels, bits = KINDS[kind]
    source, target = tmp_path / f"in{source_suffix}", tmp_path / f"out{suffix}"
    write(source, photo(height, width))
    results = []
    for _ in range(2):
        restore_file(restorations[scale], LocalJob(source, target), seed=3)
        results.append(target.read_bytes())
    values = read_back(target)
    assert values.shape[:2] == (scale * height, scale * width)
    assert values.shape[2] in (channels if isinstance(channels, tuple) else (channels,))
    assert values.dtype.itemsize * 8 == max(depth for depth in OUTPUT_BITS[suffix] if depth <= bits)
    assert np.isfinite(values).all()
    assert results[0] == results[1]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_kind_is_left_to_chance(tmp_path, restorations, kind):
    test_every_kind_and_size.hypothesis.inner_test(tmp_path, restorations, kind, 5, 7, 4, ".png")


@any_case
@given(height=SIDES, width=SIDES, orientation=st.integers(1, 8), suffix=st.sampled_from([".png", ".tif"]))
def test_results_are_upright(tmp_path, restorations, height, width, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = Image.fromarray(photo(height, width))
    turned.save(tmp_path / f"turned{suffix}", exif=exif)
    turned.info["exif"] = exif.tobytes()
    ImageOps.exif_transpose(turned).save(tmp_path / "upright.png", exif=Image.Exif())
    for name in (f"turned{suffix}", "upright.png"):
        restore_file(restorations[4], LocalJob(tmp_path / name, tmp_path / f"out-{name}.png"), seed=1)
    results = [Image.open(tmp_path / f"out-{name}.png") for name in (f"turned{suffix}", "upright.png")]
    assert np.array_equal(*map(np.asarray, results))
    assert results[0].getexif().get(0x0112, 1) == 1


@settings(any_case, max_examples=25)
@given(height=SIDES, width=SIDES, scale=st.sampled_from(sorted(RESTORERS)), samples=st.integers(1, 2))
def test_opacity_is_enlarged_and_the_colours_below_it_are_restored(restorations, height, width, scale, samples):
    rgb = photo(height, width)
    opaque = np.concatenate([rgb, np.full((height, width, 1), 255, np.uint8)], -1)
    half = np.concatenate([rgb, np.full((height, width, 1), 128, np.uint8)], -1)
    plain, full, faint = (
        restorations[scale](image, seed=2, num_samples=samples).image for image in (rgb, opaque, half)
    )
    assert plain.dtype == np.uint8
    assert np.array_equal(full[..., :3], plain)
    assert np.array_equal(faint[..., :3], plain)
    assert (full[..., 3] == 255).all()
    assert (faint[..., 3] == 128).all()


@settings(any_case, max_examples=15)
@given(
    frames=st.integers(1, 4),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    turns=st.integers(0, 3),
    mirrored=st.booleans(),
)
@example(frames=1, height=1, width=1, turns=0, mirrored=False)
@example(frames=3, height=1, width=5, turns=1, mirrored=True)
def test_bursts_of_any_size(frames, height, width, turns, mirrored):
    torch.manual_seed(1)
    restore = restoration_with(FastBurst(channels=(4, 4), blocks=(1, 1)))
    burst = Burst(torch.rand(frames, 4, height, width), Camera.neutral(), turns, mirrored)
    first, again = restore(burst, seed=0).image, restore(burst, seed=0).image
    sides = (8 * width, 8 * height) if turns % 2 else (8 * height, 8 * width)
    assert first.pixels.shape == (*sides, 3)
    assert first.bit_depth == 16
    assert np.isfinite(first.pixels).all()
    assert np.array_equal(first.pixels, again.pixels)
