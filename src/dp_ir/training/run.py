"""From a recipe to a trained network: joins images, objective and trainer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from dp_ir.checkpoints import save_network
from dp_ir.checkpoints.contract import info_of
from dp_ir.errors import CheckpointError, RecipeError
from dp_ir.extras import require
from dp_ir.part_files import replace_text
from dp_ir.tasks import get_task
from dp_ir.training.chain_objective import SampleMetrics, no_figures
from dp_ir.training.energy_score import Features
from dp_ir.training.history import History, read_checkpoint, settings_of
from dp_ir.training.images import Images
from dp_ir.training.objectives import Metrics
from dp_ir.training.recipe import Recipe, load_recipe, recipe_text
from dp_ir.training.start import Start, starting_network
from dp_ir.training.tables import writing
from dp_ir.training.trainer import Progress, Trainer, without_accelerator


def train(
    kind: str,
    recipe: str,
    overrides: Sequence[str],
    out: Path,
    *,
    metrics: Metrics | None = None,
    sample_metrics: SampleMetrics = no_figures,
    perceptual: Features | None = None,
    watch: Callable[[Progress], None] | None = None,
) -> Path:
    """Train one network as a recipe says; continues a run that was interrupted.

    Args:
        kind: "denoiser", "restorer", "fusion" or "bridge"; must be the recipe's.
        recipe: the name of a shipped recipe, or a YAML file.
        overrides: `section.key=value` strings.
        out: folder of the run.
        metrics: judge the network during training; see `objectives.Metrics`.
        sample_metrics: judge the samples of a chain likewise; see `chain_objective.SampleMetrics`.
        perceptual: features of a network, for recipes whose score asks for them.
        watch: called after each step.

    Returns:
        The weight file, `out/<kind>.safetensors`.

    Raises:
        RecipeError, DataError, CheckpointError, MissingExtraError: with one sentence each.
    """
    settings = load_recipe(recipe, overrides)
    if settings.kind != kind:
        raise RecipeError(
            f"The recipe '{recipe}' trains a {settings.kind}, not a {kind}: use `dp-ir train {settings.kind}`."
        )
    processes = require("accelerate", "Training", "train").PartialState(cpu=without_accelerator())

    if processes.is_main_process:
        _open_folder(out)
    torch.manual_seed(settings.seed)
    start = starting_network(settings)
    network = start.network
    trained_with = settings_of(settings) | start.settings
    # What cannot go on so is said before images are decoded, and once more when these are known.
    History(out, read_checkpoint(out), settings.optim.steps, trained_with)
    with processes.main_process_first():
        images = Images(
            settings,
            network,
            processes.device,
            metrics=metrics or {},
            sample_metrics=sample_metrics,
            perceptual=perceptual,
        )
    trainer = Trainer(
        network,
        settings,
        out,
        loss=images.objective.loss,
        validate=images.validate,
        export=partial(_export, settings, start, out / f"{kind}.safetensors", images.card),
        settings=trained_with | images.identities,
        watch=watch,
    )
    if processes.is_main_process:
        replace_text(out / "recipe.yaml", recipe_text(settings), CheckpointError)
    trainer.run(images.batches)
    return out / f"{kind}.safetensors"


def _open_folder(out: Path) -> None:
    """Make the folder of a run and try to write there, before anything takes time; raises CheckpointError."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass


def _export(
    settings: Recipe, start: Start, path: Path, card: Mapping[str, Any], network: nn.Module, record: Mapping[str, Any]
) -> None:
    training = {**record, "patch": settings.data.patch, "learning_rate": settings.optim.learning_rate, **start.card}
    kind = cast(Any, settings.kind)
    if settings.objective == "energy-score":
        training |= {"objective": settings.objective, "score": asdict(settings.score)}
    info = info_of(network)
    if kind == "fusion" and settings.objective == "estimate":
        info = replace(info, sigma_range=(settings.noise.low, settings.noise.high))
    if kind == "bridge":
        info = replace(info, scale=get_task(settings.data.task).scale)
    save_network(path, network, kind=kind, card={**card, "training": training, "licence": "Apache-2.0"}, info=info)
