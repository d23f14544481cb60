"""The command line itself: quick help, version, `info`, `train`, and names that must not drift from their packages."""

import json
import subprocess
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import dp_ir as package
from dp_ir.batch.plan import FORMATS
from dp_ir.checkpoints import KINDS
from dp_ir.diffusion.samplers import SAMPLERS
from dp_ir.diffusion.schedule import Spacing
from dp_ir.interfaces import cli, options, restore
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.runtime.precision import Precision
from dp_ir.training.recipe import shipped_recipes

QUICK = """
import json, sys, time
from dp_ir.interfaces.cli import app
try:
    app(args={arguments}, prog_name="dp-ir")
except SystemExit as end:
    print(json.dumps([end.code, time.process_time(), [m for m in ("torch", "numpy", "PIL") if m in sys.modules]]))
"""


def in_a_process(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["restore", "--help"], ["convert", "--help"], ["train", "--help"], ["--version"]]
)
def test_help_answers_at_once_because_nothing_heavy_is_imported(arguments):
    done = in_a_process("-c", QUICK.format(arguments=arguments))
    status, seconds, heavy = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    assert not heavy
    assert seconds < 1.0  # of processor time, which other programs do not lengthen


def test_the_package_can_be_run_as_a_module():
    done = in_a_process("-m", "dp_ir", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"dp-ir {version('dp-ir')}")


