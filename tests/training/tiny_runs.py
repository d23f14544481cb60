"""Training runs of seconds, with tiny networks."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

from dp_ir.training.run import train
from dp_ir.training.trainer import Progress

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


class InterruptedRunError(Exception):
    pass


def run_tiny(recipe: str, settings: list[str], out: Path, *extra: str, stop_at: int | None = None) -> Path:
    def watch(progress: Progress) -> None:
        if progress.step == stop_at:
            raise InterruptedRunError

    kind = "bridge" if recipe in BRIDGES else recipe.partition("-")[0]
    return train(kind, recipe, [*settings, *TINY[recipe], *extra], out, metrics=METRICS, watch=watch)


def figures_of(out: Path) -> list[dict[str, float]]:
    with (out / "validation.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def low_resolution(photos: Path, folder: Path, brightness: float = 1) -> Path:
    folder.mkdir()
    for file in photos.iterdir():
        with Image.open(file) as image:
            small = image.resize((image.width // 4, image.height // 4), Image.Resampling.BOX)
            small.point(lambda value: value * brightness).save(folder / file.name)
    return folder
