"""`benchmarks/start_study.py` on curves whose best settings are known, and the whole on small bundles."""

import argparse
import sys

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tiny import tiny_restoration


@pytest.fixture
def study(benchmark):
    return benchmark("start_study")


def made(study, *, psnr, lpips, spread=0.1):
    """A trial with straight curves from 0 to 1: PSNR falls by `psnr`, LPIPS by `lpips`."""
    values = np.linspace(0, 1, 3)
    images = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 4, 4) ** 2 / 4
    return study.Trial(
        torch.zeros(1, 3, 4, 4), images, torch.full((1, 1, 4, 4), spread), 30 - psnr * values, 0.5 - lpips * values
    )


@pytest.fixture
def knob(study):
    return study.Knob("a knob", "sr4", "detail", (0.0, 0.5, 1.0), 0.5, by_pixel=True)


def test_pixels_lie_on_the_line_between_the_images_of_neighbouring_values(study, knob):
    values = torch.tensor([0.0, 0.25, 0.5, 0.6, 0.75, 1.0, 1.0, 0.1]).repeat(2).view(1, 1, 4, 4)
    image = study.at(knob, made(study, psnr=1, lpips=0.1), values)
    expected = np.interp(values.flatten(), knob.values, (0, 0.25, 1))
    for channel in image[0]:
        assert channel.flatten().numpy() == pytest.approx(expected, abs=1e-6)


def test_images_of_one_spread_get_what_is_fixed(study, knob):
    trials = [made(study, psnr=1, lpips=0.1), made(study, psnr=3, lpips=0.2)]
    for power in study.POWERS:
        lpips, values = study.by_image(knob, trials, power, 30 - 0.5 * 2)
        assert values == pytest.approx([0.5, 0.5], abs=1e-3)
        assert lpips == pytest.approx([0.45, 0.4], abs=1e-3)


def test_a_rule_is_proportional_to_a_power_of_the_spread_and_keeps_the_mean_psnr(study, knob):
    trials = [made(study, psnr=1, lpips=0.1, spread=spread) for spread in (0.05, 0.1, 0.2)]
    wanted = 30 - 0.35
    for power, expected in ((1.0, [0.15, 0.3, 0.6]), (-1.0, [0.6, 0.3, 0.15])):
        lpips, values = study.by_image(knob, trials, power, wanted)
        assert values == pytest.approx(expected, abs=2e-3)
        assert lpips == pytest.approx(0.5 - 0.1 * values)
        assert np.mean(30 - values) == pytest.approx(wanted, abs=2e-3)


def test_with_the_truth_at_hand_the_images_with_the_better_price_are_turned_up(study, knob):
    cheap, dear = made(study, psnr=1, lpips=0.2), made(study, psnr=1, lpips=0.1)
    lpips, values = study.oracle(knob, [cheap, dear], 30 - 0.5)
    assert values == pytest.approx([1, 0])
    assert lpips == pytest.approx([0.3, 0.5])
    assert lpips.mean() < 0.5 - 0.5 * (0.2 + 0.1) / 2  # of the same for both


def test_by_pixel_follows_the_spread_around_each_pixel(study, knob):
    one = made(study, psnr=1, lpips=0.1)
    one.spread[..., 2:] = 0.4
    said = {}

    def psnr(image, _):
        return torch.tensor(30 - float(image.mean()))

    def lpips(image, _):
        said["image"] = image
        return image.mean()

    wanted = 30 - 0.25
    _, values = study.by_pixel(knob, [one], 1.0, wanted, psnr, lpips)
    assert float(said["image"].mean()) == pytest.approx(0.25, abs=5e-3)
    left, right = said["image"][..., 0], said["image"][..., 3]
    # Four times the spread is four times the knob: where the knob is k and 4 k, the image is k / 2 and 1.5 (4 k) - 0.5.
    k = float(left.mean()) * 2
    assert float(right.mean()) == pytest.approx(6 * k - 0.5, abs=1e-4)
    assert values == pytest.approx([2.5 * k], rel=1e-4)


def test_the_interval_is_that_of_a_mean(study):
    ratios = np.random.default_rng(1).normal(1, 0.1, 400)
    assert study.interval(ratios) == pytest.approx(1.96 * 0.1 / 20, rel=0.15)
    assert study.interval(np.ones(20)) == 0


def test_the_whole_on_small_bundles(study, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(60):  # some of which the hash of the name holds out
        pixels = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    bundle = tiny_restoration(tau=500, steps=1, task="sr4")
    bundle.save_pretrained(tmp_path / "bundle")
    torch.save(
        torchvision.models.squeezenet1_1(weights=None).features.state_dict(), tmp_path / "squeezenet1_1_features.pth"
    )
    knobs = (
        study.Knob("the dial", str(tmp_path / "bundle"), "detail", (0.0, 0.5, 1.0), 0.5, by_pixel=True),
        study.Knob("the start", str(tmp_path / "bundle"), "tau", (0.0, 200.0, 400.0), 200.0),
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks/start_study.py"])
    options = argparse.Namespace(data=tmp_path / "photos", weights=tmp_path, limit=2, write=None)
    report = study.measure(options, knobs)
    dial, dial_curve, start, start_curve = report.tables
    assert [row[0] for row in start.rows] == [
        "200 for all images",
        *(f"by image, spread^{power:g}" for power in study.POWERS),
        "by image, with the truth at hand",
    ]
    assert len(dial.rows) == len(start.rows) + len(study.POWERS)
    assert [len(dial_curve.rows), len(start_curve.rows)] == [3, 3]
    figures = report.data["the dial"]
    assert np.mean(figures["psnr"], axis=0) == pytest.approx([float(row[1]) for row in dial_curve.rows], abs=0.006)
    assert all(value > 0 for value in figures["spread"])
