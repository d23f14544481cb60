import re
from pathlib import Path

import pytest

from dp_ir.errors import DataError
from dp_ir.evaluation.ablations.studies import STUDIES, Subject
from dp_ir.evaluation.ablations.study_plots import draw
from dp_ir.evaluation.methods.parsing import parse_method, split_method
from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.runner.results import MethodInfo, Record, Results
from dp_ir.restoration.pipeline import Restoration
from tiny import tiny_bundle, tiny_denoiser


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies") / "bundle"
    return tiny_bundle(folder, denoiser=tiny_denoiser(sigma_range=(0.005, 0.8)), tau=200, task="sr4")


@pytest.fixture
def subject(bundle):
    return Subject(
        str(bundle),
        restorers={"other": f"{bundle}/restorer.safetensors"},
        denoisers={"other": f"{bundle}/denoiser.safetensors"},
        fusions={"3CA": bundle / "fusion.safetensors"},
    )


def taus(study):
    return [float(re.search(r"tau=([\d.]+)", variant.text)[1]) for variant in study.variants]


@pytest.mark.parametrize("name", list(STUDIES))
def test_every_method_of_every_study_can_be_made_and_no_two_are_the_same(name, subject):
    study = STUDIES[name](subject)
    names = [variant.name for variant in study.variants]
    assert len(set(names)) == len(names) > 1
    for variant in study.variants:
        if split_method(variant.text).kind != "noise":
            parse_method(variant.text, device="cpu")
    identities = {variant.text.partition("=")[2] for variant in study.variants}
    assert len(identities) == len(names)


def test_highest_tau_is_the_last_that_the_denoiser_knows(subject, bundle):
    highest = subject.highest_tau()
    restore = Restoration.from_pretrained(bundle, tau=highest)  # refuses what it does not know
    assert float(restore.schedule.sigma(highest)) <= 0.8 < float(restore.schedule.sigma(highest + 1))
    study = STUDIES["tau"](subject)
    assert max(taus(study)) == highest
    assert "the same law" in study.notes[0]


def test_values_replace_the_grid(subject, bundle):
    asked = Subject(str(bundle), values=(100, 150))
    assert {tau for tau in taus(STUDIES["tau"](asked)) if tau} == {100, 150}
    steps = STUDIES["steps"](Subject(str(bundle), values=(3, 5)))
    assert [variant.x for variant in steps.variants] == [None, 3, 5]


def test_swap_without_networks_and_fusion_without_fusions_are_refused(bundle):
    with pytest.raises(DataError, match="--restorer NAME=SOURCE"):
        STUDIES["swap"](Subject(str(bundle)))
    with pytest.raises(DataError, match="none is given"):
        STUDIES["fusion"](Subject(str(bundle)))


def test_plots_show_every_measured_method(subject, tmp_path):
    study = STUDIES["steps"](subject)
    metrics = [MetricInfo("PSNR-Y", "", True), MetricInfo("LPIPS", "", False)]
    records = [
        Record(variant.name, "Set", str(image), {"PSNR-Y": 20 + number + image, "LPIPS": 1 / (1 + number + image)})
        for number, variant in enumerate(study.variants)
        for image in range(3)
    ]
    results = Results("", [MethodInfo(v.name) for v in study.variants], ["Set"], metrics, records)
    written = draw(study, results, tmp_path)
    assert [path.name for path in written] == ["Set-plane.svg", "Set-curves.svg"]
    text = Path(written[0]).read_text()
    shown = ["restorer", "DP-IR", *(f"{variant.x:g}" for variant in study.variants[1:])]
    assert all(f">{label}<" in text or f"-- {label} --" in text for label in shown)
    only_one = Results("", results.methods, ["Set"], metrics[:1], records)
    assert draw(study, only_one, tmp_path) == []


@pytest.mark.parametrize(
    ("name", "values", "part"),
    [("tau", (9000,), "at most"), ("start", (0,), "above 0"), ("steps", (2.5,), "whole numbers"),
     ("sampler", (float("nan"),), "whole numbers"), ("tau", (float("nan"),), "at most")],
)  # fmt: skip
def test_values_that_cannot_be_are_refused(bundle, name, values, part):
    with pytest.raises(DataError, match=part):
        STUDIES[name](Subject(str(bundle), values=values))


def test_bundle_without_a_restorer_takes_the_first_that_is_named():
    with pytest.raises(DataError, match="holds no restorer"):
        STUDIES["steps"](Subject("sr4-rlfn"))
    study = STUDIES["steps"](Subject("sr4-rlfn", restorers={"ours": "sr4"}))
    assert all(variant.text.endswith(",restorer=sr4") for variant in study.variants)
    parse_method(study.variants[1].text, device="cpu")


def test_metrics_without_direction_are_not_drawn(subject, tmp_path):
    study = STUDIES["steps"](subject)
    metrics = [MetricInfo("Band 1", "", None), MetricInfo("PSNR", "", True), MetricInfo("Band 2", "", None)]
    records = [Record(variant.name, "Set", "a", {m.name: 1.0 for m in metrics}) for variant in study.variants]
    results = Results("", [MethodInfo(v.name) for v in study.variants], ["Set"], metrics, records)
    assert draw(study, results, tmp_path) == []
    both = [*metrics, MetricInfo("SSIM", "", True)]
    records = [Record(variant.name, "Set", "a", {m.name: 1.0 for m in both}) for variant in study.variants]
    written = draw(study, Results("", results.methods, ["Set"], both, records), tmp_path)
    assert "SSIM" in written[0].read_text()
    assert "Band" not in written[0].read_text()
