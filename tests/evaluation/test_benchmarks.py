"""The commands in benchmarks/ on a small data set of their layout, with a small bundle that knows nothing."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from dp_ir.checkpoints.bundle import bundle_network, read_config
from dp_ir.checkpoints.network_file import save_network
from dp_ir.evaluation.metrics import PSNR
from dp_ir.image.data_layouts import load_rgb
from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.networks.unet_denoiser import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def command(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run(monkeypatch, name, *arguments):
    monkeypatch.syspath_prepend(BENCHMARKS)  # as for a script, which finds what lies beside it
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", *map(str, arguments)])
    return command(name).main()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data sets, a backbone of random weights, and a bundle of small untrained networks."""
    root = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    for dataset, count in (("Set5", 1), ("Set14", 2), ("CBSD68", 1), ("Kodak24", 1)):
        for index in range(count):
            pixels = np.kron(rng.integers(0, 256, (12, 15, 3)), np.ones((4, 4, 1))).astype(np.uint8)
            image = Image.fromarray(pixels)
            paired = dataset.startswith("Set")
            folder = root / "data" / dataset / ("HR" if paired else "")
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{index}.png")
            if paired:
                low = root / "data" / dataset / "LR_x4"
                low.mkdir(exist_ok=True)
                image.resize((15, 12), Image.Resampling.BICUBIC).save(low / f"{index}.png")
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), root / "backbone.pth")
    Restoration.from_parts(
        restorer=FastSR(channels=8, blocks=1),
        denoiser=UNetDenoiser(channels=(8, 16), blocks=(1, 1), encoding=8),
        fusion=FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8),
        tau=200,
        task="sr4",
    ).save_pretrained(root / "bundle")
    return root


def test_bars(place, monkeypatch, tmp_path, capsys):
    page = tmp_path / "bars.md"
    status = run(
        monkeypatch,
        "bars",
        *("--data", place / "data", "--weights", place / "backbone.pth", "--bundle", place / "bundle"),
        *("--write", page, "--full-T", "--limit", 1, "--only", "restorer", "denoiser", "dp-ir"),
    )
    assert status == 0, capsys.readouterr().out
    report = json.loads(page.with_suffix(".json").read_text())
    assert len(report["bars"]) == 2 + 3 + 2 * 7
    assert report["command"].startswith("python benchmarks/bars.py --data")
    assert report["command"] in page.read_text()

    observation, target = (load_rgb(place / "data" / "Set5" / kind / "0.png") for kind in ("LR_x4", "HR"))
    restored = Restoration.from_pretrained(place / "bundle")(observation).restored
    expected = PSNR(channels="y", border=4, rounding=True)(restored, target).item()
    assert report["bars"][0]["measured"] == pytest.approx(expected, abs=1e-3)

    scores = {entry["method"]: entry for entry in report["data"]["scores"] if entry["dataset"] == "Set14"}
    ours, alone = scores["DP-IR, 8 steps"], scores["restorer"]
    assert ours["calls"] == {"restorer": 1, "denoiser": 8, "fusion": 8}
    assert scores["DP-IR, 4 steps"]["calls"] == {"restorer": 1, "denoiser": 4, "fusion": 4}
    assert any(entry["calls"].get("denoiser") == 100 for entry in scores.values())
    control = next(entry for name, entry in scores.items() if "best for LPIPS)" in name)
    bars = {(bar["what"], bar["on"]): bar["measured"] for bar in report["bars"]}
    for name in ("LPIPS", "LPIPS 1/2"):
        ratio = bars[f"{name}, DP-IR / restorer", "Set14"]
        assert ratio == pytest.approx(ours["values"][name] / alone["values"][name])
        ratio = bars[f"{name}, DP-IR / noise control", "Set14"]
        assert ratio == pytest.approx(ours["values"][name] / control["values"][name])
    assert control["values"]["LPIPS"] <= alone["values"]["LPIPS"]


def test_bars_without_data_says_so(place, monkeypatch, tmp_path, capsys):
    status = run(monkeypatch, "bars", "--data", tmp_path, "--bundle", place / "bundle", "--only", "restorer")
    assert status == 1
    assert "There is no folder" in capsys.readouterr().out


def test_held_out_crops(place, monkeypatch, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 256, (20 + number, 30, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(photos / f"photo-{number}.png")
    held_out = [path for path in sorted(photos.iterdir()) if is_held_out(path.name, DataRecipe.validation_fraction)]
    assert run(monkeypatch, "held_out_crops", "--data", photos, "--out", tmp_path / "crops", "--side", 24) == 0
    crops = sorted((tmp_path / "crops").iterdir())
    assert len(crops) == len(held_out) > 0
    for crop, photo in zip(crops, held_out, strict=True):
        whole = load_rgb(photo)
        top, left = max(whole.shape[-2] - 24, 0) // 2, 3
        assert torch.equal(load_rgb(crop), whole[..., top : top + 24, left : left + 24])
    assert run(monkeypatch, "held_out_crops", "--data", tmp_path / "none", "--out", tmp_path / "x") == 1
    assert "is not a folder" in " ".join(capsys.readouterr().out.split())


def test_make_zoo_runs_a_fusion_as_it_was_trained(place, monkeypatch, tmp_path):
    network, record = bundle_network(place / "bundle", "fusion")
    chain = {
        "schedule": {"name": "cosine", "T": 1000, "s": 0.008, "data_range": 2.0},
        **{"tau": 350, "steps": 1, "sampler": "ddpm", "spacing": "log-sigma", "sigma_min": 0.01, "eta": 1.0},
    }
    save_network(tmp_path / "fusion.safetensors", network, kind="fusion", card={**record.card, "chain": chain})
    run(
        monkeypatch,
        "make_zoo",
        *("--zoo", tmp_path, "--name", "new", "--setting", "tau=300", "--fusion", tmp_path / "fusion.safetensors"),
        *(option for kind in ("restorer", "denoiser") for option in (f"--{kind}", place / "bundle")),
    )
    settings = read_config(tmp_path / "new").settings
    assert {name: getattr(settings, name) for name in chain} == {**chain, "tau": 300}
    assert (settings.task, settings.licence) == ("sr4", "Apache-2.0")


def test_make_zoo_leaves_out_what_users_bring(place, monkeypatch, tmp_path):
    run(
        monkeypatch,
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


def test_comparison_picture(place, monkeypatch, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    status = run(
        monkeypatch,
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


def test_comparison_picture_refuses_a_crop_outside(place, monkeypatch, tmp_path, capsys):
    picture = tmp_path / "picture.png"
    source = place / "data" / "Set14" / "LR_x4" / "0.png"
    assert run(monkeypatch, "compare_picture", source, "-o", picture, "--crop", "10,0,8,8") == 1
    assert "leaves the input of 15x12" in capsys.readouterr().err
    assert not picture.exists()
