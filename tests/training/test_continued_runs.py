"""What a training run starts from, and whether one that exists goes on: as it began, or not at all."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_runs import METRICS, run_tiny

from dp_ir.checkpoints import build, describe, load_network, save_network
from dp_ir.errors import CheckpointError, RecipeError
from dp_ir.networks.fast_deblur.model import FastDeblur
from dp_ir.restoration.pipeline import Restoration
from dp_ir.training.run import train


def test_start_from_given_weights(settings: list[str], tmp_path: Path) -> None:
    first = run_tiny("denoiser", settings, tmp_path / "first", "optim.steps=3")
    extra = [f"network.init={first}", "optim.steps=1", "optim.learning_rate=1e-12"]
    second = run_tiny("denoiser", settings, tmp_path / "second", *extra)
    start, before = load_network(first)
    network, record = load_network(second)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    origin = record.card["training"]["started_from"]
    assert (origin["sha256"], origin["training"]["steps"]) == (before.sha256, 3)
    with pytest.raises(RecipeError, match="make the two agree"):
        run_tiny("denoiser", settings, tmp_path / "third", f"network.init={first}", "network.config.channels=[16,32]")


def test_parts_start_from_files_and_a_restorer_from_a_denoiser(settings: list[str], tmp_path: Path) -> None:
    denoiser = run_tiny("denoiser", settings, tmp_path / "denoiser", "optim.steps=2")
    config = load_network(denoiser)[1].config
    small = {"channels": 8, "blocks": 1, "scale": 4}
    save_network(tmp_path / "sr.safetensors", build("fast-sr", small), kind="restorer")
    given = [
        *settings,
        *("data.task=sr4", "data.patch=16", "optim.steps=1", "optim.batch=1", "optim.learning_rate=1e-12"),
        *("network.config.enlarging_channels=8", "network.config.enlarging_blocks=1", "network.init_sigma=0.1"),
        *(f"network.config.{name}={config[name]}" for name in ("channels", "blocks")),
        f"network.init_parts.clean={denoiser}",
        f"network.init_parts.enlarge={tmp_path / 'sr.safetensors'}",
    ]
    network, record = load_network(train("restorer", "restorer-photo", given, tmp_path / "run"))
    cleaning = FastDeblur.from_denoiser(load_network(denoiser)[0], 0.1)
    observation = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network.clean(observation), cleaning(observation))
    origin = record.card["training"]["clean_started_from"]
    assert (origin["sha256"], origin["training"]["steps"]) == (load_network(denoiser)[1].sha256, 2)
    assert "enlarge_started_from" in record.card["training"]
    with pytest.raises(RecipeError, match="has not: its parts are clean, enlarge"):
        train("restorer", "restorer-photo", [*given, f"network.init_parts.head={denoiser}"], tmp_path / "other")
    wrong = [*given, "network.config.enlarging_blocks=2"]
    with pytest.raises(RecipeError, match="asks for a part enlarge with"):
        train("restorer", "restorer-photo", wrong, tmp_path / "another")


@pytest.mark.parametrize("form", ["foreign", "bundle"])
def test_start_from_whatever_a_restorer_is_loaded_from(form: str, settings: list[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build("rlfn", {"channels": 8, "attention_channels": 4, "blocks": 1})
    if form == "foreign":
        source = tmp_path / "rlfn_x4.pth"
        torch.save({"params": {f"module.{name}": value for name, value in network.state_dict().items()}}, source)
    else:
        source = tmp_path / "bundle"
        Restoration.restorer_only(network).save_pretrained(source)
    small = [
        "network.architecture=rlfn",
        "data.patch=96",
        "optim.batch=1",
        "optim.steps=1",
        "optim.learning_rate=1e-12",
    ]
    config = ["network.config.channels=8", "network.config.attention_channels=4", "network.config.blocks=1"]
    large = tmp_path / "large"  # this network takes nothing smaller than 23 pixels
    large.mkdir()
    for number in range(12):
        Image.effect_noise((160, 160), 60).convert("RGB").save(large / f"{number}.png")
    sizes = [f"data.clean={large}", "data.validation_crop=96", "optim.learning_rate=1e-12"]
    given = [*settings, *small, *config, *sizes, f"network.init={source}"]
    trained, record = load_network(train("restorer", "restorer-sr4", given, tmp_path / "run", metrics=METRICS))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value)
    assert record.card["training"]["started_from"]["sha256"] == describe(network, kind="restorer").sha256


def test_damaged_or_foreign_checkpoint_is_refused(settings: list[str], tmp_path: Path) -> None:
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=3")
    with pytest.raises(CheckpointError, match="another folder"):
        run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=6", "network.config.channels=[16,32]")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="remove it to begin anew"):
        run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed=9", r"with seed=0, the recipe asks for seed=9: use another"),
        (
            "network.init=INIT",
            r"with network\.init_sha256=None, the recipe asks for network\.init_sha256=.*: use",
        ),
        ("partners.restorer=OTHER", r"with partners\.restorer_sha256=.*: use another"),
        ("chain.tau=400", r"with chain\.tau=500\.0, the recipe asks for chain\.tau=400\.0: use another"),
        ("score.draws=3", r"with score\.draws=2, the recipe asks for score\.draws=3: use another"),
    ],
)
def test_a_run_goes_on_only_with_what_it_was_trained_for(
    change: str, message: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    began = [*partners, "network.config.detail=null", "optim.steps=1"]
    written = run_tiny("fusion-sr4", settings, tmp_path / "run", *began)
    torch.manual_seed(5)
    save_network(tmp_path / "other.safetensors", build("fast-sr", {"channels": 8, "blocks": 1}), kind="restorer")
    change = change.replace("INIT", str(written)).replace("OTHER", str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=message):
        run_tiny("fusion-sr4", settings, tmp_path / "run", *began, change)
    # A checkpoint of before this was kept has nothing to compare.
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    del state["history"]
    torch.save(state, checkpoint)
    (tmp_path / "run" / "validation.csv").unlink()
    run_tiny("fusion-sr4", settings, tmp_path / "run", *began, change, "optim.steps=2")
    assert torch.load(checkpoint, weights_only=True)["step"] == 2


def _records(run: Path) -> dict[str, bytes]:
    names = ("recipe.yaml", "denoiser.safetensors", "checkpoint.pt", "validation.csv", "log.csv")
    return {name: (run / name).read_bytes() for name in names}


def test_a_finished_run_is_not_said_to_be_another(settings: list[str], photos: Path, tmp_path: Path) -> None:
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2")
    before = _records(tmp_path / "run")
    shutil.copytree(photos, tmp_path / "fewer")
    (tmp_path / "fewer" / "photo_00.png").unlink()
    for change, message in (
        (
            "optim.batch=2",
            r"has its 2 steps, trained with optim\.batch=4; with optim\.batch=2, as the recipe asks",
        ),
        ("optim.learning_rate=0.5", r"with optim\.learning_rate=0\.5, as the recipe asks, nothing would be trained"),
        ("data.description=flowers", r"data\.description=flowers, .* nothing would be trained"),
        (f"data.clean={tmp_path / 'fewer'}", r"data\.clean=12 images, sha256 \w+; with data\.clean=11 images, sha256"),
        ("optim.steps=1", "has 2 steps already, the recipe asks for 1"),
    ):
        with pytest.raises(CheckpointError, match=message):
            run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2", change)
        assert _records(tmp_path / "run") == before, change
    # The same images in another place are the same, and what changes no weights may change.
    shutil.copytree(photos, tmp_path / "moved")
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2", f"data.clean={tmp_path / 'moved'}", "log.every=1")
    after = _records(tmp_path / "run")
    assert {name for name in after if after[name] != before[name]} == {"recipe.yaml"}


def test_what_changes_in_a_run_stands_in_its_card_with_the_step(
    settings: list[str], photos: Path, tmp_path: Path
) -> None:
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2")
    shutil.copytree(photos, tmp_path / "fewer")
    (tmp_path / "fewer" / "photo_00.png").unlink()
    changed = ["optim.batch=2", f"data.clean={tmp_path / 'fewer'}", "optim.steps=3"]
    with pytest.warns(
        UserWarning, match=r"goes on from step 2 with .*optim\.batch=2.* \(before: .*optim\.batch=4.*card"
    ):
        _, record = load_network(run_tiny("denoiser", settings, tmp_path / "run", *changed))
    training, data = record.card["training"], record.card["data"]
    (change,) = training["changes"]
    assert re.fullmatch(r"step 2: .*optim\.batch 4 -> 2.*data\.clean 12 images, .* -> 11 images, .*", change)
    assert (training["batch"], training["steps"], data["images"] + data["held_out"]) == (2, 3, 11)


def test_a_run_has_no_fewer_steps_than_it_has_done(settings: list[str], tmp_path: Path) -> None:
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=3")
    with pytest.raises(CheckpointError, match="has 3 steps already, the recipe asks for 2"):
        run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2")
