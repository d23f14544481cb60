"""Comparing methods: what is stored, what is computed again and what is not, and what goes wrong."""

import json
import shutil
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.network_file import save_network
from dp_ir.datasets.opening import open_datasets
from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.metrics.noise_control import add_noise
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.evaluation.runner.image_records import shown_observation
from dp_ir.evaluation.runner.stored_paths import OBSERVATION, TARGET, stored_image
from dp_ir.image.raw.camera import decode
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.tasks.sr4.task import degrade

METHODS = """
from pathlib import Path
import torch
LOG = Path(__file__).with_suffix(".log")
def restore(y, shift=0.0, only=None):
    with LOG.open("a") as log: log.write("x")
    return y.repeat_interleave(4, 2).repeat_interleave(4, 3) + shift
def crash(y):
    if y.mean() > 0.5: raise KeyError("bright")
    return restore(y)
def small(y): return y
def nan(y): return restore(y) * float("nan")
def stop(y):
    if LOG.exists() and len(LOG.read_text()) >= 2: raise KeyboardInterrupt
    return restore(y)
"""


@dataclass
class CountedPSNR:
    """PSNR that counts how often it is asked."""

    name: str = "PSNR"
    protocol: str = "counted PSNR"
    higher_is_better: bool = True
    asked: list = field(default_factory=list)

    def __call__(self, output, target):
        self.asked.append(tuple(output.shape))
        return PSNR()(output, target)


class MeanGap:
    """A metric of sets: difference of the mean values."""

    name, protocol, higher_is_better = "gap", "gap of means", False

    def __init__(self):
        self.asked = 0

    def __call__(self, outputs, targets):
        self.asked += 1
        assert len(outputs) == len(targets)
        return abs(
            float(torch.stack([o.mean() for o in outputs]).mean() - torch.stack([t.mean() for t in targets]).mean())
        )


