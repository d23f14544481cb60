"""Whole training runs with tiny networks: exact resumption, several processes, and that training improves."""

from __future__ import annotations

import csv
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from dp_ir.checkpoints import NetworkRecord, build, load_network, save_network
from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.trained_for import chain_settings
from dp_ir.errors import CheckpointError, DataError, RecipeError
from dp_ir.evaluation.judges import judges
from dp_ir.evaluation.method import Observation
from dp_ir.evaluation.methods import parse_method
from dp_ir.training.recipe import NoiseRecipe, OptimRecipe, ScoreRecipe
from dp_ir.training.run import train
from dp_ir.training.trainer import Progress, learning_rate_factor

METRICS = {"mse": lambda output, target: (output - target).square().mean((1, 2, 3))}

TINY = {
    "denoiser": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=16"],
    "restorer-sr4": ["network.config.channels=16", "network.config.blocks=1", "data.patch=16"],
    "fusion-estimate": ["network.config.channels=[16,16]", "network.config.blocks=[1,1,1]", "data.patch=16"],
    "fusion-sr4": [
        "network.config.channels=[16,16]",
        "network.config.blocks=[1,1,1]",
        "data.patch=16",
        "chain.steps=2",
        "score.lpips=0",
        "score.lpips_half=0",
    ],
    "pmrf-sr4": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=16"],
    "indi-sr4": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=16"],
}
FUSIONS = ("fusion-estimate", "fusion-sr4")
BRIDGES = ("pmrf-sr4", "indi-sr4")


class _InterruptedError(Exception):
    pass


def _run(recipe: str, settings: list[str], out: Path, *extra: str, stop_at: int | None = None) -> Path:
    def watch(progress: Progress) -> None:
        if progress.step == stop_at:
            raise _InterruptedError

    kind = "bridge" if recipe in BRIDGES else recipe.partition("-")[0]
    return train(kind, recipe, [*settings, *TINY[recipe], *extra], out, metrics=METRICS, watch=watch)


