"""What goes wrong is said in one sentence, stops nothing else, and leaves nothing half done."""

import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from conftest import listing, tiny_restoration


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 64))


def not_an_image(path: Path, good: Path) -> None:
    path.write_text("Dear diary, today I renamed a text file.")


def empty(path: Path, good: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[:-40])


def zero_sized(path: Path, good: Path) -> None:
    path.write_bytes(png_header(0, 7) + png_chunk(b"IEND", b""))


def huge_header(path: Path, good: Path) -> None:
    path.write_bytes(png_header(50_000, 50_000) + png_chunk(b"IEND", b""))


def nan_tiff(path: Path, good: Path) -> None:
    image = np.full((8, 8, 3), 0.5, np.float32)
    image[3, 3] = np.nan
    tifffile.imwrite(path.with_suffix(".tif"), image, photometric="rgb")
    path.with_suffix(".tif").rename(path)


BAD = (not_an_image, empty, truncated, zero_sized, huge_header, nan_tiff)


def assert_one_sentence(result, *words: str) -> None:
    assert result.exit_code == 1
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("dp-ir: ")
    assert lines[0].endswith(".")
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in result.output


@pytest.mark.parametrize("spoil", BAD)
def test_a_bad_file_is_named_and_the_others_are_done(dp_ir, bundle, photos, tmp_path, spoil):
    spoil(photos / "aa bad.png", photos / "b.png")
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    assert_one_sentence(result, "aa bad.png")
    assert listing(tmp_path / "out") == ["a.png", "b.png"]
    assert "2 restored, 1 failed" in result.stdout


def test_photos_in_unusual_colours_are_restored(dp_ir, bundle, photos, tmp_path, photo_pixels):
    image = Image.fromarray(photo_pixels)
    image.convert("CMYK").save(photos / "cmyk.jpg")
    image.quantize(16).save(photos / "palette.png")
    image.convert("L").save(photos / "grey.png")
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert {name: Image.open(tmp_path / "out" / name).mode for name in ("cmyk.png", "palette.png", "grey.png")} == {
        "cmyk.png": "RGB",
        "palette.png": "RGB",
        "grey.png": "L",
    }


def test_a_missing_file_does_not_stop_the_others(dp_ir, bundle, photos, tmp_path):
    result = dp_ir(
        "restore", tmp_path / "gone.png", photos / "a.jpg", "-o", tmp_path / "out", "-b", bundle, "--device", "cpu"
    )
    assert_one_sentence(result, "gone.png", "check the path")
    assert listing(tmp_path / "out") == ["a.png"]


