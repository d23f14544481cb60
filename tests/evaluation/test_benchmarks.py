"""The commands in benchmarks/ on a small data set of their layout, with a small bundle that knows nothing."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.bundle import bundle_network, read_config
from dp_ir.checkpoints.network_file import save_network
from dp_ir.datasets.layouts import load_rgb
from dp_ir.restoration.pipeline import Restoration
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe
from tiny import tiny_bundle


@pytest.fixture
def run(benchmark, monkeypatch):
    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", *map(str, arguments)])
        return benchmark(name).main()

    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data set, and a bundle of small untrained networks."""
    root = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    for part in ("HR", "LR_x4"):
        (root / "data" / "Set14" / part).mkdir(parents=True)
    for index in range(2):
        pixels = np.kron(rng.integers(0, 256, (12, 15, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        image = Image.fromarray(pixels)
        image.save(root / "data" / "Set14" / "HR" / f"{index}.png")
        image.resize((15, 12), Image.Resampling.BICUBIC).save(root / "data" / "Set14" / "LR_x4" / f"{index}.png")
    tiny_bundle(root / "bundle", tau=200, task="sr4")
    return root


def test_held_out_crops(place, run, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 256, (20 + number, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"photo-{number}.png")
    held_out = [path for path in sorted(photos.iterdir()) if is_held_out(path.name, DataRecipe.validation_fraction)]
    assert run("held_out_crops", "--data", photos, "--out", tmp_path / "crops", "--side", 24) == 0
    crops = sorted((tmp_path / "crops").iterdir())
    assert len(crops) == len(held_out) > 0
    for crop, photo in zip(crops, held_out, strict=True):
        whole = load_rgb(photo)
        top, left = max(whole.shape[-2] - 24, 0) // 2, 3
        assert torch.equal(load_rgb(crop), whole[..., top : top + 24, left : left + 24])
    assert run("held_out_crops", "--data", tmp_path / "none", "--out", tmp_path / "x") == 1
    assert "is not a folder" in " ".join(capsys.readouterr().out.split())


def test_make_zoo_runs_a_fusion_as_it_was_trained(place, run, tmp_path):
    network, record = bundle_network(place / "bundle", "fusion")
    chain = {
        "schedule": {"name": "cosine", "T": 1000, "s": 0.008, "data_range": 2.0},
        **{"tau": 350, "steps": 1, "sampler": "ddpm", "spacing": "log-sigma", "sigma_min": 0.01, "eta": 1.0},
    }
    save_network(tmp_path / "fusion.safetensors", network, kind="fusion", card={**record.card, "chain": chain})
    run(
        "make_zoo",
        *("--zoo", tmp_path, "--name", "new", "--setting", "tau=300", "--fusion", tmp_path / "fusion.safetensors"),
        *(option for kind in ("restorer", "denoiser") for option in (f"--{kind}", place / "bundle")),
    )
    settings = read_config(tmp_path / "new").settings
    assert {name: getattr(settings, name) for name in chain} == {**chain, "tau": 300}
    assert (settings.task, settings.licence) == ("sr4", "Apache-2.0")


def test_make_zoo_leaves_out_what_users_bring(place, run, tmp_path):
    run(
        "make_zoo",
        *("--zoo", tmp_path, "--name", "sr4-own", "--without", "restorer", "--setting", "tau=300"),
        *(option for kind in ("restorer", "denoiser", "fusion") for option in (f"--{kind}", place / "bundle")),
    )
    assert sorted(path.name for path in (tmp_path / "sr4-own").iterdir()) == [
        "README.md",
        "config.json",
        "fusion.safetensors",
    ]
    assert (tmp_path / "denoiser" / "denoiser.safetensors").exists()
    restoration = Restoration.from_pretrained(tmp_path / "sr4-own", restorer=place / "bundle", device="cpu")
    assert restoration.settings.tau == 300


def test_make_zoo_takes_the_figures_of_its_task(place, run, tmp_path):
    bars = [
        {"what": "LPIPS, DP-IR / restorer", "on": "sr4, Set14", "measured": 0.4567, "unit": "", "digits": 3},
        {"what": "LPIPS, DP-IR / restorer", "on": "deblur, reds320", "measured": 0.9, "unit": "", "digits": 3},
        {"what": "PSNR, sigma 15", "on": "denoiser, CBSD68", "measured": 33.9, "unit": "dB", "digits": 2},
        {"what": "SWD, DP-IR / restorer", "on": "sr4, Set14", "measured": None, "unit": "", "digits": 3},
    ]
    (tmp_path / "bars.json").write_text(json.dumps({"targets": bars}))
    run(
        "make_zoo",
        *("--zoo", tmp_path, "--name", "new", "--bars", tmp_path / "bars.json"),
        *(option for kind in ("restorer", "denoiser", "fusion") for option in (f"--{kind}", place / "bundle")),
    )
    assert read_config(tmp_path / "new").settings.quality == {
        "LPIPS, DP-IR / restorer, Set14": "0.457",
        "PSNR, sigma 15, denoiser, CBSD68": "33.90 dB",
    }


def test_comparison_picture(place, run, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    status = run(
        "compare_picture",
        *(place / "data" / "Set14" / "HR" / "0.png", "--degrade", "-o", picture, "--bundle", place / "bundle"),
        *("--crop", "2,1,8,6", "--crop", "0,0,8,8", "--zoom", 2),
    )
    assert status == 0, capsys.readouterr().err
    made = np.asarray(Image.open(picture))
    assert made.shape == (24 + 48 + 6 + 64, 4 * 64 + 3 * 6, 3)
    original = np.asarray(Image.open(place / "data" / "Set14" / "HR" / "0.png"))[4:28, 8:40]
    np.testing.assert_array_equal(made[24 : 24 + 48 : 2, -64::2], original)
    assert made[:18].min() < 128  # the labels


def test_comparison_picture_refuses_a_crop_outside(place, run, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    source = place / "data" / "Set14" / "LR_x4" / "0.png"
    assert run("compare_picture", source, "-o", picture, "--crop", "10,0,8,8") == 1
    assert "leaves the input of 15x12" in capsys.readouterr().err
    assert not picture.exists()