def _figures(out: Path) -> list[dict[str, float]]:
    with (out / "validation.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _low_resolution(photos: Path, folder: Path, brightness: float = 1) -> Path:
    folder.mkdir()
    for file in photos.iterdir():
        with Image.open(file) as image:
            small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
            small.point(lambda value: value * brightness).save(folder / file.name)
    return folder


@pytest.fixture
def partners(settings: list[str], tmp_path: Path) -> list[str]:
    restorer = _run("restorer-sr4", settings, tmp_path / "restorer", "optim.steps=2")
    denoiser = _run("denoiser", settings, tmp_path / "denoiser", "optim.steps=2")
    # Nothing can be told by probing networks that were hardly trained.
    probe = [f"partners.{kind}_info.probe=false" for kind in ("restorer", "denoiser")]
    return [f"partners.restorer={restorer}", f"partners.denoiser={denoiser}", *probe]


@pytest.mark.parametrize("recipe", list(TINY))
def test_interrupted_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    recipe: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    extra = ["optim.steps=8", *(partners if recipe in (*FUSIONS, *BRIDGES) else [])]
    whole, record = load_network(_run(recipe, settings, tmp_path / "whole", *extra))
    # Checkpoints are written every third step: this one dies with step 5 done and must repeat steps 4 and 5.
    with pytest.raises(_InterruptedError):
        _run(recipe, settings, tmp_path / "parts", *extra, stop_at=5)
    parts, resumed = load_network(_run(recipe, settings, tmp_path / "parts", *extra))
    assert record.sha256 == resumed.sha256
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert record.card["training"]["steps"] == resumed.card["training"]["steps"] == 8
    assert not list((tmp_path / "parts").glob("*.partial"))


@pytest.mark.parametrize("recipe", BRIDGES)
def test_bridge_beats_its_start_and_is_a_method(
    recipe: str, settings: list[str], partners: list[str], photos: Path, tmp_path: Path
) -> None:
    file = _run(recipe, settings, tmp_path / "run", "optim.steps=60", "optim.learning_rate=3e-3", *partners)
    figures = _figures(tmp_path / "run")[-1]
    assert figures["mse_t0.25"] < figures["mse_t0.5"] < figures["mse_t1"]  # the less of the start, the easier
    start = f",restorer={tmp_path / 'restorer' / 'restorer.safetensors'}" if recipe == "pmrf-sr4" else ""
    method = parse_method(f"mine=bridge:{file},steps=3{start}", device="cpu")
    observation = Observation("set", "one", torch.rand(1, 3, 11, 7, generator=torch.Generator().manual_seed(0)))
    first, again, other = (method(observation, seed) for seed in (0, 0, 1))
    assert first.image.shape == (1, 3, 44, 28)
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert first.calls == {"bridge": 3} | ({"restorer": 1} if start else {})
    assert method.trained == ("bridge",)


def test_bridge_that_starts_from_a_restorer_names_it(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"set partners\.restorer"):
        _run("pmrf-sr4", settings, tmp_path / "run")
    file = _run("pmrf-sr4", settings, tmp_path / "run", "optim.steps=1", *partners)
    with pytest.raises(DataError, match="name the restorer"):
        parse_method(f"bridge:{file}", device="cpu")
    with pytest.raises(DataError, match="trained for another restorer"):
        parse_method(f"bridge:{file},restorer=sr4", device="cpu")


def test_finished_run_trains_no_more_and_brings_back_its_weights(settings: list[str], tmp_path: Path) -> None:
    file = _run("denoiser", settings, tmp_path / "run", "optim.steps=3")
    before = file.read_bytes()
    _run("denoiser", settings, tmp_path / "run", "optim.steps=3", stop_at=3)
    assert file.read_bytes() == before
    file.unlink()
    _run("denoiser", settings, tmp_path / "run", "optim.steps=3", stop_at=3)
    assert file.read_bytes() == before


@pytest.mark.parametrize("recipe", list(TINY))
def test_training_improves_what_it_is_trained_for(
    recipe: str, photos: Path, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    extra = ["optim.steps=40", "optim.learning_rate=1e-2", "log.checkpoint=40", "optim.ema=0.5"]
    if recipe in (*FUSIONS, *BRIDGES):
        extra += partners
    if recipe == "fusion-sr4":
        extra[0] = "optim.steps=100"  # a distribution is learnt more slowly than a mean
    if recipe in ("restorer-sr4", "indi-sr4"):
        # Bicubic interpolation, where the restorer starts, is hard to beat on smooth shapes; not so for dark inputs.
        extra.append(f"data.observation={_low_resolution(photos, tmp_path / 'dark', brightness=0.5)}")
    _run(recipe, settings, tmp_path / "start", *extra, "optim.learning_rate=1e-12", "optim.steps=1")
    _run(recipe, settings, tmp_path / "run", *extra)
    before, after = _figures(tmp_path / "start")[-1], _figures(tmp_path / "run")[-1]
    judged = {"denoiser": "mse_sigma", "fusion-estimate": "mse_fused", "fusion-sr4": "score"}.get(recipe, "mse_t1")
    if recipe == "restorer-sr4":
        judged = "mse"
    figures = [name for name in after if name.startswith(judged)]
    assert figures
    # The best energy score of a small spread is within a few percent of that of none (see test_energy_score.py).
    enough = 0.99 if recipe == "fusion-sr4" else 0.97
    for name in figures:
        assert after[name] < enough * before[name], name


def test_card_names_data_partners_time_and_hardware(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    file = _run("fusion-estimate", settings, tmp_path / "run", "optim.steps=2", "data.description=shapes", *partners)
    _, record = load_network(file)
    for kind in ("restorer", "denoiser"):
        path = next(p.partition("=")[2] for p in partners if p.startswith(f"partners.{kind}="))
        assert record.partners[f"{kind}_sha256"] == load_network(path)[1].sha256
    data, training = record.card["data"], record.card["training"]
    assert (data["description"], data["images"] + data["held_out"]) == ("shapes", 12)
    assert training["steps"] == 2
    assert training["seconds"] >= 0
    assert "torch" in training["hardware"]
    assert math.isfinite(training["validation"]["mse_restored"])


def test_card_of_a_fusion_trained_through_its_chain(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    record = load_network(_run("fusion-sr4", settings, tmp_path / "run", "optim.steps=2", *partners))[1]
    assert chain_settings(record.chain)["steps"] == 2
    assert record.card["training"]["objective"] == "energy-score"
    assert record.card["training"]["score"] == asdict(ScoreRecipe(bands=1, lpips=0, lpips_half=0))


def test_a_foreign_restorer_is_a_partner_in_its_own_units(
    settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    """A published file, whose units are inferred, gives the very training of our own file, whose units are stated."""
    torch.manual_seed(0)
    network = build("rlfn", {"channels": 8, "attention_channels": 4, "blocks": 1})
    torch.save({"params": network.state_dict()}, tmp_path / "rlfn_x4.pth")
    wrong = replace(info_of(network), value_range=(0.0, 1.0))
    save_network(tmp_path / "own.safetensors", network, kind="restorer", info=wrong)

    def trained(name: str, *stated: str) -> tuple[dict[str, torch.Tensor], NetworkRecord]:
        out = tmp_path / f"run-{name}-{len(stated)}"
        changes = ["optim.steps=2", *partners, f"partners.restorer={tmp_path / name}", *stated]
        fusion, record = load_network(_run("fusion-estimate", settings, out, *changes))
        return fusion.state_dict(), record

    inferred, record = trained("rlfn_x4.pth")
    stated, _ = trained("own.safetensors", "partners.restorer_info.value_range=[0,255]")
    not_stated, _ = trained("own.safetensors")  # the same weights, cached in the same folder
    assert all(torch.equal(value, stated[name]) for name, value in inferred.items())
    assert not all(torch.equal(value, not_stated[name]) for name, value in inferred.items())
    assert record.partners["restorer"] == "rlfn of rlfn_x4.pth"
    assert record.info["sigma_range"] == [NoiseRecipe.low, NoiseRecipe.high]


def test_a_fusion_is_trained_at_levels_that_the_denoiser_knows(
    settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    narrow = "partners.denoiser_info.sigma_range=[0.01,0.3]"
    with pytest.raises(RecipeError, match=r"0\.005 to 1, .* 0\.01 to 0\.3: set noise\.low=0\.01 noise\.high=0\.3"):
        _run("fusion-estimate", settings, tmp_path / "run", *partners, narrow)
    levels = ["noise.low=0.01", "noise.high=0.3", "optim.steps=1"]
    _, record = load_network(_run("fusion-estimate", settings, tmp_path / "run", *partners, narrow, *levels))
    assert record.info["sigma_range"] == [0.01, 0.3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["chain.sampler=euler"], r"chain\.sampler=euler.*use one of ddpm, ddim"),
        (["chain.tau=0"], r"chain\.tau=0\.0.*cannot be run: "),
        (["chain.steps=0"], r"chain\.steps=0.*at least 1"),
        (["chain.eta=1.5"], r"eta is 1\.5, but it must lie between 0"),
        (["chain.sampler=dpmpp-2m", "chain.eta=0.5"], "dpmpp-2m draws no noise"),
        (["chain.spacing=even"], "log-sigma, uniform-t"),
        (["chain.steps=1", "chain.sigma_min=0"], r"chain\.sigma_min is 0\.0; it must lie between 0 and"),
        (
            ["chain.steps=1", "chain.sigma_min=9"],
            r"chain\.sigma_min is 9\.0; it must lie between 0 and sigma\(500\) = 0\.5",
        ),
        (["chain.sigma_min=-1"], r"sigma_min is -1, but it must lie between"),
        (
            ["partners.denoiser_info.sigma_range=[0.01,0.3]"],
            r"chain\.tau=500\.0.*denoiser was trained for .* up to 0\.3",
        ),
        (["partners.denoiser_info.sigma_range=[0.1,1]"], r"last step is at .*denoiser was trained for .* from 0\.1"),
        (["score.lpips=1"], "LPIPS, whose weights are not given"),
        (["data.patch=200"], "No image is as large"),
        (["data.patch=18"], r"data\.patch is 18, expected a multiple of 4, .* use 16"),
    ],
)
def test_what_is_wrong_is_said_before_the_restorer_runs(
    changes: list[str], message: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    with pytest.raises((RecipeError, DataError), match=message):
        _run("fusion-sr4", settings, tmp_path / "run", *partners, *changes)
    assert not list((tmp_path / "cache").glob("restored-*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["score.lpips=1"], r"data\.patch is 16 .*score\.lpips cannot .*at least 17x17 pixels, but is given 16x16"),
        (["score.lpips_half=1", "data.patch=32"], r"data\.patch is 32 .*score\.lpips_half cannot .* given 16x16"),
        (
            ["score.lpips=1", "data.patch=20", "data.validation_crop=16"],
            r"data\.validation_crop is 16 and gives crops of 16 pixels.*score\.lpips cannot",
        ),
        (["data.validation_crop=16"], r"data\.validation_crop is 16 .*: LPIPS at full scale needs at least 17x17"),
        (["data.validation_crop=32"], r"data\.validation_crop is 32 .*: LPIPS 1/2 at half scale needs at least 17x17"),
    ],
)
def test_images_too_small_for_lpips_are_refused_before_the_restorer_runs(
    changes: list[str], message: str, settings: list[str], partners: list[str], squeezenet: Path, tmp_path: Path
) -> None:
    given = [*settings, *TINY["fusion-sr4"], *partners, *changes]
    with pytest.raises(RecipeError, match=message):
        train("fusion", "fusion-sr4", given, tmp_path / "run", **judges(squeezenet))
    assert not list((tmp_path / "cache").glob("restored-*"))


def test_a_fusion_learns_from_the_features_of_lpips(
    settings: list[str], partners: list[str], squeezenet: Path, tmp_path: Path
) -> None:
    sizes = ["data.patch=36", "data.validation_crop=36", "optim.steps=2", "optim.batch=2"]
    weights = []
    for lpips in (1, 0):
        features = [f"score.lpips={lpips}", f"score.lpips_half={lpips}"]
        given = [*settings, *TINY["fusion-sr4"], *partners, *sizes, *features]
        network, record = load_network(
            train("fusion", "fusion-sr4", given, tmp_path / f"run{lpips}", **judges(squeezenet))
        )
        weights.append(torch.cat([value.flatten() for value in network.state_dict().values()]))
        figures = record.card["training"]["validation"]
        assert {"lpips_restored", "lpips_half_detail0.25", "band1_detail1", "score_detail1"} <= set(figures)
        assert all(math.isfinite(value) for value in figures.values())
    assert not torch.equal(*weights)


def test_start_from_given_weights(settings: list[str], tmp_path: Path) -> None:
    first = _run("denoiser", settings, tmp_path / "first", "optim.steps=3")
    extra = [f"network.init={first}", "optim.steps=1", "optim.learning_rate=1e-12"]
    second = _run("denoiser", settings, tmp_path / "second", *extra)
    start, before = load_network(first)
    network, record = load_network(second)
    for name, value in start.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    origin = record.card["training"]["started_from"]
    assert (origin["sha256"], origin["training"]["steps"]) == (before.sha256, 3)
    with pytest.raises(RecipeError, match="make the two agree"):
        _run("denoiser", settings, tmp_path / "third", f"network.init={first}", "network.config.channels=[16,32]")


@pytest.mark.parametrize("recipe", ["denoiser", "fusion-sr4"])
def test_two_processes_train_what_one_does(
    recipe: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    kind = recipe.partition("-")[0]
    # Of a chain of five calls each is computed once more on the way back, see `chain_objective._KEPT_CALLS`.
    changes = ["optim.steps=4", *(["chain.steps=5", *partners] if recipe in FUSIONS else [])]
    extra = [*settings, *TINY[recipe], *changes]
    alone = _run(recipe, settings, tmp_path / "one", *changes)
    # accelerate starts several processes for --multi_gpu only; ACCELERATE_USE_CPU makes them run on the CPU.
    launch = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    command = [sys.executable, "-m", *launch.split(), "-m", "dp_ir", "train", kind]
    command += ["--recipe", recipe, "--out", str(tmp_path / "two"), *extra]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    together, record = load_network(tmp_path / "two" / f"{kind}.safetensors")
    assert record.card["training"]["hardware"].startswith("2 x")
    for name, value in load_network(alone)[0].state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def test_given_pairs_train_without_a_degradation(photos: Path, settings: list[str], tmp_path: Path) -> None:
    low = _low_resolution(photos, tmp_path / "low")
    _run("restorer-sr4", settings, tmp_path / "run", f"data.observation={low}", "optim.steps=2")
    (low / "photo_00.png").unlink()
    with pytest.raises(DataError, match="photo_00"):
        _run("restorer-sr4", settings, tmp_path / "other", f"data.observation={low}", "optim.steps=2")


def test_damaged_or_foreign_checkpoint_is_refused(settings: list[str], tmp_path: Path) -> None:
    _run("denoiser", settings, tmp_path / "run", "optim.steps=3")
    with pytest.raises(CheckpointError, match="another folder"):
        _run("denoiser", settings, tmp_path / "run", "optim.steps=6", "network.config.channels=[16,32]")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="remove it to begin anew"):
        _run("denoiser", settings, tmp_path / "run", "optim.steps=6")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed=9", r"with seed=0, the recipe asks for seed=9: use another"),
        ("network.init=INIT", r"with network\.init=None, the recipe asks for network\.init=.*: use another"),
        ("partners.restorer=OTHER", r"with partners\.restorer_sha256=.*: use another"),
        ("chain.tau=400", r"with chain\.tau=500\.0, the recipe asks for chain\.tau=400\.0: use another"),
        ("score.draws=3", r"with score\.draws=2, the recipe asks for score\.draws=3: use another"),
    ],
)
def test_a_run_goes_on_only_with_what_it_was_trained_for(
    change: str, message: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    began = [*partners, "network.config.detail=null", "optim.steps=1"]
    written = _run("fusion-sr4", settings, tmp_path / "run", *began)
    torch.manual_seed(5)
    save_network(tmp_path / "other.safetensors", build("fast-sr", {"channels": 8, "blocks": 1}), kind="restorer")
    change = change.replace("INIT", str(written)).replace("OTHER", str(tmp_path / "other.safetensors"))
    with pytest.raises(CheckpointError, match=message):
        _run("fusion-sr4", settings, tmp_path / "run", *began, change)
    # A checkpoint of before this was kept has nothing to compare.
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    del state["trained_for"]
    torch.save(state, checkpoint)
    (tmp_path / "run" / "validation.csv").unlink()
    _run("fusion-sr4", settings, tmp_path / "run", *began, change, "optim.steps=2")
    assert torch.load(checkpoint, weights_only=True)["step"] == 2


def test_a_run_has_no_fewer_steps_than_it_has_done(settings: list[str], tmp_path: Path) -> None:
    _run("denoiser", settings, tmp_path / "run", "optim.steps=3")
    with pytest.raises(CheckpointError, match="has 3 steps already, the recipe asks for 2"):
        _run("denoiser", settings, tmp_path / "run", "optim.steps=2")


def test_a_restorer_of_another_scale_is_refused(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    save_network(
        tmp_path / "same-size.safetensors",
        build("fast-deblur", {"channels": [8, 8], "blocks": [1, 1]}),
        kind="restorer",
    )
    with pytest.raises(RecipeError, match=r"same-size\.safetensors enlarges 1 times .* the task sr4 needs 4 times"):
        _run("fusion-sr4", settings, tmp_path / "run", *partners, f"partners.restorer={tmp_path}/same-size.safetensors")
    assert not list((tmp_path / "cache").glob("restored-*"))


def test_a_restorer_whose_scale_is_not_known_is_taken(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    unknown = ["partners.restorer_info.scale=null", "network.config.detail=null", "optim.steps=1"]
    assert _run("fusion-sr4", settings, tmp_path / "run", *partners, *unknown).is_file()


def test_weights_that_are_no_numbers_are_not_kept(settings: list[str], tmp_path: Path) -> None:
    _run("denoiser", settings, tmp_path / "run", "optim.steps=2")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    kept = checkpoint.read_bytes()
    diverging = ["optim.steps=8", "log.every=100", "log.checkpoint=1", "optim.learning_rate=1e30", "optim.warm_up=0"]
    with pytest.raises(CheckpointError, match=r"the last checkpoint in .* is from before"):
        _run("denoiser", settings, tmp_path / "run", *diverging)
    state = torch.load(checkpoint, weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    checkpoint.write_bytes(kept)
    _run("denoiser", settings, tmp_path / "run", "optim.steps=3")


def test_tables_have_a_row_per_step_after_an_interruption(settings: list[str], tmp_path: Path) -> None:
    logged = ["optim.steps=6", "log.every=1", "log.checkpoint=3"]
    with pytest.raises(_InterruptedError):
        _run("denoiser", settings, tmp_path / "run", *logged, stop_at=5)
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 1 + 5
    _run("denoiser", settings, tmp_path / "run", *logged)
    with (tmp_path / "run" / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5", "6"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(settings: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match=r"cannot be written .* name another folder"):
            _run("denoiser", settings, out)
    with pytest.raises(DataError, match=r"cannot be stored in .* name another folder \(data\.cache\)"):
        _run("denoiser", settings, tmp_path / "run", f"data.cache={tmp_path / 'file'}")
    assert not (tmp_path / "cache").exists()


def test_tensorboard_log_holds_the_loss_and_the_figures(settings: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _run("denoiser", settings, tmp_path / "run", "optim.steps=4", "log.tensorboard=true")
    (events,) = (tmp_path / "run" / "tensorboard").glob("events*")
    log = EventAccumulator(str(events)).Reload()
    assert [event.step for event in log.Scalars("loss")] == [2, 4]
    figure = log.Scalars("mse_sigma0.5")[-1]
    assert (figure.step, figure.value) == (4, pytest.approx(_figures(tmp_path / "run")[-1]["mse_sigma0.5"], rel=1e-4))


def test_diverged_training_stops_and_says_so(settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="learning_rate"):
        _run("denoiser", settings, tmp_path / "run", "optim.steps=40", "optim.learning_rate=1e30")


def test_recipe_of_another_kind_is_refused(settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="dp-ir train denoiser"):
        train("restorer", "denoiser", settings, tmp_path)


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    optim = OptimRecipe(steps=110, warm_up=10)
    factors = [learning_rate_factor(step, optim) for step in range(111)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[60] == pytest.approx(0.5)
    assert factors[35] == pytest.approx(math.cos(math.pi / 8) ** 2)
    assert factors[110] == pytest.approx(0)


def test_a_short_decay_leaves_most_of_a_run_independent_of_its_end():
    short, long = (OptimRecipe(steps=steps, warm_up=10, decay=0.2) for steps in (110, 210))
    factors = [learning_rate_factor(step, short) for step in range(111)]
    assert factors[:91] == [learning_rate_factor(step, long) for step in range(91)]
    assert factors[10:91] == [1.0] * 81
    assert factors[100] == pytest.approx(0.5)
    assert factors[110] == pytest.approx(0.0)