def test_the_package_hands_on_its_names_without_importing_torch():
    code = "import sys, dp_ir; dp_ir.__version__, dp_ir.DPIRError, dir(dp_ir); assert 'torch' not in sys.modules"
    assert in_a_process("-c", code).returncode == 0
    for name in package.__all__:
        assert getattr(package, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'restore_everything'"):
        package.restore_everything  # noqa: B018


def test_errors_are_one_sentence_from_a_real_process_too(tmp_path):
    done = in_a_process("-m", "dp_ir", "info", str(tmp_path / "gone.safetensors"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("dp-ir: There is no weight file")
    assert done.stderr.count("\n") == 1


def test_help_says_that_lpips_is_also_trained_on(dp_ir):
    text = " ".join(dp_ir("train", "--help").stdout.replace("│", " ").split())
    assert "validate with LPIPS beside PSNR" in text
    assert "also train on its features" in text


def test_names_in_help_are_those_of_the_packages():
    assert {item.value for item in options.SamplerName} == set(SAMPLERS)
    assert {item.value for item in options.SpacingName} == set(get_args(Spacing))
    assert {item.value for item in restore.FormatName} == set(FORMATS)
    assert {item.value for item in options.PrecisionName} == set(get_args(Precision))
    assert {item.value for item in cli.KindName} == set(KINDS)
    assert {item.value for item in cli.ForeignKindName} == set(KINDS) - {"fusion", "bridge"}
    # A fusion alone sees the dial, and nothing is stated of fusions.
    assert all(item.name in options.OVERRIDE for item in fields(package.NetworkInfo) if item.name != "detail")
    assert set(cli._RECIPES.values()) <= set(shipped_recipes())


# info ---------------------------------------------------------------------------------------------------------------


def test_info_says_what_a_bundle_is(dp_ir, bundle):
    result = dp_ir("info", bundle, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["what"] == "bundle"
    assert (said["task"], said["licence"]) == ("sr4", "Apache-2.0")
    assert (said["sampling"]["tau"], said["sampling"]["steps"], said["sampling"]["sampler"]) == (300, 3, "ddim")
    schedule = package.NoiseSchedule.from_config(said["sampling"]["schedule"])
    assert said["sampling"]["sigma_at_tau"] == pytest.approx(float(schedule.sigma(300)))
    assert said["networks"]["denoiser"]["sigma_range"] == [0.01, 0.5]
    assert said["networks"]["restorer"]["scale"] == 4
    for kind, network in said["networks"].items():
        module, record = package.load_network(bundle / f"{kind}.safetensors")
        assert network["kind"] == kind
        assert network["parameters"] == sum(parameter.numel() for parameter in module.parameters())
        assert network["sha256"] == record.sha256


def test_info_reads_as_text(dp_ir, bundle):
    lines = dp_ir("info", bundle).stdout.splitlines()
    assert "what: bundle" in lines
    assert "  tau: 300" in lines
    assert "    architecture: unet-denoiser" in lines
    assert "    noise levels: 0.01 to 0.5 (2.55 to 127.5 of 255)" in lines
    assert not any(line.endswith(("None", "{}", "[]")) for line in lines)


def test_info_says_what_a_network_file_is(dp_ir, bundle):
    said = json.loads(dp_ir("info", bundle / "fusion.safetensors", "--json").stdout)
    assert (said["what"], said["kind"], said["architecture"]) == ("network", "fusion", "fast-fusion")


CHAIN = {
    "schedule": {"name": "cosine", "T": 1000, "s": 0.008, "data_range": 2.0},
    **{"tau": 500, "steps": 1, "sampler": "ddim", "spacing": "log-sigma", "sigma_min": 0.01, "eta": 0.0},
}


def test_info_says_what_a_fusion_was_trained_for(dp_ir, bundle, tmp_path):
    network, _ = package.load_network(bundle / "fusion.safetensors")
    package.save_network(tmp_path / "fusion.safetensors", network, kind="fusion", card={"chain": CHAIN, "note": "x"})
    sigma = float(package.NoiseSchedule.from_config(CHAIN["schedule"]).sigma(500))
    words = f"1 call at the noise level {sigma:.4g} (tau = 500)"
    lines = dp_ir("info", tmp_path / "fusion.safetensors").stdout.splitlines()
    assert f"trained for: {words}" in lines
    assert not any("chain" in line for line in lines)
    said = json.loads(dp_ir("info", tmp_path / "fusion.safetensors", "--json").stdout)
    assert (said["trained_for"], said["chain"], said["card"]) == (words, CHAIN, {"note": "x"})
    lines = dp_ir("info", bundle).stdout.splitlines()
    assert lines.count("    trained for: estimates (any tau, sampler and number of calls)") == 1
    assert "  detail: 1" in lines


def test_info_says_of_fusions_alone_whether_they_see_the_dial(dp_ir, bundle, tmp_path):
    network = FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, detail=0.4)
    package.save_network(tmp_path / "fusion.safetensors", network, kind="fusion")
    own = dp_ir("info", tmp_path / "fusion.safetensors").stdout.splitlines()
    assert "dial between restorer and sample: seen from 0.4 on" in own
    lines = [line for line in dp_ir("info", bundle).stdout.splitlines() if "dial" in line]
    assert lines == ["    dial between restorer and sample: not seen, so --detail mixes results with the restorer's"]


# train --------------------------------------------------------------------------------------------------------------


def test_train_hands_on_what_it_was_asked_and_says_where_the_weights_are(dp_ir, tmp_path, monkeypatch):
    asked = {}

    def train(kind, recipe, overrides, out, *, metrics, sample_metrics, perceptual, watch):
        asked.update(kind=kind, recipe=recipe, overrides=overrides, out=out, metrics=sorted(metrics))
        return out / "fusion.safetensors"

    monkeypatch.setattr("dp_ir.training.run.train", train)
    result = dp_ir("train", "fusion", "--data", tmp_path, "--out", tmp_path / "run", "optim.steps=7", "seed=3")
    assert result.exit_code == 0, result.stderr
    assert asked == {
        "kind": "fusion",
        "recipe": "fusion-sr4",
        "overrides": ["optim.steps=7", "seed=3", f'data.clean="{tmp_path}"'],
        "out": tmp_path / "run",
        "metrics": ["psnr"],
    }
    assert str(tmp_path / "run" / "fusion.safetensors") in result.stdout


def test_train_makes_weights_that_info_knows(dp_ir, tmp_path):
    noise = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(4):
        grain = noise.integers(0, 255, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(grain).save(tmp_path / "photos" / f"{index}.png")
    small = ("optim.steps=2", "optim.batch=1", "data.patch=16", "data.validation_crop=32", "data.validation_images=1")
    network = (
        "network.config={channels: 8, blocks: 1}",
        f"data.cache={tmp_path}/cache",
        "data.validation_fraction=0.4",
    )
    command = ("train", "restorer", "-d", tmp_path / "photos", "-o", tmp_path / "run", *small, *network)
    result = dp_ir(*command)
    assert result.exit_code == 0, result.output
    assert "psnr" in result.stdout
    assert "Trained" in result.stdout
    said = json.loads(dp_ir("info", tmp_path / "run" / "restorer.safetensors", "--json").stdout)
    assert (said["kind"], said["architecture"], said["config"]["channels"]) == ("restorer", "fast-sr", 8)
    again = dp_ir(*command)
    assert (again.exit_code, "Trained" in again.stdout) == (0, False)
    assert "nothing was left to train" in again.stdout
    other = dp_ir(*command, "optim.batch=2")
    assert (other.exit_code, other.stdout) == (1, "")
    assert "with optim.batch=2, as the recipe asks, nothing would be trained" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("denoiser", "-r", "restorer-sr4", "-d", "photos"), "trains a restorer, not a denoiser"),
        (("denoiser", "-r", "no-such-recipe", "-d", "photos"), "no recipe"),
        (("denoiser",), "data.clean"),
        (("denoiser", "-d", "photos", "optim.stepz=3"), "stepz"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_one_sentence(dp_ir, tmp_path, arguments, words):
    result = dp_ir("train", *arguments, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (BrokenPipeError(32, "Broken pipe"), "no one reads standard output any more"),
        (OSError(28, "No space left on device"), "something cannot be written (No space left on device)"),
        (PermissionError(13, "Permission denied", "a/cache"), "a/cache cannot be used (Permission denied)"),
    ],
)
def test_an_error_of_the_system_is_one_sentence(dp_ir, monkeypatch, error, sentence):
    def fail(source):
        raise error

    monkeypatch.setattr("dp_ir.interfaces.describe.describe", fail)
    result = dp_ir("info", "sr4")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"dp-ir: {sentence}")
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_a_standard_output_that_takes_nothing_is_one_sentence(output):
    command = f'"{sys.executable}" -m dp_ir --version {output}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("dp-ir: ")
    assert done.stderr.count("\n") == 1
