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

from dp_ir.checkpoints import build, load_network, save_network
from dp_ir.checkpoints.contract import info_of
from dp_ir.errors import MissingExtraError, RecipeError
from dp_ir.networks.fast_deblur import FastDeblur
from dp_ir.networks.unet_bridge import UNetBridge
from dp_ir.networks.unet_denoiser import UNetDenoiser
from dp_ir.tasks import get_task
from dp_ir.training.chain_objective import SampleMetrics, no_figures
from dp_ir.training.energy_score import Features
from dp_ir.training.images import Images
from dp_ir.training.objectives import Metrics
from dp_ir.training.recipe import Recipe, load_recipe, recipe_text
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
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise MissingExtraError("Training", "accelerate", "train") from error
    processes = PartialState(cpu=without_accelerator())

    if processes.is_main_process:
        _open_folder(out)
    torch.manual_seed(settings.seed)
    network = _network(settings)
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
        export=partial(_export, settings, out / f"{kind}.safetensors", images.card),
        trained_for=_trained_for(settings, images.card),
        watch=watch,
    )
    if processes.is_main_process:
        with writing(out / "recipe.yaml"):
            (out / "recipe.yaml").write_text(recipe_text(settings), "utf-8")
    trainer.run(images.batches)
    return out / f"{kind}.safetensors"


def _open_folder(out: Path) -> None:
    """Make the folder of a run and try to write there, before anything takes time; raises CheckpointError."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass


def _trained_for(settings: Recipe, card: Mapping[str, Any]) -> dict[str, Any]:
    """What cannot change in the course of a run, by the names of the recipe; partners by their identities."""
    sections = ("chain", "score") if settings.objective == "energy-score" else ()
    partners = {f"partners.{name}": value for name, value in card.get("partners", {}).items() if "sha256" in name}
    return {
        "objective": settings.objective,
        **{f"{section}.{k}": v for section in sections for k, v in asdict(getattr(settings, section)).items()},
        "data.task": settings.data.task,
        "network.init": settings.network.init,
        "network.init_parts": settings.network.init_parts,
        "network.init_sigma": settings.network.init_sigma,
        "seed": settings.seed,
        **partners,
    }


def _network(settings: Recipe) -> nn.Module:
    config = dict(settings.network.config)
    if settings.kind == "denoiser" and settings.network.architecture == "unet-denoiser":
        config.setdefault("sigma_range", [settings.noise.low, settings.noise.high])
    network = build(settings.network.architecture, config)
    if settings.kind == "bridge" and not isinstance(network, UNetBridge):
        raise RecipeError(
            f"The recipe trains a bridge with the architecture {settings.network.architecture}: expected unet-bridge."
        )
    starts = {"": settings.network.init} if settings.network.init is not None else {}
    for name, file in {**starts, **settings.network.init_parts}.items():
        _start(network, name, file, settings)
    return network


def _start(network: nn.Module, name: str, file: str, settings: Recipe) -> None:
    """Give a network, or one of its parts by name, the weights of a file; raises RecipeError where they do not fit."""
    try:
        part = network.get_submodule(name)
    except AttributeError:
        known = ", ".join(child for child, _ in network.named_children())
        raise RecipeError(
            f"network.init_parts names '{name}', which {settings.network.architecture} has not: its parts are {known}."
        ) from None
    start, record = load_network(file)
    if isinstance(part, FastDeblur) and isinstance(start, UNetDenoiser):
        start = FastDeblur.from_denoiser(start, settings.network.init_sigma)
    own: dict[str, Any] = dict(cast(Any, getattr(part, "config", {})))
    dial = {"detail": own["detail"]} if "detail" in own else {}
    if {**cast(Any, start.config), **dial} != own:
        raise RecipeError(
            f"{file} holds a {record.architecture} with {start.config}, the recipe asks for "
            f"{f'a part {name}' if name else settings.network.architecture} with {own}: make the two agree."
        )
    # What a network that sees the dial has beyond one that does not begins without effect.
    part.load_state_dict({**part.state_dict(), **start.state_dict()})


def _export(
    settings: Recipe, path: Path, card: Mapping[str, Any], network: nn.Module, record: Mapping[str, Any]
) -> None:
    training = {**record, "patch": settings.data.patch, "learning_rate": settings.optim.learning_rate}
    for name, file in {"": settings.network.init, **settings.network.init_parts}.items():
        if file is not None:
            start = load_network(file)[1]
            key = f"{name}_started_from" if name else "started_from"
            training[key] = {"sha256": start.sha256, "training": start.card.get("training", {})}
    kind = cast(Any, settings.kind)
    if settings.objective == "energy-score":
        training |= {"objective": settings.objective, "score": asdict(settings.score)}
    info = info_of(network)
    if kind == "fusion" and settings.objective == "estimate":
        info = replace(info, sigma_range=(settings.noise.low, settings.noise.high))
    if kind == "bridge":
        info = replace(info, scale=get_task(settings.data.task).scale)
    save_network(path, network, kind=kind, card={**card, "training": training, "licence": "Apache-2.0"}, info=info)
