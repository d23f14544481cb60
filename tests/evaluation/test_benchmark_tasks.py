"""`benchmarks/tasks.py` on small data sets of its layout, with small bundles that know nothing."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from dp_ir.networks.fast_burst import FastBurst
from dp_ir.networks.fast_deblur import FastDeblur
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.networks.unet_denoiser import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(monkeypatch, *arguments):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", ["benchmarks/tasks.py", *map(str, arguments)])
    spec = importlib.util.spec_from_file_location("benchmark_tasks", BENCHMARKS / "tasks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.main()


def save(path, rng, side=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.kron(rng.integers(0, 256, (side // 8, side // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("tasks")
    rng = np.random.default_rng(0)
    save(root / "data" / "test" / "Kodak24" / "kodim01.png", rng, 96)  # of bursts a border of 40 is left out
    for role in ("blur", "sharp"):
        for name in ("gopro_patches", "reds320"):
            save(root / "data" / "deblur" / name / role / "a.png", rng)
        save(root / "data" / "deblur" / "gopro" / f"flower_{role}.png", rng)
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), root / "backbone.pth")
    for task, restorer in (
        ("deblur", FastDeblur(channels=(8, 8), blocks=(1, 1))),
        ("burst", FastBurst(channels=(8, 8), blocks=(1, 1))),
    ):
        Restoration.from_parts(
            restorer=restorer,
            denoiser=UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8),
            fusion=FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8),
            tau=200,
            task=task,
            device="cpu",
        ).save_pretrained(root / task)
    return root


def test_one_table_of_two_tasks(place, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("dp_ir.evaluation.noise_method.DEFAULT_GRID", (0.0, 0.02, 0.04))
    monkeypatch.setattr("dp_ir.evaluation.noise_method.TOLERANCE", 0.1)  # how noise is tuned is tested elsewhere
    monkeypatch.setattr("dp_ir.evaluation.described.restoration_cost", lambda *_: None)  # and so is this
    arguments = [
        *("--data", place / "data", "--weights", place / "backbone.pth", "--out", tmp_path / "out"),
        *("--only", "deblur", "burst", "--bundle", f"deblur={place / 'deblur'}", f"burst={place / 'burst'}"),
        *("--write", tmp_path / "tasks.md"),
    ]
    assert run(monkeypatch, *arguments) == 0, capsys.readouterr().out
    report = json.loads((tmp_path / "tasks.json").read_text())
    (table,) = report["tables"]
    rows = {(row[0], row[1], row[2]): dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
    sets = {("deblur", name) for name in ("Kodak24", "gopro_patches", "reds320", "gopro")} | {("burst", "Kodak24")}
    assert {key[:2] for key in rows} == sets
    ours = rows["deblur", "reds320", "DP-IR, 8 steps"]
    assert ours["calls"] == "1 restorer + 8 denoiser + 8 fusion"
    alone = rows["deblur", "reds320", "restorer"]
    assert float(ours["LPIPS / restorer"]) == pytest.approx(float(ours["LPIPS"]) / float(alone["LPIPS"]), abs=2e-3)
    assert ours["PSNR linear"] is None
    blurred, sharp = (
        np.asarray(Image.open(place / "data" / "deblur" / "reds320" / r / "a.png")) for r in ("blur", "sharp")
    )
    psnr = 10 * np.log10(255**2 / np.mean((blurred.astype(float) - sharp) ** 2))
    assert float(rows["deblur", "reds320", "input"]["PSNR"]) == pytest.approx(psnr, abs=0.006)

    bars = {(bar["what"], bar["on"]): bar for bar in report["bars"]}
    gap = bars["PSNR, restorer - input", "deblur, Kodak24"]
    assert gap["limit"] == 1.5
    for metric in ("PSNR", "PSNR linear"):
        assert bars[f"{metric}, restorer - bilinear + bicubic", "burst, Kodak24"]["limit"] == 3
        one = bars[f"{metric}, restorer - one frame", "burst, Kodak24"]
        whole, single = (float(rows["burst", "Kodak24", name][metric]) for name in ("restorer", "restorer, one frame"))
        assert (one["limit"], one["measured"]) == (1, pytest.approx(whole - single, abs=0.011))
    assert ("PSNR, restorer - input", "deblur, reds320") not in bars
    assert bars["calls of one network", "burst, Kodak24"]["measured"] == 8


def test_unknown_tasks_and_missing_data(place, monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "--data", place / "data", "--out", tmp_path, "--bundle", "blur=x") == 1
    assert "There is no task 'blur'" in capsys.readouterr().out
    arguments = ["--data", tmp_path, "--out", tmp_path / "out", "--weights", place / "backbone.pth"]
    assert run(monkeypatch, *arguments, "--only", "burst") == 1
    assert "does not exist" in " ".join(capsys.readouterr().out.split())
