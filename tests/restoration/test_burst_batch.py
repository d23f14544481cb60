"""Batches of bursts: what counts as one, what its results are called, and what linear results are."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from dp_ir.batch.plan import Status, plan_batch
from dp_ir.batch.restoring import pictures_of
from dp_ir.errors import ImageWriteError
from dp_ir.image import write_image
from dp_ir.image.picture.colour import srgb_decode
from dp_ir.image.picture.picture import Picture
from dp_ir.image.raw.camera import GAMMA
from dp_ir.restoration.pipeline import RestorationResult


def burst(folder: Path, suffix: str = "dng", count: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index}.{suffix}").touch()
    return folder


def planned(inputs, output, **options):
    """Names of the bursts -> names of their results, relative to the output."""
    jobs = plan_batch(inputs, output, bursts=True, **options).jobs
    return {job.source.name: job.target.relative_to(output).as_posix() for job in jobs}


# What is a burst ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["dng", "CR2", "png", "jpg"])
def test_a_folder_with_frames_in_it_is_one_burst(tmp_path, suffix):
    folder = burst(tmp_path / "night 1.2", suffix)
    plan = plan_batch([folder], tmp_path / "out.png", bursts=True)
    assert [(job.source, job.target) for job in plan.jobs] == [(folder, tmp_path / "out.png")]
    assert planned([folder], tmp_path / "out") == {"night 1.2": "night 1.2.png"}


def test_a_folder_of_bursts_gives_one_result_each(tmp_path):
    for name in ("b", "a", "deeper/c", ".hidden"):
        burst(tmp_path / "in" / name)
    burst(tmp_path / "in" / "a" / "rejected")  # below a burst, not a burst
    (tmp_path / "in" / "empty").mkdir()
    assert planned([tmp_path / "in"], tmp_path / "out") == {"a": "a.png", "b": "b.png", "c": "deeper/c.png"}


def test_one_raw_file_is_a_burst(tmp_path):
    folder = burst(tmp_path / "in")
    assert planned([folder / "0.dng", folder / "1.dng"], tmp_path / "out") == {"0.dng": "0.png", "1.dng": "1.png"}


def test_patterns_match_folders(tmp_path):
    for name in ("x/one", "x/two", "y/one"):
        burst(tmp_path / name)
    jobs = plan_batch([f"{tmp_path}/*/one"], tmp_path / "out", bursts=True).jobs
    assert [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs] == ["x/one.png", "y/one.png"]


def test_bursts_of_one_name_are_told_apart(tmp_path):
    folders = [burst(tmp_path / side / "burst") for side in ("left", "right")]
    jobs = plan_batch(folders, tmp_path / "out", bursts=True).jobs
    names = [job.target.relative_to(tmp_path / "out").as_posix() for job in jobs]
    assert names == ["left/burst.png", "right/burst.png"]


def test_the_folder_one_is_in_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(burst(tmp_path / "night"))
    assert [job.target.name for job in plan_batch(["."], tmp_path / "out", bursts=True).jobs] == ["night.png"]


def test_a_folder_without_frames_fails_and_the_rest_goes_on(tmp_path):
    (tmp_path / "empty").mkdir()
    plan = plan_batch([tmp_path / "empty", tmp_path / "gone", burst(tmp_path / "good")], tmp_path / "out", bursts=True)
    assert [job.source.name for job in plan.jobs] == ["good"]
    assert [outcome.status for outcome in plan.settled] == [Status.FAILED] * 2
    assert "holds no frames: expected RAW files" in plan.settled[0].reason


# What is protected --------------------------------------------------------------------------------------------------


def test_results_below_the_input_are_not_taken_for_a_burst(tmp_path):
    burst(tmp_path / "a")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").touch()
    plan = plan_batch([tmp_path], tmp_path / "out", bursts=True)
    assert not plan.jobs
    assert [(outcome.status, outcome.source.name) for outcome in plan.settled] == [(Status.SKIPPED, "a")]
    assert len(plan_batch([tmp_path], tmp_path / "out", bursts=True, overwrite=True).jobs) == 1


@pytest.mark.parametrize("output", ["in", "in/out.png"])
def test_an_output_in_the_input_folder_is_refused(tmp_path, output):
    burst(tmp_path / "in", "png")
    with pytest.raises(ImageWriteError, match="would lie in the input folder"):
        plan_batch([tmp_path / "in"], tmp_path / output, bursts=True)


def test_a_result_among_the_frames_of_a_burst_that_was_found_is_refused(tmp_path):
    folder = burst(tmp_path / "in" / "a", "png")
    plan = plan_batch([tmp_path / "in"], folder / "out.png", bursts=True)
    assert not plan.jobs
    assert f"would lie in the input {folder}" in plan.settled[0].reason


# Linear results -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "format", "name"), [("out", None, "a.tif"), ("out", "png", "a.png"), ("x.png", None, "x.png")]
)
def test_linear_results_are_tiff_or_png(tmp_path, output, format, name):
    (job,) = plan_batch([burst(tmp_path / "a")], tmp_path / output, bursts=True, linear=True, format=format).jobs
    assert job.target.name == name


@pytest.mark.parametrize(("output", "format"), [("out.jpg", None), ("out.webp", None), ("out", "jpeg"), ("out", "bmp")])
def test_linear_results_of_8_bits_are_refused(tmp_path, output, format):
    with pytest.raises(ImageWriteError, match=r"8 bits are too few: expected \.png, \.tif, \.tiff"):
        plan_batch([burst(tmp_path / "a")], tmp_path / output, bursts=True, linear=True, format=format)


def test_images_have_no_linear_results(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ImageWriteError, match="only bursts have"):
        plan_batch([tmp_path / "a.png"], tmp_path / "b.png", linear=True)


def shown(linear):
    """Gamma, then the tone curve, as `Camera.render` ends."""
    display = linear ** (1 / GAMMA)
    return (3 * display**2 - 2 * display**3).astype(np.float32)


def test_linear_results_and_their_statistics_are_those_of_the_light():
    light = np.random.default_rng(0).uniform(0.01, 0.99, (3, 4, 5, 3))
    samples = tuple(Picture(shown(values), bit_depth=16) for values in light)
    result = RestorationResult(samples[0], samples[0], samples, samples[0], np.zeros((4, 5, 3), np.float32), {})
    *found, mean, std = pictures_of(result, linear=True)
    np.testing.assert_allclose(np.stack([srgb_decode(picture.pixels) for picture in found]), light, atol=1e-4)
    np.testing.assert_allclose(srgb_decode(mean.pixels), light.mean(0), atol=1e-4)
    np.testing.assert_allclose(std.pixels, light.std(0, ddof=1), atol=1e-4)
    assert {picture.bit_depth for picture in found} == {mean.bit_depth} == {16}
    (single,) = pictures_of(RestorationResult(samples[1], samples[1], None, None, None, {}), linear=True)
    np.testing.assert_allclose(srgb_decode(single.pixels), light[1], atol=1e-4)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_files_of_linear_results_hold_light_and_say_so(tmp_path, suffix):
    light = np.random.default_rng(1).uniform(0, 1, (2, 6, 7, 3))
    samples = tuple(Picture(shown(values), bit_depth=16) for values in light)
    result = RestorationResult(samples[0], samples[0], samples, samples[0], np.zeros((6, 7, 3), np.float32), {})
    *_, mean, _ = pictures_of(result, linear=True)
    write_image(tmp_path / f"mean{suffix}", mean)
    data = (tmp_path / f"mean{suffix}").read_bytes()
    stored = imagecodecs.png_decode(data) if suffix == ".png" else tifffile.imread(tmp_path / f"mean{suffix}")
    np.testing.assert_allclose(stored / 65535, light.mean(0), atol=1e-4)
    with Image.open(tmp_path / f"mean{suffix}") as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    grey = Image.fromarray(np.full((1, 1, 3), 55, np.uint8))  # of which a display with sRGB's curve makes 128
    out = ImageCms.profileToProfile(grey, profile, ImageCms.createProfile("sRGB"), renderingIntent=1)
    np.testing.assert_allclose(np.asarray(out), 128, atol=1)
