"""From a recipe to a trained network: joins images, objective and trainer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dp_ir.checkpoints import NetworkRecord, build, load_network, save_network
from dp_ir.checkpoints.contract import Restorer, info_of
from dp_ir.checkpoints.guard import GuardedNetwork
from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.degradation import imresize
from dp_ir.diffusion.samplers import SAMPLERS
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import DataError, MissingExtraError, RecipeError
from dp_ir.image.burst import Burst
from dp_ir.networks.unet_bridge import UNetBridge
from dp_ir.restoration.partners import partners_of
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS
from dp_ir.tasks import get_task
from dp_ir.tasks.task import image_generator
from dp_ir.training.chain_objective import ChainObjective, SampleMetrics
from dp_ir.training.data import Companion, Patches, StepBatches, observe, split, validation_crops
from dp_ir.training.energy_score import Features, Term, band_term
from dp_ir.training.objectives import (
    BridgeObjective,
    DenoiserObjective,
    FusionObjective,
    Metrics,
    Objective,
    RestorerObjective,
)
from dp_ir.training.recipe import NoiseRecipe, Recipe, ScoreRecipe, load_recipe, recipe_text
from dp_ir.training.store import ImageStore, StoreWriter, default_cache, open_store, training_pairs
from dp_ir.training.trainer import Progress, Trainer, without_accelerator


def train(
    kind: str,
    recipe: str,
    overrides: Sequence[str],
    out: Path,
    *,
    metrics: Metrics | None = None,
    sample_metrics: SampleMetrics | None = None,
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

    torch.manual_seed(settings.seed)
    network = _network(settings)
    with processes.main_process_first():
        images = _Images(settings, network, processes.device, sample_metrics or {}, perceptual)
    trainer = Trainer(
        network,
        settings,
        out,
        loss=images.objective(network).loss,
        validate=partial(images.validate, metrics=metrics or {}, device=processes.device),
        export=partial(_export, settings, out / f"{kind}.safetensors", images.card),
        watch=watch,
    )
    if processes.is_main_process:
        (out / "recipe.yaml").write_text(recipe_text(settings), "utf-8")
    trainer.run(images.batches)
    return out / f"{kind}.safetensors"


def _network(settings: Recipe) -> nn.Module:
    config = dict(settings.network.config)
    if settings.kind == "denoiser" and settings.network.architecture == "unet-denoiser":
        config.setdefault("sigma_range", [settings.noise.low, settings.noise.high])
    network = build(settings.network.architecture, config)
    if settings.kind == "bridge" and not isinstance(network, UNetBridge):
        raise RecipeError(
            f"The recipe trains a bridge with the architecture {settings.network.architecture}: expected unet-bridge."
        )
    if settings.network.init is not None:
        start, record = load_network(settings.network.init)
        own: dict[str, Any] = dict(cast(Any, network.config))
        dial = {"detail": own["detail"]} if "detail" in own else {}
        began = {**cast(Any, start.config), **dial}
        if began != own:
            raise RecipeError(
                f"{settings.network.init} holds a {record.architecture} with {start.config}, the recipe asks for "
                f"{settings.network.architecture} with {network.config}: make the two agree."
            )
        # What a network that sees the dial has beyond one that does not begins without effect.
        network.load_state_dict({**network.state_dict(), **start.state_dict()})
    return network


def _export(
    settings: Recipe, path: Path, card: Mapping[str, Any], network: nn.Module, record: Mapping[str, Any]
) -> None:
    training = {**record, "patch": settings.data.patch, "learning_rate": settings.optim.learning_rate}
    if settings.network.init is not None:
        start = load_network(settings.network.init)[1]
        training["started_from"] = {"sha256": start.sha256, "training": start.card.get("training", {})}
    kind = cast(Any, settings.kind)
    info = info_of(network)
    if kind == "fusion" and settings.objective == "estimate":
        info = replace(info, sigma_range=(settings.noise.low, settings.noise.high))
    if kind == "bridge":
        info = replace(info, scale=get_task(settings.data.task).scale)
    save_network(path, network, kind=kind, card={**card, "training": training, "licence": "Apache-2.0"}, info=info)


class _Images:
    """The images of one run: what is trained on, what is held out, and everything that is cut along with them."""

    def __init__(
        self,
        settings: Recipe,
        network: nn.Module,
        device: torch.device,
        sample_metrics: SampleMetrics,
        perceptual: Features | None,
    ) -> None:
        data = settings.data
        cache = Path(data.cache) if data.cache else default_cache()
        self._settings, self._task, self._device = settings, get_task(data.task), device
        self._sample_metrics, self._perceptual = sample_metrics, perceptual
        clean = Path(data.clean)
        pairs = training_pairs(clean, self._task.scale) if data.observation is None else None
        self._store = open_store(clean, cache, {name: pair[0] for name, pair in pairs.items()} if pairs else None)
        self._training, self._held_out = split(self._store, data.validation_fraction)
        self._companions: list[Companion] = []
        self._denoiser: nn.Module | None = None
        self.card: dict[str, Any] = {
            "data": {
                "description": data.description,
                "images": len(self._training),
                "held_out": len(self._held_out),
                "megapixels": round(
                    sum(self._store.images[i].height * self._store.images[i].width for i in self._training) / 1e6
                ),
            }
        }
        if settings.kind != "denoiser":
            self._add_observations(pairs or {}, cache)
        if settings.kind == "fusion":
            self._add_partners(cache)
        if settings.kind == "bridge":
            self._add_start(network, cache)

    def _add_observations(self, pairs: Mapping[str, tuple[Path, Path | None]], cache: Path) -> None:
        """Stored observations: a folder of their own, or files of a data set; without any they are made on the fly."""
        data = self._settings.data
        if data.observation is not None:
            observations = open_store(Path(data.observation), cache)
        else:
            files = {name: file for name, (_, file) in pairs.items() if file is not None}
            if not files:
                return
            observations = open_store(Path(data.clean), cache, files)
        _check_pairs(self._store, observations, self._task.scale)
        self._companions.append(Companion("observation", observations, self._task.scale))

    def objective(self, network: nn.Module) -> Objective:
        """What this kind of network is trained for."""
        if self._settings.kind == "denoiser":
            self._objective: Objective = DenoiserObjective(getattr(network, "sigma_data", DenoiserObjective.sigma_data))
        elif self._settings.kind == "restorer":
            self._objective = RestorerObjective()
        elif isinstance(network, UNetBridge):
            self._objective = BridgeObjective(network.noise, network.spread, self._settings.bridge.velocity)
        elif self._chained:
            self._objective = self._chain_objective(network)
        else:
            assert self._denoiser is not None
            self._objective = FusionObjective(self._denoiser, getattr(network, "spread", FusionObjective.spread))
        return self._objective

    @property
    def _chained(self) -> bool:
        return self._settings.objective == "energy-score"

    def _chain_objective(self, network: nn.Module) -> ChainObjective:
        """The energy score of the samples of the recipe's chain, which the card names."""
        assert self._denoiser is not None
        chain, score = self._settings.chain, self._settings.score
        if chain.sampler not in SAMPLERS:
            raise RecipeError(f"chain.sampler is '{chain.sampler}'; it must be one of {', '.join(SAMPLERS)}.")
        schedule = NoiseSchedule.from_config(DEFAULT_SETTINGS.schedule)
        self.card["chain"] = {"schedule": schedule.to_config(), **asdict(chain)}
        return ChainObjective(
            self._denoiser,
            schedule,
            SAMPLERS[chain.sampler],
            chain.tau,
            schedule.sigma_grid(chain.tau, chain.steps, cast(Any, chain.spacing), sigma_min=chain.sigma_min),
            chain.eta,
            _terms(score, self._perceptual),
            score.exponent,
            getattr(network, "detail", None),
            score.spread_weight,
            self._sample_metrics,
        )

    def batches(self, first: int, process: int, processes: int) -> Iterable[Mapping[str, Tensor]]:
        """Batches of the steps from `first` on, for one of several processes."""
        settings = self._settings
        patches = Patches(
            self._store,
            self._training,
            patch=settings.data.patch,
            align=self._align,
            companions=self._companions,
            task=self._task if self._on_the_fly else None,
            noise=settings.noise if settings.kind in ("denoiser", "fusion") and not self._chained else None,
            bridge=settings.kind == "bridge",
            draws=settings.score.draws if self._chained else 0,
            seed=settings.seed,
        )
        sampler = StepBatches(first, settings.optim.steps, settings.optim.batch, process, processes)
        pinned = self._device.type == "cuda"
        return DataLoader(patches, batch_sampler=sampler, num_workers=settings.data.workers, pin_memory=pinned)

    def validate(self, network: nn.Module, *, metrics: Metrics, device: torch.device) -> dict[str, float]:
        """Figures of a network on the held-out images."""
        data = self._settings.data
        crops = []
        side = data.validation_crop + (2 * self._task.border if self._on_the_fly else 0)
        places = validation_crops(
            self._store, self._held_out, count=data.validation_images, side=side, align=self._align
        )
        for number, top, left, side in places:
            crop = {"clean": torch.from_numpy(self._store.crop(number, top, left, side, side))}
            for companion in self._companions:
                k = companion.scale
                cut = companion.store.crop(number, top // k, left // k, side // k, side // k)
                crop[companion.name] = torch.from_numpy(cut)
            if self._on_the_fly:
                crop |= observe(self._task, crop["clean"], self._generator(number))
            crops.append({name: value[None].to(device) for name, value in crop.items()})
        return self._objective.validate(network, crops, metrics)

    @property
    def _align(self) -> int:
        return 1 if self._settings.kind == "denoiser" else self._task.scale

    @property
    def _on_the_fly(self) -> bool:
        return self._settings.kind == "restorer" and not self._companions

    def _generator(self, number: int) -> torch.Generator:
        name = Path(self._store.images[number].name)
        return image_generator(name.with_suffix("").as_posix(), self._settings.seed)

    def _add_partners(self, cache: Path) -> None:
        partners = self._settings.partners
        assert partners.restorer is not None
        assert partners.denoiser is not None
        restorer = load_restorer(partners.restorer, **partners.restorer_info).requires_grad_(False)
        denoiser = load_denoiser(partners.denoiser, **partners.denoiser_info).requires_grad_(False)
        if not self._chained:
            _check_noise(self._settings.noise, denoiser)
        low = self._settings.precision == "bfloat16"
        self._denoiser = GuardedNetwork("denoiser", denoiser, device=self._device, bfloat16=low)
        self._restore_all(restorer, cache)
        self.card["partners"] = partners_of({"restorer": _record(restorer), "denoiser": _record(denoiser)})

    def _add_start(self, network: nn.Module, cache: Path) -> None:
        """The start of a bridge, for every image."""
        assert isinstance(network, UNetBridge)
        if network.start == "observation":
            scale = self._task.scale
            self._add_restored(lambda observation: imresize(observation, scale), f"bicubic-x{scale}", cache)
            return
        assert self._settings.partners.restorer is not None
        restorer = load_restorer(self._settings.partners.restorer, **self._settings.partners.restorer_info)
        self._restore_all(restorer.requires_grad_(False), cache)
        self.card["partners"] = partners_of({"restorer": _record(restorer)})

    def _restore_all(self, restorer: GuardedNetwork, cache: Path) -> None:
        guarded = GuardedNetwork("restorer", restorer, device=self._device, bfloat16=True)
        self._add_restored(guarded, _key(restorer), cache)

    def _add_restored(self, restorer: Restorer, key: str, cache: Path) -> None:
        """The restorer's output for every image, computed once: it does not depend on the diffusion step.

        `key` names the restorer and everything that decides its output.
        """
        observations = self._companions[0].store if self._companions else None
        made = f"{self._task.name}-{self._settings.seed}-{self._store.key}"
        path = cache / f"restored-{key}-{observations.key if observations is not None else made}.raw"
        if not path.with_suffix(".json").is_file():
            with StoreWriter(path, "float16") as writer, torch.inference_mode():
                for number, image in enumerate(self._store.images):
                    observation = self._observation(observations, number)
                    restored = _restore(restorer, observation, self._device)[..., : image.height, : image.width]
                    # Observations leave out the last rows and columns where the image is no multiple of the scale.
                    missing = (0, image.width - restored.shape[3], 0, image.height - restored.shape[2])
                    restored = torch.nn.functional.pad(restored, missing, mode="replicate")
                    writer.add(image.name, restored[0].permute(1, 2, 0).cpu().numpy())
        self._companions = [Companion("restored", ImageStore(path), 1)]

    def _observation(self, observations: ImageStore | None, number: int) -> Tensor | Burst:
        """What was observed of a whole image: stored, or made anew, the same each time."""
        if observations is not None:
            return _whole(observations, number)
        return self._task.degrade(self._task.crop(_whole(self._store, number)), generator=self._generator(number))


def _whole(store: ImageStore, number: int) -> Tensor:
    place = store.images[number]
    return torch.from_numpy(store.crop(number, 0, 0, place.height, place.width))[None]


def _restore(restorer: Restorer, observation: Tensor | Burst, device: torch.device) -> Tensor:
    """The restorer's output in the space that diffusion runs in."""
    if isinstance(observation, Burst):
        return observation.camera.render(restorer(observation.frames[None].to(device)))
    return restorer(observation.to(device))


def _terms(score: ScoreRecipe, perceptual: Features | None) -> list[Term]:
    """The features of a score."""
    terms = [band_term(score.bands)] if score.bands else []
    if (score.lpips or score.lpips_half) and perceptual is None:
        raise RecipeError(
            "The recipe's score uses the features of LPIPS, whose weights are not given: name the file of SqueezeNet "
            "1.1 (--lpips FILE), or leave them out (score.lpips=0 score.lpips_half=0)."
        )
    if score.lpips and perceptual is not None:
        terms.append(Term(perceptual, score.lpips))
    if score.lpips_half and perceptual is not None:
        features = perceptual
        terms.append(Term(lambda image: features(F.avg_pool2d(image, 2)), score.lpips_half))
    return terms


def _record(network: GuardedNetwork) -> NetworkRecord:
    assert network.record is not None  # everything a recipe can name comes from a file
    return network.record


def _key(restorer: GuardedNetwork) -> str:
    """What decides a restorer's output: its identity, and what is stated of it."""
    record = _record(restorer)
    return hashlib.sha256(json.dumps([record.sha256, record.info], sort_keys=True).encode()).hexdigest()[:16]


def _check_noise(noise: NoiseRecipe, denoiser: GuardedNetwork) -> None:
    low, high = denoiser.info.sigma_range or (0.0, float("inf"))
    if noise.low < low * (1 - 1e-6) or noise.high > high * (1 + 1e-6):
        raise RecipeError(
            f"The noise levels of the recipe go from {noise.low:.4g} to {noise.high:.4g}, those of the denoiser from "
            f"{low:.4g} to {high:.4g}: set noise.low={max(noise.low, low):.4g} noise.high={min(noise.high, high):.4g}."
        )


def _check_pairs(clean: ImageStore, observations: ImageStore, scale: int) -> None:
    names = [Path(image.name).with_suffix("") for image in clean.images]
    others = [Path(image.name).with_suffix("") for image in observations.images]
    unpaired = sorted(str(name) for name in set(names) ^ set(others))
    if unpaired or names != others:
        what = ", ".join(unpaired[:3]) or "names that differ only in their suffix"
        raise DataError(
            f"Clean images and observations do not pair up by name ({what}): both folders need the same names."
        )
    for image, other in zip(clean.images, observations.images, strict=True):
        if (image.height // scale, image.width // scale) != (other.height, other.width):
            raise DataError(
                f"{image.name} is {image.width}x{image.height} and its observation {other.width}x{other.height}; "
                f"expected {image.width // scale}x{image.height // scale} at scale {scale}."
            )
