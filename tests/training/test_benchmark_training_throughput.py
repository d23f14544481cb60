"""`benchmarks/training_throughput.py`: the best share of each recipe, and the bar that it must reach."""

from argparse import Namespace

import pytest

from dp_ir.training.trainer import Progress


@pytest.mark.parametrize(
    ("shares", "best", "reached"), [([None, 0.3, 0.62, 0.5], 0.62, True), ([0.2, 0.54], 0.54, False)]
)
def test_the_best_share_must_reach_the_bar(benchmark, monkeypatch, tmp_path, shares, best, reached):
    module = benchmark("training_throughput")
    asked = []

    def train(kind, recipe, changes, out, *, watch):
        asked.append((kind, recipe, changes[0]))
        for step, share in enumerate(shares):
            watch(Progress(step, len(shares), 1.0, share))

    monkeypatch.setattr(module, "train", train)
    report = module.measure(Namespace(only=["denoiser"], data=tmp_path, weights=None, steps=8, bundle="sr4"))
    assert asked == [("denoiser", "denoiser", f"data.clean={tmp_path}")]
    (bar,) = report.targets
    assert (bar.measured, bar.passed) == (best, reached)
    assert report.tables[0].rows == [["denoiser", f"{best:.2f}"]]
