"""The speed benchmark: its plain contestant computes the same image, and its report judges what was measured."""

import argparse

import pytest
import torch

from dp_ir.restoration.pipeline import Restoration
from tiny import tiny_bundle


@pytest.fixture
def speed(benchmark, monkeypatch):
    module = benchmark("speed")
    monkeypatch.setattr(module, "SIDE", 32)
    monkeypatch.setattr(module, "keep_freed_memory", lambda: True)  # it would stay so for all tests that follow
    return module


@pytest.fixture
def bundle(tmp_path):
    return str(tiny_bundle(tmp_path / "bundle", steps=2))


def test_plain_pytorch_gives_the_image_that_ours_gives(speed, bundle):
    observation = torch.rand(1, 3, 9, 11)
    ours = Restoration.from_pretrained(bundle, device="cpu", precision="float32")(observation, seed=3)
    plain = speed.plain_restoration(bundle)(observation, seed=3)
    assert plain.nfe == ours.nfe
    torch.testing.assert_close(plain.image, ours.image, rtol=1e-4, atol=1e-5)


def test_networks_and_restoration_are_timed(speed, bundle):
    figures = speed.timed(Restoration.from_pretrained(bundle, device="cpu"), 1)
    assert set(figures) == {"restoration", "restorer", "denoiser", "fusion"}
    assert all(taken > 0 for taken in figures.values())
    assert figures["restoration"] > figures["denoiser"]


def test_peers_run_with_the_plain_networks(speed, bundle, monkeypatch):
    monkeypatch.setattr(speed, "CALLS", 4)
    pair = argparse.Namespace(observation=torch.rand(1, 3, 8, 10), name="a")
    monkeypatch.setattr(speed, "pairs", lambda options: [pair])
    monkeypatch.setattr(speed, "judged", lambda options, method: tuple(method(pair).shape))
    found = speed.run_peers(argparse.Namespace(bundle=bundle))
    assert len(found) == 5
    assert set(found.values()) == {(1, 3, 32, 40)}


def test_what_was_measured_is_kept(speed, tmp_path, monkeypatch):
    (tmp_path / "engine-openvino.json").write_text('{"first": 3}')
    assert speed.in_own_process(tmp_path, "engine", engine="openvino") == {"first": 3}


def test_every_bar_is_judged_from_what_was_measured(speed, monkeypatch):
    taken = {"restoration": 6.0, "restorer": 0.3, "denoiser": 0.4, "fusion": 0.3}
    fast = {name: value / 4 for name, value in taken.items()}
    rates = {"float32": 100e9, "bfloat16": 500e9}
    score = {"PSNR": 27.0, "LPIPS": 0.16, "LPIPS half": 0.05, "seconds per megapixel": 5.0}
    slow = {**score, "LPIPS": 0.18, "seconds per megapixel": 105.0}
    answers = {
        "plain": taken,
        "ours": {
            "float32": taken,
            "float32, kept memory": fast,
            "default": fast,
            "bfloat16": True,
            "ceiling": rates,
            "flops": {"restorer": 26e9, "denoiser": 45e9, "fusion": 10e9},
            "scores": {"default": score, "float32": {**score, "PSNR": 27.05}},
        },
        "engine": {**fast, "first": 2.0, "rms": 0.001},
        "peers": {"DiffPIR, 100 calls": slow, "DP-IR": score},
        "growth": [
            {"megapixels": size, "pace": pace, "gigabytes": 2.0} for size, pace in ((1, 5.0), (4, 5.5), (16, 6.0))
        ],
        "hundred": {"megapixels": 100, "seconds": 500, "pace": 5.0, "gigabytes": 2.5},
        "spandrel": [{"name": "SwinIR", "size": "64x64", "ratio": 1.5, "error": 2e-3}],
    }
    monkeypatch.setattr(speed, "in_own_process", lambda work, contestant, **_: answers[contestant])
    options = argparse.Namespace(bundle="sr4", repeats=1, only=None, work=None)
    report = speed.report_of(options)
    reached = {f"{bar.what}": (round(bar.measured, 4), bar.passed) for bar in report.targets}
    assert reached == {
        "restoration, plain float32 / default": (4.0, True),
        "PSNR, |default - float32|": (0.05, True),
        "LPIPS, |default - float32|": (0.0, True),
        "restorer, share of the matrix product's FLOP/s": (round(26e9 / 0.075 / 500e9, 4), True),
        "denoiser, share of the matrix product's FLOP/s": (0.9, True),
        "fusion, share of the matrix product's FLOP/s": (round(10e9 / 0.075 / 500e9, 4), False),
        "SwinIR 64x64, spandrel / ours": (1.5, True),
        "SwinIR 64x64, relative error": (0.002, False),
        "time, DiffPIR with 100 calls / DP-IR": (21.0, True),
        "LPIPS, DP-IR / DiffPIR": (round(0.16 / 0.18, 4), True),
        "time per megapixel, largest / smallest": (1.2, False),
        "memory for 100 megapixels": (2.5, True),
    }
    assert "openvino" in report.to_markdown()
