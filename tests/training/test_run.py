"""Whole training runs with tiny networks: exact resumption, several processes, and that training improves."""

from __future__ import annotations

import csv
import errno
import math
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from PIL import Image
from tiny_runs import BRIDGES, FUSIONS, TINY, InterruptedRunError, figures_of, low_resolution, run_tiny

from dp_ir.checkpoints import NetworkRecord, build, load_network, save_network
from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.trained_for import chain_settings
from dp_ir.errors import CheckpointError, DataError, RecipeError
from dp_ir.evaluation.methods.method import Observation
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.metrics.training_metrics import training_metrics
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import NoiseRecipe, OptimRecipe, ScoreRecipe
from dp_ir.training.run import train
from dp_ir.training.trainer import learning_rate_factor


@pytest.mark.parametrize("recipe", list(TINY))
def test_interrupted_run_ends_bit_for_bit_where_an_uninterrupted_one_does(
    recipe: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    extra = ["optim.steps=8", *(partners if recipe in (*FUSIONS, *BRIDGES) else [])]
    whole, record = load_network(run_tiny(recipe, settings, tmp_path / "whole", *extra))
    # Checkpoints are written every third step: this one dies with step 5 done and must repeat steps 4 and 5.
    with pytest.raises(InterruptedRunError):
        run_tiny(recipe, settings, tmp_path / "parts", *extra, stop_at=5)
    parts, resumed = load_network(run_tiny(recipe, settings, tmp_path / "parts", *extra))
    assert record.sha256 == resumed.sha256
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name]), name
    assert record.card["training"]["steps"] == resumed.card["training"]["steps"] == 8
    assert not list((tmp_path / "parts").glob("*.part"))


@pytest.mark.parametrize("recipe", BRIDGES)
def test_bridge_beats_its_start_and_is_a_method(
    recipe: str, settings: list[str], partners: list[str], photos: Path, tmp_path: Path
) -> None:
    file = run_tiny(recipe, settings, tmp_path / "run", "optim.steps=60", "optim.learning_rate=3e-3", *partners)
    figures = figures_of(tmp_path / "run")[-1]
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
        run_tiny("pmrf-sr4", settings, tmp_path / "run")
    file = run_tiny("pmrf-sr4", settings, tmp_path / "run", "optim.steps=1", *partners)
    with pytest.raises(DataError, match="name the restorer"):
        parse_method(f"bridge:{file}", device="cpu")
    with pytest.raises(DataError, match="trained for another restorer"):
        parse_method(f"bridge:{file},restorer=sr4", device="cpu")


def test_finished_run_trains_no_more_and_brings_back_its_weights(settings: list[str], tmp_path: Path) -> None:
    file = run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=3")
    before = file.read_bytes()
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=3", stop_at=3)
    assert file.read_bytes() == before
    file.unlink()
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=3", stop_at=3)
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
        extra.append(f"data.observation={low_resolution(photos, tmp_path / 'dark', brightness=0.5)}")
    run_tiny(recipe, settings, tmp_path / "start", *extra, "optim.learning_rate=1e-12", "optim.steps=1")
    run_tiny(recipe, settings, tmp_path / "run", *extra)
    before, after = figures_of(tmp_path / "start")[-1], figures_of(tmp_path / "run")[-1]
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
    file = run_tiny(
        "fusion-estimate", settings, tmp_path / "run", "optim.steps=2", "data.description=shapes", *partners
    )
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
    record = load_network(run_tiny("fusion-sr4", settings, tmp_path / "run", "optim.steps=2", *partners))[1]
    assert chain_settings(record.chain)["steps"] == 2
    assert record.card["training"]["objective"] == "energy-score"
    assert record.card["training"]["score"] == asdict(ScoreRecipe(bands=2, lpips=0, lpips_half=0))


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
        fusion, record = load_network(run_tiny("fusion-estimate", settings, out, *changes))
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
        run_tiny("fusion-estimate", settings, tmp_path / "run", *partners, narrow)
    levels = ["noise.low=0.01", "noise.high=0.3", "optim.steps=1"]
    _, record = load_network(run_tiny("fusion-estimate", settings, tmp_path / "run", *partners, narrow, *levels))
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
        run_tiny("fusion-sr4", settings, tmp_path / "run", *partners, *changes)
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
        train("fusion", "fusion-sr4", given, tmp_path / "run", **training_metrics(squeezenet))
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
            train("fusion", "fusion-sr4", given, tmp_path / f"run{lpips}", **training_metrics(squeezenet))
        )
        weights.append(torch.cat([value.flatten() for value in network.state_dict().values()]))
        figures = record.card["training"]["validation"]
        assert {"lpips_restored", "lpips_half_detail0.25", "band1_detail1", "score_detail1"} <= set(figures)
        assert all(math.isfinite(value) for value in figures.values())
    assert not torch.equal(*weights)


@pytest.mark.parametrize("recipe", ["denoiser", "fusion-sr4"])
def test_two_processes_train_what_one_does(
    recipe: str, settings: list[str], partners: list[str], tmp_path: Path
) -> None:
    kind = recipe.partition("-")[0]
    # Of a chain of five calls each is computed once more on the way back, see `chain_objective._KEPT_CALLS`.
    changes = ["optim.steps=4", *(["chain.steps=5", *partners] if recipe in FUSIONS else [])]
    extra = [*settings, *TINY[recipe], *changes]
    alone = run_tiny(recipe, settings, tmp_path / "one", *changes)
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
    low = low_resolution(photos, tmp_path / "low")
    run_tiny("restorer-sr4", settings, tmp_path / "run", f"data.observation={low}", "optim.steps=2")
    (low / "photo_00.png").unlink()
    with pytest.raises(DataError, match="photo_00"):
        run_tiny("restorer-sr4", settings, tmp_path / "other", f"data.observation={low}", "optim.steps=2")


