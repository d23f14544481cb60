"""Comparing methods by several samples of each image: what is drawn, stored and judged, and what is not done twice."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.network_file import save_network
from dp_ir.datasets.pairs import ImagePair
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Output, draws_samples
from dp_ir.evaluation.methods.restoration_methods import RestorationMethod
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.evaluation.metrics.spread import PARTS, MeanPSNR, SpreadError
from dp_ir.evaluation.report.output_files import from_json, to_json, to_report, write_all
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.evaluation.runner.stored_paths import stored_image, stored_sample
from dp_ir.image.raw.camera import Camera
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.restoration.pipeline import Restoration

STD = 0.04
METHODS = """
from pathlib import Path
import torch
LOG = Path(__file__).with_suffix(".log")
def plain(y): return y
def sample(y, seed, std=0.04, stop=10**6):
    seen = LOG.read_text().splitlines() if LOG.exists() else []
    if len(seen) >= stop: raise KeyboardInterrupt
    LOG.write_text("\\n".join([*seen, str(seed)]))
    return y + std * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
def sometimes(y, seed):
    if seed > 1000: raise ValueError("an odd seed")
    return sample(y, seed)
"""


class Posterior(list):
    """Truths that are Gaussian about their observations."""

    name = "Gauss"

    def __init__(self, count=2, size=48, camera=None):
        generator = torch.Generator().manual_seed(0)
        for number in range(count):
            y = 0.3 + 0.4 * torch.rand(1, 3, size, size, generator=generator)
            truth = y + STD * torch.randn(y.shape, generator=generator)
            observation = y if camera is None else y[:, None].expand(-1, 2, -1, -1, -1)[:, :, [0, 1, 1, 2]]
            self.append(ImagePair(f"scene/{number}", observation, (truth * 255).round() / 255, camera))


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHODS)
    return path


def spreads(samples=8):
    return [SpreadError(part, samples) for part in PARTS]


def compare(texts, out, datasets=None, samples=8, **more):
    metrics = {"metrics": [PSNR(), MeanPSNR(samples=samples)], "set_metrics": spreads(samples), **more}
    return evaluate(texts, datasets or [Posterior()], out=out, device="cpu", **metrics)


def seeds(script):
    return [int(line) for line in script.with_suffix(".log").read_text().splitlines()]


def test_honest_samples_and_others(tmp_path, script):
    texts = [f"honest={script}:sample", f"narrow={script}:sample,std=0.02", f"one={script}:plain"]
    results = compare(texts, tmp_path / "out")
    honest, narrow, one = results.sets
    for part in PARTS:
        assert honest.values[f"Spread-error {part}"] == pytest.approx(1, abs=0.06)
        # (1 + 1/8) / 4 over 1 + 1 / 32
        expected = math.sqrt((9 / 8 / 4) / (1 + 1 / 32))
        assert narrow.values[f"Spread-error {part}"] == pytest.approx(expected, abs=0.06)
        assert len(honest.ranks[part].shares) == 9
        assert sum(honest.ranks[part].shares) == pytest.approx(1)
        assert honest.ranks[part].unevenness < 0.3 < narrow.ranks[part].unevenness
    assert (one.values, one.ranks) == ({}, {})
    by_method = {record.method: record for record in results.records}
    # The mean of 8 honest samples is off by the truth's deviation and an eighth of the samples'.
    mean = by_method["honest"].values
    assert mean["PSNR mean"] == pytest.approx(-10 * math.log10(STD**2 * 9 / 8), abs=0.15)
    assert mean["PSNR"] == pytest.approx(-10 * math.log10(STD**2 * 2), abs=0.15)
    assert set(by_method["one"].values) == {"PSNR"}
    assert sum("of one: one image of each, whatever the seed" in note for note in results.notes) == 1
    assert sum(note.startswith("Ranks of the truth") for note in results.notes) == 1
    assert [(m.name, m.of_sets) for m in results.metrics[2:]] == [(f"Spread-error {part}", True) for part in PARTS]


def test_samples_are_those_of_the_restoration(tmp_path):
    restoration = Restoration.from_parts(
        restorer=lambda y: y,
        denoiser=lambda noisy, sigma: noisy.mean(dim=(2, 3), keepdim=True).expand_as(noisy),
        fusion=lambda restored, denoised, noisy, sigma: 0.8 * restored + 0.1 * denoised + 0.1 * noisy,
        steps=2,
        device="cpu",
    )
    method = RestorationMethod("ours", restoration)
    assert draws_samples(method)
    data = Posterior(count=1, size=16)
    compare([method], tmp_path, [data], samples=3, seed=5)
    drawn = restoration(data[0].observation, seed=5, num_samples=3).samples
    for number in range(3):
        stored = np.asarray(Image.open(stored_sample(tmp_path, "ours", "Gauss", "scene/0", number)))
        assert np.array_equal(stored, (drawn[number][0].permute(1, 2, 0).numpy() * 255).round())


def test_nothing_is_drawn_or_judged_twice(tmp_path, script, monkeypatch):
    out, text = tmp_path / "out", f"mine={script}:sample"
    first = compare([text], out, samples=3)
    assert len(set(seeds(script))) == len(seeds(script)) == 2 * 3
    with monkeypatch.context() as patch:
        patch.setattr("dp_ir.evaluation.runner.drawn_samples.load_rgb", None)  # what was said of the samples is kept
        assert compare([text], out, samples=3) == first
    assert len(seeds(script)) == 6
    # More samples cost those that are not there; without such metrics none is drawn.
    compare([text], out, samples=4)
    assert len(seeds(script)) == 8
    again = compare([text], out, samples=3)
    assert (again, len(seeds(script))) == (first, 8)
    assert not evaluate([text], [Posterior()], out=out, metrics=[PSNR()], device="cpu", seed=50).sets
    assert len(seeds(script)) == 10


def test_an_interrupted_run_goes_on(tmp_path, script):
    whole = compare([f"mine={script}:sample"], tmp_path / "whole", samples=3)
    script.with_suffix(".log").unlink()
    out = tmp_path / "out"
    script.write_text(METHODS.replace("10**6", "4"))
    with pytest.raises(KeyboardInterrupt):
        compare([f"mine={script}:sample"], out, samples=3)
    before = seeds(script)
    script.with_suffix(".log").unlink()
    results = compare([f"mine={script}:sample"], out, samples=3)
    assert len(before) == 4
    assert len(seeds(script)) == 2
    assert not set(seeds(script)) & set(before)
    assert [own.values for own in results.sets] == [own.values for own in whole.sets]


def test_damaged_and_outdated_samples_are_drawn_again(tmp_path, script):
    text = f"mine={script}:sample"
    first = compare([text], tmp_path, samples=3)
    damaged = stored_sample(tmp_path, "mine", "Gauss", "scene/1", 2)
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert compare([text], tmp_path, samples=3) == first
    assert len(seeds(script)) == 7
    other = compare([f"{text},std=0.02"], tmp_path, samples=3)  # under the same name
    assert other.sets[0].values["Spread-error pixels"] < 0.8 * first.sets[0].values["Spread-error pixels"]


def test_a_sample_that_fails_takes_the_figure_and_says_so(tmp_path, script):
    results = compare([f"mine={script}:sometimes"], tmp_path, samples=2)
    assert all(record.error is None and set(record.values) == {"PSNR"} for record in results.records)
    assert not results.sets[0].values
    note = "of mine for 'scene/1' of Gauss: ValueError: an odd seed"
    assert sum(note in line for line in results.notes) == 1


def test_samples_without_any_error_have_no_ratio(tmp_path, script):
    class Truth(Posterior):
        def __getitem__(self, index):
            pair = super().__getitem__(index)
            return ImagePair(pair.name, pair.target, pair.target)

    results = compare([f"mine={script}:sample,std=0"], tmp_path, [Truth()], samples=2)
    assert not results.sets[0].values
    assert sum("Spread-error pixels has no value for mine" in note for note in results.notes) == 1
    # All samples are the truth: every rank is as good as any other.
    assert results.sets[0].ranks["band 1"].unevenness == pytest.approx(0)
    assert "NaN" not in to_json(results)


def test_in_several_processes(tmp_path, script):
    text = f"mine={script}:sample"
    one = compare([text], tmp_path / "one", samples=3)
    two = compare([text], tmp_path / "two", samples=3, processes=2)
    assert [own.values for own in two.sets] == [own.values for own in one.sets]
    assert [own.ranks for own in two.sets] == [own.ranks for own in one.sets]


def test_samples_of_bursts_have_16_bits(tmp_path):
    class Drawn:
        name, identity, networks, trained, draws = "drawn", "drawn", {}, (), True

        def __call__(self, observation, seed):
            image = observation.image[:, 0, [0, 1, 3]]
            return Output(image + STD * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)))

    results = compare([Drawn()], tmp_path, [Posterior(camera=Camera.neutral())])
    for part in PARTS:
        assert results.sets[0].values[f"Spread-error {part}"] == pytest.approx(1, abs=0.06)
    assert stored_sample(tmp_path, "drawn", "Gauss", "scene/0", 1).read_bytes()[24] == 16  # in the head of the PNG


def test_files_of_a_run_with_samples(tmp_path, script):
    texts = [f"honest={script}:sample", f"narrow={script}:sample,std=0.02", f"one={script}:plain"]
    results = compare(texts, tmp_path / "out", samples=4)
    report = to_report(results)
    quality = report.tables[0]
    column = list(quality.columns).index("Spread-error pixels → 1")
    assert [quality.ranks.get((row, column)) for row in range(3)] == [1, 2, None]
    assert quality.rows[2][column] is None
    written = write_all(results, report, tmp_path / "out")
    plot = tmp_path / "out" / "ranks-Gauss.svg"
    assert plot in written
    text = plot.read_text(encoding="utf-8")
    for part in (
        "honest",
        "narrow",
        "rank of the truth among 4 samples",
        *(f"share of places x 5, {p}" for p in PARTS),
    ):
        assert part in text
    assert "one<" not in text  # it drew no samples
    assert "ranks-Gauss.svg" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    content = (tmp_path / "out" / "results.json").read_text(encoding="utf-8")
    read = from_json(content)
    assert read.sets[0].ranks == results.sets[0].ranks
    assert json.loads(content)["sets"][0]["ranks"]["pixels"]["unevenness"] == results.sets[0].ranks["pixels"].unevenness


def test_metrics_must_agree_on_the_samples(tmp_path):
    with pytest.raises(DataError, match="4 and 8 samples"):
        evaluate(["bicubic"], [Posterior()], out=tmp_path, metrics=[MeanPSNR(samples=4)], set_metrics=[SpreadError()])
    with pytest.raises(DataError, match="ask for 1 samples"):
        evaluate(["bicubic"], [Posterior()], out=tmp_path, metrics=[MeanPSNR(samples=1)])


class Level:
    """Best where the output differs from the target by a standard deviation of 0.05."""

    name, protocol, higher_is_better, ideal = "PSNR", "standard deviation", None, 0.05

    def __call__(self, output, target):
        return (output - target).std(dim=(1, 2, 3))


def test_the_noise_control_draws_too(tmp_path):
    class Flat(Posterior):
        def __getitem__(self, index):
            pair = super().__getitem__(index)
            grey = torch.full_like(pair.target, 0.5)
            return ImagePair(pair.name, grey[..., ::4, ::4], grey + (pair.target - pair.observation))

    save_network(tmp_path / "net.safetensors", FastSR(channels=4, blocks=1), kind="restorer")  # bicubic as it begins
    texts = [f"fixed=noise:{tmp_path}/net.safetensors,std=0.04", f"tuned=noise:{tmp_path}/net.safetensors,metric=psnr"]
    results = compare(texts, tmp_path / "out", [Flat()], metrics=[Level()])
    # Tuned, the noise has what is missing of the metric's ideal: 0.03.
    tuning = stored_image(tmp_path / "out", "tuned", "Gauss", "scene/0").parents[1] / ".tuning.json"
    assert json.loads(tuning.read_text())["std"] == pytest.approx(0.03, abs=2e-3)
    fixed, tuned = (own.values["Spread-error pixels"] for own in results.sets)
    assert fixed == pytest.approx(1, abs=0.06)
    assert tuned == pytest.approx(math.sqrt(9 / 8 * 0.03**2 / (STD**2 + 0.03**2 / 8)), abs=0.06)