def test_an_output_that_cannot_be_written_is_one_sentence(dp_ir, bundle, photos, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    result = dp_ir("restore", photos / "a.jpg", "-o", tmp_path / "file" / "out", "-b", bundle, "--device", "cpu")
    assert_one_sentence(result, "file", "choose another output")
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_leaves_no_half_written_result(dp_ir, bundle, photos, tmp_path, monkeypatch):
    original = Path.open

    def full(self, mode="r", *rest, **options):
        to_write = "x" in mode and self.suffix == ".part" and "a.png" in self.name
        if to_write:
            original(self, mode).close()
            return original(Path("/dev/full"), "wb", *rest, **options)
        return original(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", full)
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    assert_one_sentence(result, "a.png", "No space left")
    assert listing(tmp_path / "out") == ["b.png"]


# Bundles and weights ------------------------------------------------------------------------------------------------


@pytest.fixture
def own_bundle(bundle, tmp_path):
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


class Canary:
    """Leaves a folder behind wherever it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


def missing_weights(folder: Path) -> str:
    (folder / "denoiser.safetensors").unlink()
    return "denoiser.safetensors"


def truncated_weights(folder: Path) -> str:
    file = folder / "fusion.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    return "fusion.safetensors"


def no_config(folder: Path) -> str:
    (folder / "config.json").unlink()
    return "config.json"


def wrong_shapes(folder: Path) -> str:
    file = folder / "fusion.safetensors"
    with safe_open(file, "pt") as handle:
        metadata = handle.metadata()
    entry = json.loads(metadata["dp_ir"])
    entry["config"]["channels"] = [16, 8]
    save_file(load_file(file), file, {"dp_ir": json.dumps(entry)})
    return "fusion.safetensors"


def swapped_weights(folder: Path) -> str:
    """The right architecture, but not the weights that the bundle was written with."""
    file = folder / "restorer.safetensors"
    with safe_open(file, "pt") as handle:
        metadata = handle.metadata()
    save_file({name: value + 0.25 for name, value in load_file(file).items()}, file, metadata)
    return "restorer.safetensors"


def deeper_than_the_denoiser(folder: Path) -> str:
    """A start at a noise level above 0.5, the denoiser's last."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tau": 900}))
    return "tau = 900"


@pytest.mark.parametrize(
    "spoil", [missing_weights, truncated_weights, no_config, wrong_shapes, swapped_weights, deeper_than_the_denoiser]
)
def test_a_bundle_that_cannot_run_is_refused_before_anything_is_written(dp_ir, own_bundle, photos, tmp_path, spoil):
    words = spoil(own_bundle)
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", own_bundle, "--device", "cpu")
    assert_one_sentence(result, words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.jpg", b"", ("empty (0 bytes)", "expected an image")),
        ("diary.PNG", b"Dear diary", ("no image of a known format",)),
        ("camera.dng", b"II*\0", ("camera.dng",)),
        ("camera.nef", b"Dear diary", ("no image of a known format",)),
        ("gone.jpg", None, ("gone.jpg", "does not exist")),
        ("holiday/gone.jpg", None, ("gone.jpg", "does not exist")),  # a hub has no such photos
        ("holiday.jpg/", None, ("no readable config.json", "or a file")),
    ],
)
def test_what_is_named_as_a_photo_is_spoken_of_as_a_photo(dp_ir, tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    if name.endswith("/"):
        Path(name).mkdir()
    elif content is not None:
        Path(name).write_bytes(content)
    result = dp_ir("info", name)
    assert_one_sentence(result, *words)
    assert "weight file" not in result.stderr
    assert "shipped bundles" not in result.stderr


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_that_tries_to_run_code_does_not(dp_ir, own_bundle, photos, tmp_path, legacy):
    trace, pickle = tmp_path / "trace", tmp_path / "canary.pth"
    torch.save({"weight": Canary(trace)}, pickle, _use_new_zipfile_serialization=not legacy)
    shutil.copy(pickle, own_bundle / "fusion.safetensors")
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", own_bundle, "--device", "cpu")
    assert_one_sentence(result, "fusion.safetensors")
    assert_one_sentence(dp_ir("info", pickle), "canary.pth", "mkdir", "nothing was executed")
    assert not trace.exists()
    assert not (tmp_path / "out").exists()
    torch.load(pickle, weights_only=False)
    assert trace.exists()  # the canary does sing where it is let


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--tau", 900, "tau = 900"),
        ("--tau", 5000, "5000"),
        ("--device", "abacus", "abacus"),
        ("--bundle", "sr-four", "sr-four"),
    ],
)
def test_a_setting_that_no_file_can_be_restored_with_is_said_once(
    dp_ir, bundle, photos, tmp_path, option, value, words
):
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu", option, value)
    assert_one_sentence(result, words)
    assert listing(tmp_path) == ["in/a.jpg", "in/b.png"]


def test_tau_beyond_the_denoiser_names_both_noise_levels(dp_ir, bundle, photos, tmp_path):
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu", "--tau", 900)
    sigma = float(tiny_restoration().schedule.sigma(900))
    assert f"{sigma:.4g}" in result.stderr
    assert "0.5" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["restore"],
        ["restore", "a.jpg"],
        ["restore", "a.jpg", "-o", "out", "--steps", "0"],
        ["restore", "a.jpg", "-o", "out", "--samples", "0"],
        ["restore", "a.jpg", "-o", "out", "--sampler", "euler"],
        ["restore", "a.jpg", "-o", "out", "--format", "gif"],
        ["train", "painter", "--out", "run"],
        ["sharpen"],
    ],
)
def test_wrong_usage_exits_with_2(dp_ir, arguments):
    result = dp_ir(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
