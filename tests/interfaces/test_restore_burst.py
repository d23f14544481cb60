"""`dp-ir restore --task burst` from a folder of frames to a file, with a tiny bundle."""

import numpy as np
import pytest
import tifffile
import torch
from dng_files import write_dng
from PIL import Image

from conftest import listing, random_weights
from dp_ir import read_image
from dp_ir.image.picture.crop import crop_burst
from dp_ir.image.raw.burst_files import read_burst
from dp_ir.image.raw.camera import decode
from dp_ir.networks.bsrt.model import BSRT
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task

MATRIX = np.array([[0.9, -0.2, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])
FACTS = {"matrix": MATRIX, "neutral": (0.6, 1.0, 0.7), "orientation": 6}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    restorer = BSRT(embed_dim=12, depths=(1, 1), num_heads=(2, 2), n_feats=8, deform_groups=4)
    Restoration.from_parts(
        restorer=random_weights(restorer),
        denoiser=random_weights(UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8, sigma_range=(0.01, 0.5))),
        fusion=random_weights(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8)),
        **{"tau": 300, "steps": 2, "sigma_min": 0.05, "task": "burst", "licence": "Apache-2.0"},
        device="cpu",
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def frames(tmp_path):
    """A folder of three PNG frames of 10x8 pixels."""
    folder = tmp_path / "in" / "night"
    folder.mkdir(parents=True)
    y, x = np.mgrid[0:8, 0:10]
    for index in range(3):
        pixels = np.stack([20 * x + index, 25 * y, 10 * (x + y)], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def raw_frames(tmp_path):
    """A folder of three DNG frames of 24x28 pixels, taken in portrait."""
    pytest.importorskip("rawpy")
    folder = tmp_path / "in" / "raw"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    for index in range(3):
        write_dng(folder / f"{index}.dng", noise.integers(500, 9000, (24, 28)).astype(np.uint16), **FACTS)
    return folder


@pytest.fixture
def restore(dp_ir, bundle):
    return lambda *arguments: dp_ir(
        "restore", "--task", bundle, "--device", "cpu", "--precision", "float32", *arguments
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_the_result_has_the_exif_of_the_first_frame(dp_ir, bundle, frames, tmp_path, suffix):
    for index, path in enumerate(sorted(frames.iterdir())):
        with Image.open(path) as frame:
            exif = Image.Exif()
            exif[0x010F], exif[0x8769] = f"Maker {index}", {0xA002: 10, 0xA003: 8}
            frame.save(path, exif=exif)
    result = dp_ir("restore", frames, "-o", tmp_path / f"out.{suffix}", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / f"out.{suffix}") as image:
        exif = image.getexif()
        assert exif[0x010F] == "Maker 0"
        assert (exif.get_ifd(0x8769)[0xA002], exif.get_ifd(0x8769)[0xA003]) == image.size != (10, 8)


def test_so_has_the_result_of_raw_frames(dp_ir, bundle, raw_frames, tmp_path):
    result = dp_ir("restore", raw_frames, "-o", tmp_path / "raw.png", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    with Image.open(tmp_path / "raw.png") as image:
        assert image.getexif()[0x010F] == "Acme"
        assert image.getexif().get(0x0112, 1) == 1
        assert image.height > image.width


def test_a_folder_of_raw_frames_becomes_an_upright_16_bit_photo(restore, bundle, raw_frames, tmp_path):
    result = restore(raw_frames, "-o", tmp_path / "out.png", "--seed", 3)
    assert result.exit_code == 0, result.stderr
    assert not result.stderr
    found = read_image(tmp_path / "out.png")
    assert found.bit_depth == 16
    assert found.size == (4 * 28, 4 * 24)
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    expected = restoration(read_burst(raw_frames), seed=3).image
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-5)
    assert torch.equal(
        torch.from_numpy(expected.pixels), torch.from_numpy(restoration(raw_frames, seed=3).image.pixels)
    )


def test_the_bundle_scales_as_its_task_does():
    assert (get_task("burst").scale, get_task("burst").channels, get_task("burst").takes_bursts) == (8, 4, True)


def test_a_folder_of_bursts_is_done_and_then_skipped(restore, frames, tmp_path):
    other = frames.parent / "day"
    other.mkdir()
    for path in frames.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    first = restore(frames.parent, "-o", tmp_path / "out")
    assert "2 restored" in first.stdout, first.output
    assert listing(tmp_path / "out") == ["day.png", "night.png"]
    assert (tmp_path / "out" / "day.png").read_bytes() == (tmp_path / "out" / "night.png").read_bytes()
    assert "2 skipped" in restore(frames.parent, "-o", tmp_path / "out").stdout
    assert "2 restored" in restore(frames.parent, "-o", tmp_path / "out", "--overwrite").stdout


def test_linear_results_are_those_of_the_render_without_its_tone_curve(restore, frames, tmp_path):
    assert restore(frames, "-o", tmp_path / "shown.tif").exit_code == 0
    assert restore(frames, "-o", tmp_path / "out", "--linear").exit_code == 0
    linear = tifffile.imread(tmp_path / "out" / "night.tif")
    assert linear.dtype == np.uint16
    shown = tifffile.imread(tmp_path / "shown.tif")
    assert shown.dtype == np.uint16
    expected = decode(torch.from_numpy(shown / 65535.0)).numpy()
    np.testing.assert_allclose(linear / 65535, expected, atol=1e-3)


def test_samples_come_with_their_mean_and_deviation(restore, frames, tmp_path):
    assert restore(frames, "-o", tmp_path / "out", "--samples", 2).exit_code == 0
    assert listing(tmp_path / "out") == ["night-1.png", "night-2.png", "night-mean.png", "night-std.png"]


def test_a_part_is_restored_alone(restore, bundle, raw_frames, tmp_path):
    assert restore(raw_frames, "-o", tmp_path / "out.png", "--crop", "4,6,10,8").exit_code == 0
    found = read_image(tmp_path / "out.png")
    assert found.size == (4 * 8, 4 * 10)
    part = crop_burst(read_burst(raw_frames), (4, 6, 10, 8))
    expected = Restoration.from_pretrained(bundle, device="cpu", precision="float32")(part).image
    np.testing.assert_allclose(found.pixels, expected.pixels, atol=1e-5)


def test_a_jpeg_result_has_8_bits(restore, frames, tmp_path):
    assert restore(frames, "-o", tmp_path / "out.jpg").exit_code == 0
    assert Image.open(tmp_path / "out.jpg").size == (40, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--linear", "-o", "out.jpg"), "8 bits are too few"),
        (("-o", "in/night/out.png"), "would lie in the input folder"),
        (("-o", "out.png", "--crop", "1,2,3"), "expected four whole numbers"),
        (("-o", "out.png", "--crop", "0,0,20,8"), "does not lie in the photo of 10x8 pixels"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(restore, frames, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = restore("in/night", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


# Bad input ----------------------------------------------------------------------------------------------------------


def test_a_corrupt_frame_is_noted_and_the_burst_restored(restore, raw_frames, tmp_path, capfd):
    (raw_frames / "1.dng").write_bytes((raw_frames / "1.dng").read_bytes()[:-100])
    result = restore(raw_frames, "-o", tmp_path / "out.png")
    assert result.exit_code == 0
    (note,) = result.stderr.strip().splitlines()
    assert note.startswith("dp-ir: note: Left out of the burst: ")
    assert "1.dng" in note


def test_one_frame_is_noted_and_restored(restore, raw_frames, tmp_path):
    result = restore(raw_frames / "0.dng", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stderr.startswith("dp-ir: note: ")
    assert "one frame" in result.stderr
    assert listing(tmp_path / "out") == ["0.png"]


def test_what_is_no_burst_fails_and_the_others_go_on(restore, frames, raw_frames, tmp_path):
    Image.new("RGB", (12, 12)).save(frames / "odd.png")
    Image.new("RGB", (12, 12)).save(tmp_path / "photo.png")
    result = restore(frames, tmp_path / "photo.png", raw_frames, "-o", tmp_path / "out")
    assert result.exit_code == 1
    sentences = result.stderr.strip().splitlines()
    assert len(sentences) == 2
    assert "odd.png' is 12x12 pixels, but" in sentences[0]
    assert "photo.png' is not a RAW file" in sentences[1]
    assert listing(tmp_path / "out") == ["raw.png"]


def test_a_raw_file_is_no_photo_for_a_task_of_images(dp_ir, raw_frames, tmp_path):
    result = dp_ir("restore", raw_frames / "0.dng", "-o", tmp_path / "out.png", "--task", "sr4", "--device", "cpu")
    assert result.exit_code == 1
    assert "0.dng' is a camera RAW file, expected a developed photo" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_photos_have_no_linear_results(dp_ir, frames, tmp_path):
    result = dp_ir("restore", frames / "0.png", "-o", tmp_path / "out.png", "--linear", "--task", "sr4")
    assert result.exit_code == 1
    assert "only bursts have" in result.stderr
