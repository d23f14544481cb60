"""Training for the tasks whose observations are left to chance: made anew for each patch, or stored."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints import load_network
from dp_ir.degradation.frame_averaging import average_clips
from dp_ir.errors import DataError
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task
from dp_ir.training.data import Patches, observe
from dp_ir.training.run import train
from dp_ir.training.store import named_images, open_store, training_pairs
from dp_ir.training.trainer import Progress

METRICS = {"mse": lambda output, target: (output - target).square().mean((1, 2, 3))}
TINY = {
    "restorer-deblur": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=16"],
    "restorer-burst": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=64"],
}
OFFICIAL = {
    "restorer-deblur": [
        *("network.architecture=fftformer", "network.config.dim=8", "network.config.num_blocks=[1,1,1]"),
        *("network.config.num_refinement_blocks=1", "data.patch=32"),
    ],
    "restorer-burst": [
        *("network.architecture=bsrt", "network.config.embed_dim=12", "network.config.depths=[1,1]"),
        *("network.config.num_heads=[2,2]", "network.config.n_feats=8", "network.config.deform_groups=2"),
        "data.patch=64",
    ],
}


class InterruptedRunError(Exception):
    pass


@pytest.fixture(scope="module")
def large_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    for number in range(5):
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
        coarse.resize((152, 160), Image.Resampling.BICUBIC).save(folder / f"photo_{number}.png")
    return folder


@pytest.fixture
def changes(large_photos: Path, tmp_path: Path) -> list[str]:
    return [
        f"data.clean={large_photos}",
        f"data.cache={tmp_path / 'cache'}",
        *("data.validation_fraction=0.4", "data.validation_crop=64", "data.validation_images=1"),
        *("optim.batch=2", "optim.warm_up=1", "log.every=1", "log.validate=100", "log.checkpoint=2"),
        "precision=float32",
    ]


def _run(recipe: str, changes: list[str], out: Path, *extra: str, stop_at: int | None = None) -> Path:
    def watch(progress: Progress) -> None:
        if progress.step == stop_at:
            raise InterruptedRunError

    return train(recipe.partition("-")[0], recipe, [*changes, *extra], out, metrics=METRICS, watch=watch)


@pytest.mark.parametrize("recipe", list(TINY))
def test_chance_is_the_same_after_an_interruption(recipe: str, changes: list[str], tmp_path: Path) -> None:
    extra = [*TINY[recipe], "optim.steps=5"]
    _, whole = load_network(_run(recipe, changes, tmp_path / "whole", *extra))
    with pytest.raises(InterruptedRunError):
        _run(recipe, changes, tmp_path / "parts", *extra, stop_at=3)
    _, parts = load_network(_run(recipe, changes, tmp_path / "parts", *extra))
    assert whole.sha256 == parts.sha256


@pytest.mark.parametrize("recipe", list(OFFICIAL))
def test_networks_of_the_paper_train(recipe: str, changes: list[str], tmp_path: Path) -> None:
    before, _ = load_network(_run(recipe, changes, tmp_path / "one", *OFFICIAL[recipe], "optim.steps=1"))
    after, _ = load_network(_run(recipe, changes, tmp_path / "two", *OFFICIAL[recipe], "optim.steps=2", "optim.ema=0"))
    moved = [name for name, value in after.named_parameters() if not torch.equal(value, before.state_dict()[name])]
    assert len(moved) > 0.9 * len(list(after.named_parameters()))


def test_fusion_of_bursts_is_trained_on_rendered_images(changes: list[str], tmp_path: Path) -> None:
    restorer = _run("restorer-burst", changes, tmp_path / "restorer", *TINY["restorer-burst"], "optim.steps=2")
    small = ["network.config.channels=[16,16]", "data.patch=16", "optim.steps=2"]
    denoiser = train("denoiser", "denoiser", [*changes, *small, "network.config.blocks=[1,1]"], tmp_path / "denoiser")
    probe = [f"partners.{kind}_info.probe=false" for kind in ("restorer", "denoiser")]
    partners = [f"partners.restorer={restorer}", f"partners.denoiser={denoiser}", *probe]
    blocks, features = "network.config.blocks=[1,1,1]", ["score.lpips=0", "score.lpips_half=0"]
    fusion = train(
        "fusion", "fusion-burst", [*changes, *small, blocks, *features, *partners], tmp_path / "fusion", metrics=METRICS
    )
    with (tmp_path / "fusion" / "validation.csv").open() as file:
        figures = {key: float(value) for key, value in next(csv.DictReader(file)).items()}
    with (tmp_path / "restorer" / "validation.csv").open() as file:
        alone = float(next(csv.DictReader(file))["mse"])
    # What the fusion starts from is the restorer's image as rendered: as close to the photographs as in its own run.
    assert 0.3 * alone < figures["mse_restored"] < 3 * alone
    restore = Restoration.from_parts(restorer=restorer, denoiser=denoiser, fusion=fusion)
    assert (restore.settings.tau, restore.settings.steps) == (500, 1)  # of the chain that it was trained through
    burst = Burst(torch.rand(3, 4, 10, 12, generator=torch.Generator().manual_seed(0)), Camera.neutral())
    assert restore(burst).image.size == (80, 96)


def test_observations_are_cut_where_the_patch_is() -> None:
    task = get_task("sr4")
    clean = torch.rand(3, 64, 72, generator=torch.Generator().manual_seed(0))
    sample = observe(task, clean, torch.Generator())
    whole = task.degrade(clean[None])
    assert isinstance(whole, torch.Tensor)
    assert torch.equal(sample["observation"], whole[0, :, 4:-4, 4:-4])
    assert torch.equal(sample["clean"], clean[:, 16:-16, 16:-16])


def test_bursts_are_trained_at_every_length(large_photos: Path, tmp_path: Path) -> None:
    patches = Patches(
        open_store(large_photos, tmp_path, named_images(large_photos)),
        range(5),
        patch=64,
        align=8,
        task=get_task("burst"),
    )
    lengths = [int(patches[number]["frames"]) for number in range(60)]
    assert 15 <= lengths.count(14) <= 45
    assert min(lengths) <= 3
    first = patches[0]
    assert first["observation"].shape == (14, 4, 8, 8)
    assert first["clean"].shape == (3, 64, 64)
    assert all(torch.equal(first[name], value) for name, value in patches[0].items())


def _save(path: Path, side: int = 160, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), (value, value, value)).save(path)


def test_published_layouts_are_read_for_training(changes: list[str], tmp_path: Path) -> None:
    root = tmp_path / "GoPro"
    for scene in range(4):
        for folder, value in (("sharp", 120), ("blur", 100), ("blur_gamma", 90)):
            _save(root / "train" / f"scene{scene}" / folder / "000001.png", value=value)
        _save(root / "test" / "other" / "sharp" / "000001.png")
        _save(root / "test" / "other" / "blur" / "000001.png")
    pairs = training_pairs(root, 1)
    assert pairs is not None
    assert sorted(pairs) == [f"scene{scene}/000001" for scene in range(4)]
    assert training_pairs(root / "train", 1) is not None  # the scenes themselves are named
    file = _run("restorer-deblur", changes, tmp_path / "run", *TINY["restorer-deblur"], f"data.clean={root}",
                "optim.steps=1", "data.validation_fraction=0.5")  # fmt: skip
    with (file.parent / "validation.csv").open() as table:
        # Stored observations are used as they are: the constant difference is all that there is to be seen.
        assert float(next(csv.DictReader(table))["mse"]) == pytest.approx((20 / 255) ** 2, rel=0.5)


def test_a_folder_of_photographs_is_no_layout(large_photos: Path) -> None:
    assert training_pairs(large_photos, 1) is None


def test_sets_that_are_only_tested_on_are_refused(tmp_path: Path) -> None:
    for part in ("val_sharp", "val_blur"):
        _save(tmp_path / "REDS" / "val" / part / "000" / "00000000.png")
    with pytest.raises(DataError, match="no part to train on"):
        training_pairs(tmp_path / "REDS", 1)


def test_blurred_and_sharp_folders_that_do_not_match_are_refused(tmp_path: Path) -> None:
    _save(tmp_path / "sharp" / "a.png")
    _save(tmp_path / "blur" / "b.png")
    with pytest.raises(DataError, match="no partner"):
        training_pairs(tmp_path, 1)


def test_a_restorer_is_trained_on_averaged_clips(settings: list[str], photos: Path, tmp_path: Path) -> None:
    """What `average_clips` writes is what `--gt` and `--lq` take, and what a folder of pairs is recognised by."""
    for number, path in enumerate(sorted(photos.iterdir())):
        clip = tmp_path / "clips" / f"scene{number}"
        clip.mkdir(parents=True)
        with Image.open(path) as image:
            for shift in range(3):
                image.crop((shift, 0, shift + 80, 72)).save(clip / f"{shift}.png")
    pairs = tmp_path / "pairs"
    assert average_clips(tmp_path / "clips", pairs, window=3) == 12
    small = [*TINY["restorer-deblur"], "optim.steps=2"]
    named = [f"data.clean={pairs / 'gt'}", f"data.observation={pairs / 'lq'}"]
    together = [f"data.clean={pairs}"]
    weights = []
    for number, data in enumerate((named, together)):
        out = tmp_path / f"run{number}"
        weights.append(load_network(train("restorer", "restorer-deblur", [*settings, *small, *data], out))[1])
    for record in weights:
        assert record.card["data"]["images"] + record.card["data"]["held_out"] == 12


def test_the_test_part_of_a_data_set_is_not_trained_on(settings: list[str], photos: Path, tmp_path: Path) -> None:
    scene = tmp_path / "GoPro" / "test" / "GOPR0000"
    for role in ("sharp", "blur"):
        (scene / role).mkdir(parents=True)
        for number, path in enumerate(sorted(photos.iterdir())):
            with Image.open(path) as image:
                image.save(scene / role / f"{number:06d}.png")
    small = [*TINY["restorer-deblur"], "optim.steps=1", f"data.clean={tmp_path / 'GoPro'}"]
    with pytest.raises(DataError, match="has no part to train on"):
        train("restorer", "restorer-deblur", [*settings, *small], tmp_path / "run")