@pytest.fixture
def folder(tmp_path):
    """Three clean images: dark, middle and bright."""
    data = tmp_path / "Set3"
    data.mkdir()
    random = np.random.default_rng(0)
    for name, level in (("a", 60), ("b", 120), ("c", 190)):
        pixels = np.clip(level + random.integers(-30, 30, (24, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(data / f"{name}.png")
    return data


@pytest.fixture
def datasets(folder):
    return open_datasets([folder], scale=4, degrade=degrade)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(METHODS)
    return path


def runs(script):
    log = script.with_suffix(".log")
    return len(log.read_text()) if log.exists() else 0


def by_image(results, method):
    return {record.image: record for record in results.records if record.method == method}


def test_values_are_those_of_the_stored_files(tmp_path, datasets, folder):
    results = evaluate(["bicubic"], datasets, out=tmp_path / "out", metrics=[PSNR()], device="cpu")
    assert (results.datasets, [m.name for m in results.methods], [m.name for m in results.metrics]) == (
        ["Set3"],
        ["bicubic"],
        ["PSNR"],
    )
    for name, record in by_image(results, "bicubic").items():
        made = np.asarray(Image.open(stored_image(tmp_path / "out", "bicubic", "Set3", name))).astype(float)
        true = np.asarray(Image.open(folder / f"{name}.png")).astype(float)
        assert record.values["PSNR"] == pytest.approx(10 * np.log10(255**2 / ((made - true) ** 2).mean()), abs=1e-4)
        assert record.seconds > 0
        assert record.error is None
        shown = np.asarray(Image.open(stored_image(tmp_path / "out", TARGET, "Set3", name)))
        assert np.array_equal(shown, true)
        assert Image.open(stored_image(tmp_path / "out", OBSERVATION, "Set3", name)).size == (8, 6)


def test_seeds_are_those_of_the_images(tmp_path, datasets):
    class Seeds:
        name, identity, networks, trained = "seeds", "seeds", {}, ()
        seen: ClassVar[dict] = {}

        def __call__(self, observation, seed):
            from dp_ir.evaluation.methods.method import Output

            self.seen[observation.name] = seed
            return Output(torch.rand(1, 3, 24, 32))

    method = Seeds()
    evaluate([method], datasets, out=tmp_path / "out", metrics=[PSNR()], seed=7, limit=2)
    assert method.seen == {"a": 7, "b": 8}


def test_nothing_is_done_twice(tmp_path, datasets, script):
    out, metric, gap = tmp_path / "out", CountedPSNR(), MeanGap()
    text = f"mine={script}:restore"
    first = evaluate([text], datasets, out=out, metrics=[metric], set_metrics=[gap])
    assert (runs(script), len(metric.asked), gap.asked) == (3, 3, 1)
    again = evaluate([text], datasets, out=out, metrics=[metric], set_metrics=[gap])
    assert (runs(script), len(metric.asked), gap.asked) == (3, 3, 1)
    assert again == first
    # A further metric costs itself, and so does a further method.
    evaluate([text, "bicubic"], datasets, out=out, metrics=[metric, PSNR()], set_metrics=[gap])
    assert (runs(script), len(metric.asked), gap.asked) == (3, 6, 2)
    # Another setting is another method; another seed another image, which happens to be equal: its value is kept.
    evaluate([f"{text},shift=0.1"], datasets, out=out, metrics=[metric])
    assert (runs(script), len(metric.asked)) == (6, 9)
    evaluate([f"{text},shift=0.1"], datasets, out=out, metrics=[metric], seed=1)
    assert (runs(script), len(metric.asked)) == (9, 9)


def test_changed_data_are_noticed(tmp_path, datasets, script, folder):
    out, metric = tmp_path / "out", CountedPSNR()
    text = f"{script}:restore"
    evaluate([text], datasets, out=out, metrics=[metric])
    pixels = np.asarray(Image.open(folder / "b.png")).copy()
    pixels[:12] = 0
    Image.fromarray(pixels).save(folder / "b.png")
    results = evaluate([text], datasets, out=out, metrics=[metric])
    assert (runs(script), len(metric.asked)) == (4, 4)
    shown = np.asarray(Image.open(stored_image(out, TARGET, "Set3", "b")))
    assert np.array_equal(shown, pixels)
    fresh = evaluate([text], datasets, out=tmp_path / "fresh", metrics=[metric])
    assert [record.values for record in results.records] == [record.values for record in fresh.records]


def test_damaged_files_are_made_again(tmp_path, datasets, script):
    out = tmp_path / "out"
    text = f"mine={script}:restore"
    first = evaluate([text], datasets, out=out, metrics=[PSNR()])
    paths = {name: stored_image(out, "mine", "Set3", name) for name in "abc"}
    paths["a"].write_bytes(paths["a"].read_bytes()[:50])
    paths["b"].with_suffix(".json").write_text('{"format": 1, "made')
    shutil.copy(paths["b"], paths["c"])  # an image of something else
    again = evaluate([text], datasets, out=out, metrics=[PSNR()])
    assert runs(script) == 6
    assert [record.values for record in again.records] == [record.values for record in first.records]


def test_interrupted_run_goes_on(tmp_path, datasets, script):
    out = tmp_path / "out"
    text = f"mine={script}:stop"
    with pytest.raises(KeyboardInterrupt):
        evaluate([text], datasets, out=out, metrics=[PSNR()])
    script.with_suffix(".log").rename(script.with_suffix(".before"))
    results = evaluate([text], datasets, out=out, metrics=[PSNR()])
    assert runs(script) == 1
    assert all(record.values for record in results.records)


def test_method_that_crashes_on_one_image(tmp_path, datasets, script):
    out, gap = tmp_path / "out", MeanGap()
    texts = [f"mine={script}:crash", "bicubic"]
    results = evaluate(texts, datasets, out=out, metrics=[PSNR()], set_metrics=[gap])
    mine = by_image(results, "mine")
    assert mine["c"].error == "KeyError: 'bright'"
    assert not mine["c"].values
    assert not stored_image(out, "mine", "Set3", "c").exists()
    assert all(mine[name].values for name in "ab")
    assert all(record.values for record in by_image(results, "bicubic").values())
    # Sets are compared over the images that both have.
    only = evaluate(["bicubic"], datasets, out=tmp_path / "two", metrics=[PSNR()], set_metrics=[gap], limit=2)
    assert results.sets[1].values == only.sets[0].values
    assert [metric.of_sets for metric in results.metrics] == [False, True]
    # Failures are tried again, everything else is kept.
    before = runs(script)
    script.write_text(METHODS.replace("y.mean() > 0.5", "False"))
    evaluate(texts, datasets, out=out, metrics=[PSNR()])
    assert runs(script) == before + 3  # the file changed, so its method is another one
    script.with_suffix(".log").unlink()
    assert not [r for r in evaluate(texts, datasets, out=out, metrics=[PSNR()]).records if r.error]
    assert runs(script) == 0


@pytest.mark.parametrize(
    ("function", "part"),
    [("small", "has 8x6 pixels, expected 32x24"), ("nan", "holds NaN or infinity")],
)
def test_outputs_that_are_no_restorations(tmp_path, datasets, script, function, part):
    results = evaluate([f"mine={script}:{function}"], datasets, out=tmp_path / "out", metrics=[PSNR()], limit=1)
    assert part in results.records[0].error


def test_images_of_another_program(tmp_path, datasets, script):
    out, theirs = tmp_path / "out", tmp_path / "theirs"
    evaluate(["bicubic"], datasets, out=out, metrics=[PSNR()])
    (theirs / "Set3").mkdir(parents=True)
    for name in "ab":
        shutil.copy(stored_image(out, "bicubic", "Set3", name), theirs / "Set3" / f"{name}x4_SwinIR.png")
    Image.new("RGB", (8, 8)).save(theirs / "Set3" / "bx4_SwinIR.png")
    results = evaluate(["bicubic", f"SwinIR={theirs}"], datasets, out=out, metrics=[PSNR()])
    own, other = by_image(results, "bicubic"), by_image(results, "SwinIR")
    assert other["a"].values == own["a"].values
    assert other["a"].seconds is None
    assert "bx4_SwinIR.png' has 8x8 pixels, expected 32x24" in other["b"].error
    assert "holds no image 'c'" in other["c"].error


class NoiseOfLevel:
    """Best where the output differs from the target by noise of standard deviation 0.02."""

    name, protocol, higher_is_better = "LPIPS", "distance from noise of 0.02", False

    def __call__(self, output, target):
        return ((output - target).std(dim=(1, 2, 3)) - 0.02).abs()


def test_noise_control_is_tuned_per_data_set(tmp_path):
    data = tmp_path / "grey"
    data.mkdir()
    for name in "ab":
        Image.new("RGB", (64, 64), (128, 128, 128)).save(data / f"{name}.png")
    save_network(tmp_path / "net.safetensors", FastSR(channels=4, blocks=1), kind="restorer")  # bicubic as it begins
    datasets = open_datasets([data], scale=4, degrade=degrade)
    out, net = tmp_path / "out", tmp_path / "net.safetensors"
    texts = [f"control=noise:{net}", f"net={net}"]
    results = evaluate(texts, datasets, out=out, metrics=[NoiseOfLevel()], seed=3, device="cpu")
    assert [method.name for method in results.methods] == ["control", "net"]
    std = json.loads(stored_image(out, "control", "grey", "a").with_name(".tuning.json").read_text())["std"]
    assert std == pytest.approx(0.02, abs=2e-3)
    assert any(f"standard deviation {std:.4f}" in note for note in results.notes)
    record = by_image(results, "control")["b"]
    assert record.values["LPIPS"] < 2e-3
    assert record.calls == {"restorer": 1}
    assert record.seconds == by_image(results, "net")["b"].seconds
    grey = torch.full((1, 3, 64, 64), 128 / 255)
    expected = (add_noise([grey], std, seed=4)[0][0].permute(1, 2, 0).numpy() * 255).round()
    stored = np.asarray(Image.open(stored_image(out, "control", "grey", "b")))
    assert np.array_equal(stored, expected)
    # The restorer is not run twice under another name.
    assert sorted(path.name for path in (out / "images").iterdir()) == ["_observation", "_target", "control", "net"]
    alone = evaluate(texts[:1], datasets, out=tmp_path / "alone", metrics=[NoiseOfLevel()], seed=3, device="cpu")
    assert [r.values for r in alone.records] == [r.values for r in by_image(results, "control").values()]
    fixed = evaluate([f"{texts[0]},std=0.01"], datasets, out=out, metrics=[PSNR()], seed=3, device="cpu")
    assert fixed.records[0].values["PSNR"] == pytest.approx(40, abs=0.3)  # 20 log10(1 / 0.01)


def test_bad_input_ends_in_one_sentence(tmp_path, datasets, folder):
    def fails(part, *arguments, error=DataError, **more):
        with pytest.raises(error) as caught:
            evaluate(*arguments, **{"out": tmp_path / "out", "metrics": [PSNR()], **more})
        assert part in str(caught.value)

    fails("Two methods are called 'bicubic'", ["bicubic", "bicubic:2"], datasets)
    fails("Two data sets are called 'Set3'", ["bicubic"], [*datasets, *datasets])
    fails("name at least one", [], datasets)
    fails("nearest: bicubic", ["bicubic", "bicubik:2"], datasets)
    fails("add --metric lpips", ["noise:sr4"], datasets)
    for metric in ("psnr-mean", "PSNR_mean", "spread-error-pixels"):
        sentence = f"cannot be tuned for {metric}, which is about several samples of each image: tune it for a metric"
        fails(sentence, [f"noise:sr4,metric={metric}"], datasets)
    fails("cannot be tuned for fid, which is about whole sets of images", ["noise:sr4,metric=fid"], datasets)
    (tmp_path / "file").write_text("")
    fails("file", ["bicubic"], datasets, error=DPIRError, out=tmp_path / "file")
    (folder / "c.png").write_bytes(b"no image")
    fails("c.png", ["bicubic"], datasets)
    assert not (tmp_path / "out" / "images" / "bicubic").exists()


def test_metric_that_refuses_an_image_leaves_a_note(tmp_path, datasets):
    class Picky(MeanGap):
        name, protocol = "picky", "picky"

        def __call__(self, output, target):
            raise DataError("Too dark.")

    results = evaluate(["bicubic"], datasets, out=tmp_path / "out", metrics=[PSNR(), Picky()], set_metrics=[Picky()])
    assert all(set(record.values) == {"PSNR"} and record.error is None for record in results.records)
    assert "picky has no value for 'a' of Set3: Too dark." in results.notes
    assert "picky has no value for bicubic on Set3: Too dark." in results.notes


def test_bursts_can_be_looked_at():
    burst = torch.rand(1, 3, 4, 5, 6)
    shown = shown_observation(burst)
    assert shown.shape == (1, 3, 5, 6)
    assert torch.allclose(decode(shown)[0, 1], burst[0, 0, 1:3].mean(0), atol=1e-4)
    assert shown_observation(torch.rand(1, 1, 5, 6)).shape == (1, 3, 5, 6)


def test_images_of_one_name_are_refused(tmp_path):
    folder = tmp_path / "twice"
    folder.mkdir()
    for suffix in ("png", "bmp"):
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / f"a.{suffix}")
    (twice,) = open_datasets([folder], scale=4, degrade=degrade)
    with pytest.raises(DataError, match="called 'a'"):
        evaluate(["bicubic"], [twice], out=tmp_path / "out", metrics=[PSNR()])


def test_metric_that_crashes_leaves_a_note(tmp_path, datasets):
    class Crashing:
        name, protocol, higher_is_better = "PSNR-Y", "crashes", True

        def __call__(self, output, target):
            raise RuntimeError("out of order")

    results = evaluate(["bicubic"], datasets, out=tmp_path, metrics=[PSNR(), Crashing()])
    assert all(record.error is None and set(record.values) == {"PSNR"} for record in results.records)
    assert any("RuntimeError: out of order" in note for note in results.notes)


def test_grey_targets_are_noted(tmp_path):
    folder = tmp_path / "grey"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)).save(folder / "a.png")
    (grey,) = open_datasets([folder], scale=4, degrade=degrade)
    notes = [
        evaluate(["bicubic"], [grey], out=tmp_path / name, metrics=[PSNR(channels=channels)]).notes
        for name, channels in (("y", "y"), ("rgb", "rgb"))
    ]
    assert [any("Greyscale" in note for note in own) for own in notes] == [True, False]
