"""`benchmarks/bars.py` on small data sets of its layout, with small bundles that know nothing."""

import importlib
import importlib.util
import io
import json
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from dp_ir.datasets.layouts import load_rgb
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.networks.fast_burst import FastBurst
from dp_ir.networks.fast_deblur import FastDeblur
from dp_ir.networks.fast_photo import FastPhoto
from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.rlfn import RLFN
from dp_ir.restoration.pipeline import Restoration
from tiny import tiny_bundle

RESTORERS = {
    "sr4": lambda: FastSR(channels=8, blocks=1),
    "photo": lambda: FastPhoto(channels=(8, 8), blocks=(1, 1), enlarging_channels=8, enlarging_blocks=1),
    "clean": lambda: FastDeblur(channels=(8, 8), blocks=(1, 1)),
    "deblur": lambda: FastDeblur(channels=(8, 8), blocks=(1, 1)),
    "burst": lambda: FastBurst(channels=(8, 8), blocks=(1, 1)),
}


def save(path, rng, side=64):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.kron(rng.integers(0, 256, (side // 8, side // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Data sets, weights and bundles; `sr4` stands for the fusion trained for estimates, too."""
    root = tmp_path_factory.mktemp("bars")
    rng = np.random.default_rng(0)
    test, blurred = root / "data" / "test", root / "data" / "deblur"
    save(test / "Kodak24" / "kodim01.png", rng, 96)  # of bursts a border of 40 is left out
    for name in ("Set5/HR", "Set14/HR", "CBSD68"):
        save(test / name / "a.png", rng)
    for name in ("Set5", "Set14"):
        (test / name / "LR_x4").mkdir()
        Image.open(test / name / "HR" / "a.png").resize((16, 16), Image.BICUBIC).save(test / name / "LR_x4" / "a.png")
    for role in ("blur", "sharp"):
        for name in ("gopro_patches", "gopro_frames", "reds320"):
            save(blurred / name / role / "a.png", rng)
        save(blurred / "gopro" / f"flower_{role}.png", rng)
    torch.manual_seed(0)
    (root / "weights").mkdir()
    backbone = torchvision.models.squeezenet1_1(weights=None).features.state_dict()
    torch.save(backbone, root / "weights" / "squeezenet1_1_features.pth")
    torch.save(RLFN().state_dict(), root / "weights" / "rlfn_x4.pth")
    for task, restorer in RESTORERS.items():
        tiny_bundle(root / task, restorer=restorer(), tau=200, steps=1, sampler="ddim", task=task)
    return root


@pytest.fixture
def bars(benchmark, monkeypatch):
    """The command, as a function of its arguments that gives its exit status; what is tested elsewhere is cut short."""
    measures = importlib.import_module("bar_measures")
    times = {"time": (("sr4", 8, 8, 60.0), ("unknown", 8, 8, 60.0)), "photo": (), "clean": (("clean", 12, 8, 60.0),)}
    monkeypatch.setattr(measures, "TIMES", times)
    monkeypatch.setattr(measures, "PEER_CALLS", 3)
    monkeypatch.setattr(measures, "THREADS", 1)
    monkeypatch.setattr("dp_ir.evaluation.runner.tuned_noise.DEFAULT_GRID", (0.0, 0.02, 0.04))
    monkeypatch.setattr("dp_ir.evaluation.runner.tuned_noise.TOLERANCE", 0.1)
    monkeypatch.setattr("dp_ir.evaluation.runner.described.restoration_cost", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmarks/bars.py", *map(str, arguments)])
        module = benchmark("bars")
        monkeypatch.setattr(module, "keep_freed_memory", lambda: True)  # it would stay so for all tests that follow
        return module.main()

    return run


def bundles(place):
    return ("--bundle", *(f"{task}={place / task}" for task in RESTORERS), f"sr4-estimate={place / 'sr4'}")


@pytest.fixture
def rows():
    def of(report, title):
        (table,) = [table for table in report["tables"] if table["title"] == title]
        return {tuple(row[:2]): dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}

    return of


def test_one_page_for_all(place, bars, rows, tmp_path, capsys):
    arguments = ["--data", place / "data", "--weights", place / "weights", "--out", tmp_path / "out", "--repeats", 1]
    threads = torch.get_num_threads()
    assert bars(*arguments, *bundles(place), "--write", tmp_path / "bars.md") == 0, capsys.readouterr().out
    assert torch.get_num_threads() == threads
    report = json.loads((tmp_path / "bars.json").read_text())
    assert report["command"].startswith("python benchmarks/bars.py --data DATA --weights WEIGHTS --out OUT --repeats 1")
    assert report["command"] in (tmp_path / "bars.md").read_text()
    figures = {(bar["what"], bar["on"]): bar for bar in report["targets"] if "Spread" not in bar["what"]}
    judged = {key: bar["measured"] for key, bar in figures.items()}
    assert None not in judged.values()
    assert {on.partition(", ")[0] for _, on in judged} == {
        *RESTORERS,
        *("photo-strong", "jpeg-30", "jpeg-50", "jpeg-80", "untouched", "denoiser"),
    }

    sr4 = rows(report, "sr4")
    ours, alone, noise = (sr4["Set14", name] for name in ("DP-IR", "restorer", "restorer + noise"))
    assert ours["calls"] == sr4["Set14", "DP-IR at detail 1"]["calls"] == "1 restorer + 1 denoiser + 1 fusion"
    estimates = sr4["Set14", "DP-IR trained for estimates, 8 calls"]
    assert estimates["calls"] == "1 restorer + 8 denoiser + 8 fusion"
    for metric in ("LPIPS", "LPIPS 1/2"):
        share = judged[f"{metric}, DP-IR / restorer", "sr4, Set14"]
        assert share == pytest.approx(float(ours[metric]) / float(alone[metric]), rel=0.02)  # of four decimals
    share = judged["LPIPS, DP-IR / restorer + noise", "sr4, Set14"]
    assert share == pytest.approx(float(ours["LPIPS"]) / float(noise["LPIPS"]), rel=0.02)
    assert figures["LPIPS, DP-IR / restorer + noise", "sr4, Set5"]["limit"] == 0.95
    assert ("LPIPS, DP-IR / restorer", "sr4, Set5") not in judged
    share = judged["SWD, DP-IR / restorer", "sr4, Kodak24"]
    swd = [float(sr4["Kodak24", name]["SWD"]) for name in ("DP-IR", "restorer")]
    assert share == pytest.approx(swd[0] / swd[1], rel=0.02)
    assert judged["calls of the fusion, DP-IR", "sr4, Kodak24"] == 1

    assert "LPIPS, DP-IR / restorer" in {what for what, on in judged if on == "sr4, Kodak24, RLFN"}
    assert any("CRAFT is left out: There is no file 'craft_x4.pth'" in line for line in report["protocols"])

    spread = rows(report, "sr4: several samples of each image")
    mean, single = (
        float(spread["Kodak24", "DP-IR at detail 1"]["PSNR mean"]),
        float(spread["Kodak24", "restorer"]["PSNR"]),
    )
    gap = judged["|PSNR mean, DP-IR at detail 1 - PSNR, restorer|", "sr4, Kodak24"]
    assert gap == pytest.approx(abs(mean - single), abs=0.011)
    band = float(spread["Kodak24", "DP-IR at detail 1"]["Band 1"])
    assert judged["|Band 1, DP-IR at detail 1|", "sr4, Kodak24"] == pytest.approx(abs(band), abs=0.006)
    (calibrated,) = (bar for bar in report["targets"] if bar["what"] == "|Spread-error band 2, DP-IR at detail 1 - 1|")
    assert (calibrated["relation"], calibrated["limit"]) == ("<=", 0.1)
    ratio = spread["Kodak24", "DP-IR at detail 1"]["Spread-error band 2"]
    if ratio is not None:  # of networks that know nothing all samples may be one
        assert calibrated["measured"] == pytest.approx(abs(float(ratio) - 1), abs=0.006)

    assert ("time of one image", "sr4, 8x8 -> 32x32") in judged
    assert ("time of one image", "clean, 8x12 -> 8x12") in judged
    assert judged["seconds, DiffPIR, 100 calls / DP-IR", "sr4, Set14, first 1"] > 0

    deblur = rows(report, "deblur")
    assert {dataset for dataset, _ in deblur} == {"Kodak24", "gopro_patches", "gopro_frames", "reds320", "gopro"}
    assert ("LPIPS, DP-IR / restorer", "deblur, gopro") not in judged
    blurred, sharp = (
        np.asarray(Image.open(place / "data" / "deblur" / "gopro" / f"flower_{role}.png")) for role in ("blur", "sharp")
    )
    psnr = 10 * np.log10(255**2 / np.mean((blurred.astype(float) - sharp) ** 2))
    assert float(deblur["gopro", "input"]["PSNR"]) == pytest.approx(psnr, abs=0.006)

    gain = judged["PSNR, restorer - input", "jpeg-30, Kodak24"]
    jpeg = rows(report, "clean, JPEG of quality 30")
    pixels, file = Image.open(place / "data" / "test" / "Kodak24" / "kodim01.png").convert("RGB"), io.BytesIO()
    pixels.save(file, "JPEG", quality=30)
    psnr_of_file = 10 * np.log10(255**2 / np.mean((np.asarray(Image.open(file), float) - np.asarray(pixels)) ** 2))
    assert float(jpeg["Kodak24", "input"]["PSNR"]) == pytest.approx(psnr_of_file, abs=0.006)
    assert gain == pytest.approx(float(jpeg["Kodak24", "restorer"]["PSNR"]) - psnr_of_file, abs=0.011)
    assert figures["LPIPS, DP-IR", "photo-strong, CBSD68"]["limit"] == 0.22

    observation, target = (load_rgb(place / "data" / "test" / "Set5" / kind / "a.png") for kind in ("LR_x4", "HR"))
    restored = Restoration.from_pretrained(place / "sr4")(observation).restored
    expected = PSNR(channels="y", border=4, rounding=True)(restored, target).item()
    assert judged["PSNR-Y, restorer", "sr4, Set5"] == pytest.approx(expected, abs=1e-2)
    gain = judged["PSNR, restorer - input", "deblur, gopro"]
    assert gain == pytest.approx(float(deblur["gopro", "restorer"]["PSNR"]) - psnr, abs=0.011)
    assert figures["PSNR linear, restorer", "burst, Kodak24"]["limit"] == 36.2
    assert figures["PSNR, sigma 25", "denoiser, CBSD68"]["limit"] == 31.25


def test_what_is_missing_is_left_out(place, bars, rows, tmp_path, capsys):
    few = tmp_path / "data"
    (few / "test").mkdir(parents=True)
    (few / "test" / "Set14").symlink_to(place / "data" / "test" / "Set14")
    arguments = ["--data", few, "--weights", place / "weights", "--out", tmp_path / "out", *bundles(place)]
    sections = ("sr4", "deblur", "burst", "networks")
    assert bars(*arguments, "--only", *sections, "--write", tmp_path / "bars.md") == 0, capsys.readouterr().out
    report = json.loads((tmp_path / "bars.json").read_text())
    assert {dataset for dataset, _ in rows(report, "sr4")} == {"Set14"}
    assert {bar["on"] for bar in report["targets"]} == {"sr4, Set14"}
    said = "\n".join(report["protocols"])
    assert "sr4: without Kodak24, CBSD68, Set5, which" in said
    assert "burst is left out: None of its data sets (Kodak24) is in" in said
    assert "The denoiser is left out: There is no folder" in said


def test_nothing_to_measure_is_an_error(place, bars, tmp_path, capsys):
    assert bars("--data", tmp_path, "--weights", place / "weights", "--only", "burst", *bundles(place)) == 1
    assert "Nothing could be measured. burst is left out" in " ".join(capsys.readouterr().out.split())
    arguments = ["--data", place / "data", "--weights", tmp_path / "none", "--out", tmp_path, "--only", "burst"]
    assert bars(*arguments) == 1
    assert "burst is left out: There is no file or folder" in " ".join(capsys.readouterr().out.split())


def test_unknown_bundles_are_refused(place, bars, capsys):
    assert bars("--data", place / "data", "--bundle", "blur=x") == 1
    assert "--bundle names 'blur'" in capsys.readouterr().out