def test_a_restorer_of_another_scale_is_refused(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    save_network(
        tmp_path / "same-size.safetensors",
        build("fast-deblur", {"channels": [8, 8], "blocks": [1, 1]}),
        kind="restorer",
    )
    with pytest.raises(RecipeError, match=r"same-size\.safetensors enlarges 1 times .* the task sr4 needs 4 times"):
        run_tiny(
            "fusion-sr4", settings, tmp_path / "run", *partners, f"partners.restorer={tmp_path}/same-size.safetensors"
        )
    assert not list((tmp_path / "cache").glob("restored-*"))


def test_a_restorer_whose_scale_is_not_known_is_taken(settings: list[str], partners: list[str], tmp_path: Path) -> None:
    unknown = ["partners.restorer_info.scale=null", "network.config.detail=null", "optim.steps=1"]
    assert run_tiny("fusion-sr4", settings, tmp_path / "run", *partners, *unknown).is_file()


def test_weights_that_are_no_numbers_are_not_kept(settings: list[str], tmp_path: Path) -> None:
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2")
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    kept = checkpoint.read_bytes()
    diverging = ["optim.steps=8", "log.every=100", "log.checkpoint=1", "optim.learning_rate=1e30", "optim.warm_up=0"]
    with pytest.raises(CheckpointError, match=r"the last checkpoint in .* is from before"):
        run_tiny("denoiser", settings, tmp_path / "run", *diverging)
    state = torch.load(checkpoint, weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["model"].values())
    checkpoint.write_bytes(kept)
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=3")


def test_tables_have_a_row_per_step_after_an_interruption(settings: list[str], tmp_path: Path) -> None:
    logged = ["optim.steps=6", "log.every=1", "log.checkpoint=3"]
    with pytest.raises(InterruptedRunError):
        run_tiny("denoiser", settings, tmp_path / "run", *logged, stop_at=5)
    assert len((tmp_path / "run" / "log.csv").read_text().splitlines()) == 1 + 5
    run_tiny("denoiser", settings, tmp_path / "run", *logged)
    with (tmp_path / "run" / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["1", "2", "3", "4", "5", "6"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(settings: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(CheckpointError, match=r"cannot be written .* name another folder"):
            run_tiny("denoiser", settings, out)
    with pytest.raises(DataError, match=r"cannot be stored in .* name another folder \(data\.cache\)"):
        run_tiny("denoiser", settings, tmp_path / "run", f"data.cache={tmp_path / 'file'}")
    assert not (tmp_path / "cache").exists()


def test_a_disk_that_fills_up_at_a_checkpoint_leaves_the_last_one(
    settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=1")
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()

    def full(state: object, file: BinaryIO) -> None:
        file.write(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be written \(.*No space left.*make room"):
        run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=2")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before
    assert not list((tmp_path / "run").glob("*.part"))


def test_held_out_images_without_room_for_a_crop_are_left_out(settings: list[str], tmp_path: Path) -> None:
    held_out = [name for name in (f"{number}.png" for number in range(40)) if is_held_out(name, 0.3)]
    (tmp_path / "mixed").mkdir()
    for number in range(40):
        name = f"{number}.png"
        Image.new("RGB", (30, 70) if name in held_out[1:] else (70, 70)).save(tmp_path / "mixed" / name)
    changes = [f"data.clean={tmp_path / 'mixed'}", "optim.steps=1"]
    with pytest.warns(UserWarning, match=rf"{len(held_out) - 1} of {len(held_out)} images held out .* smaller than 48"):
        record = load_network(run_tiny("restorer-sr4", settings, tmp_path / "run", *changes))[1]
    assert record.card["data"]["held_out"] == 1
    Image.new("RGB", (30, 70)).save(tmp_path / "mixed" / held_out[0])
    with pytest.raises(DataError, match=rf"None of the {len(held_out)} images .* gives a crop of 48 to 64 pixels"):
        run_tiny("restorer-sr4", settings, tmp_path / "other", *changes)


def test_too_few_held_out_images_are_said_before_any_is_decoded(settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 would be held out"):
        run_tiny("denoiser", settings, tmp_path / "run", "data.validation_fraction=1e-9")
    assert not (tmp_path / "cache").exists()


def test_tensorboard_log_holds_the_loss_and_the_figures(settings: list[str], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=4", "log.tensorboard=true")
    (events,) = (tmp_path / "run" / "tensorboard").glob("events*")
    log = EventAccumulator(str(events)).Reload()
    assert [event.step for event in log.Scalars("loss")] == [2, 4]
    figure = log.Scalars("mse_sigma0.5")[-1]
    assert (figure.step, figure.value) == (4, pytest.approx(figures_of(tmp_path / "run")[-1]["mse_sigma0.5"], rel=1e-4))


def test_diverged_training_stops_and_says_so(settings: list[str], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="learning_rate"):
        run_tiny("denoiser", settings, tmp_path / "run", "optim.steps=40", "optim.learning_rate=1e30")


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
