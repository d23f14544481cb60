"""`dp-ir ablate` with a tiny bundle on tiny pictures."""

import csv
import itertools

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from conftest import tiny_restoration
from dp_ir.checkpoints.network_file import load_network, read_record
from dp_ir.evaluation.ablations.fusion_forms import ANALYTIC, FORMS
from dp_ir.evaluation.ablations.studies import STUDIES
from dp_ir.evaluation.report.output_files import from_json
from dp_ir.interfaces import ablation
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe


def picture(seed, height=48, width=56):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 215, (height // 8, width // 8, 3)).astype(np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "Tiny"
    folder.mkdir()
    for index in range(2):
        picture(index).save(folder / f"{index}.png")
    return folder


@pytest.fixture
def ablate(dp_ir, bundle, data, tmp_path):
    def run(study, *arguments, metrics=("psnr", "psnr-y")):
        chosen = [part for name in metrics for part in ("--metric", name)]
        out = tmp_path / "out"
        return out, dp_ir(
            "ablate", study, "--bundle", bundle, *arguments, "--data", data, "--out", out, "--device", "cpu", *chosen
        )

    return run


def test_names_in_help_are_those_of_the_studies():
    assert [name.value for name in ablation.StudyName] == list(STUDIES)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_study_gives_tables_plots_and_files(ablate):
    out, result = ablate("steps", "1", "2")
    assert result.exit_code == 0, result.output
    results = from_json((out / "results.json").read_text("utf-8"))
    assert [method.name for method in results.methods] == ["restorer", "1 steps", "2 steps"]
    calls = {record.method: dict(record.calls) for record in results.records}
    assert calls["restorer"] == {"restorer": 1}
    assert calls["2 steps"] == {"restorer": 1, "denoiser": 2, "fusion": 2}
    assert results.command.startswith("dp-ir ablate steps 1 2 --bundle")
    page = (out / "results.md").read_text("utf-8")
    assert "# How many calls are needed?" in page
    assert results.command in page
    assert {"Tiny-plane.svg", "Tiny-curves.svg", "index.html", "results.csv"} <= {path.name for path in out.iterdir()}
    with (out / "results.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == 1 + 3 * 2


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_swap_lowers_tau_for_a_denoiser_that_knows_less_noise(ablate, ffdnet_file, tmp_path):
    missing = ablate("swap")[1]
    assert missing.exit_code == 1
    assert "--restorer NAME=SOURCE" in missing.stderr
    unnamed = ablate("swap", "--denoiser", str(ffdnet_file))[1]
    assert "is not NAME=SOURCE" in unnamed.stderr
    torch.manual_seed(0)
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), tmp_path / "backbone.pth")
    tiny_restoration(tau=400).save_pretrained(tmp_path / "late")
    options = [
        "--weights",
        tmp_path / "backbone.pth",
        "--bundle",
        tmp_path / "late",
        "--denoiser",
        f"FFDNet={ffdnet_file}",
    ]
    out, result = ablate("swap", *options, metrics=("psnr", "lpips"))
    assert result.exit_code == 0, result.output
    results = from_json((out / "results.json").read_text("utf-8"))
    assert [method.name for method in results.methods] == [
        "own restorer", "own restorer + noise", "own restorer, own denoiser", "own restorer, FFDNet denoiser",
    ]  # fmt: skip
    page = (out / "results.md").read_text("utf-8")
    assert "With the own denoiser sampling starts at tau = 400." in page
    assert "With the FFDNet denoiser sampling starts at tau = 333." in page  # sigma = 75/255


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fusion_forms_are_trained_on_equal_terms(ablate, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    names = (f"photo-{number}.png" for number in itertools.count())
    held_out = next(name for name in names if is_held_out(name, DataRecipe.validation_fraction))
    for seed, name in enumerate([held_out, "a.png", "b.png", "c.png"]):
        picture(seed + 5, 64, 72).save(photos / name)
    assert "--photos DIR" in ablate("fusion")[1].stderr
    recipe = ["optim.batch=2", "data.patch=16", "data.validation_images=1", "data.validation_crop=32"]
    recipe += [f"data.cache={tmp_path / 'cache'}", "precision=float32", "noise.low=0.02", "noise.high=0.5"]
    recipe += [f"partners.{kind}_info.probe=false" for kind in ("restorer", "denoiser")]
    options = [
        "--photos",
        photos,
        "--train-steps",
        2,
        *(part for text in recipe for part in ("--override-recipe", text)),
    ]
    out, result = ablate("fusion", *options)
    assert result.exit_code == 0, result.output
    page = (out / "results.md").read_text("utf-8")
    assert "Estimates of E[x0 | y, x_t]: PSNR (RGB, dB) on 1 held-out photographs" in page
    names = ["restorer", ANALYTIC, *FORMS]
    results = from_json((out / "results.json").read_text("utf-8"))
    assert [method.name for method in results.methods] == names
    trained = [method.trained for method in results.methods[2:]]
    assert max(trained) <= 1.04 * min(trained)
    files = {path.parent.name: path for path in (out / "runs").rglob("fusion.safetensors")}
    assert {load_network(path)[0].config.get("combination", "none") for path in files.values()} == {
        "none", "concatenation", "addition", "scalar",
    }  # fmt: skip
    steps = {read_record(path).card["training"]["steps"] for name, path in files.items() if "variance" not in name}
    assert steps == {2}
