"""The images of a training run: what is trained on, what is held out, and the restorer's output for all of them."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dp_ir.checkpoints import NetworkRecord
from dp_ir.checkpoints.contract import NetworkInfo, Restorer, info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.checkpoints.network_file import Kind
from dp_ir.degradation import imresize
from dp_ir.degradation.chance import image_generator
from dp_ir.errors import DataError, RecipeError
from dp_ir.image.raw.burst import Burst
from dp_ir.networks.unet_bridge.model import UNetBridge
from dp_ir.restoration.trained_with import partners_of
from dp_ir.tasks import get_task
from dp_ir.training.chain_objective import ChainObjective, SampleMetrics, chain_objective
from dp_ir.training.data import Companion, Patches, StepBatches, observe, split, validation_crops
from dp_ir.training.energy_score import Features
from dp_ir.training.objectives import (
    BridgeObjective,
    DenoiserObjective,
    FusionObjective,
    Metrics,
    Objective,
    RestorerObjective,
)
from dp_ir.training.recipe import NoiseRecipe, Recipe
from dp_ir.training.store import ImageStore, StoreWriter, default_cache, named_images, open_store, training_pairs


class Images:
    """The images of one run: what is trained on, what is held out, and everything that is cut along with them.

    What a recipe can have wrong is found before the first image is decoded or restored, as far as it can be.

    Args:
        settings: the recipe.
        network: to train.
        device: of the networks.
        metrics: judge the network in validations.
        sample_metrics: judge the samples of a chain there.
        perceptual: features of a network, for a score that asks for them.

    Raises:
        RecipeError, DataError, CheckpointError: with one sentence each.
    """

    def __init__(
        self,
        settings: Recipe,
        network: nn.Module,
        device: torch.device,
        *,
        metrics: Metrics,
        sample_metrics: SampleMetrics,
        perceptual: Features | None,
    ) -> None:
        data = settings.data
        cache = Path(data.cache) if data.cache else default_cache()
        self._settings, self._task, self._device, self._metrics = settings, get_task(data.task), device, metrics
        self._companions: list[Companion] = []
        self.card: dict[str, Any] = {"data": {}}
        self.identities: dict[str, Any] = {}
        if data.patch % self._align:
            raise RecipeError(
                f"data.patch is {data.patch}, expected a multiple of {self._align}, by which observations of "
                f"{self._task.name} are smaller: use {max(data.patch // self._align, 1) * self._align}."
            )
        restorer = self._load_partners(network)
        self.objective = self._objective(network, sample_metrics, perceptual)
        clean = Path(data.clean)
        pairs = training_pairs(clean, self._task.scale) if data.observation is None else None
        files = {name: pair[0] for name, pair in pairs.items()} if pairs else named_images(clean)
        self._training, self._held_out = split(list(files), data.validation_fraction)
        self._store = open_store(clean, cache, files)
        self.identities["data.clean"] = self._store.identity
        if settings.kind != "denoiser":
            self._add_observations(pairs or {}, cache)
        self._leave_out_small(info_of(network))
        self._check_sizes()
        self.card["data"] = {
            "description": data.description,
            "images": len(self._training),
            "held_out": len(self._held_out),
            "megapixels": round(
                sum(self._store.images[i].height * self._store.images[i].width for i in self._training) / 1e6
            ),
        }
        if restorer is not None:
            loaded = LoadedNetwork("restorer", restorer, device=device, bfloat16=True)
            self._add_restored(loaded, _key(restorer), cache)
        elif settings.kind == "bridge":
            scale = self._task.scale
            self._add_restored(lambda observation: imresize(observation, scale), f"bicubic-x{scale}", cache)

    def _add_observations(self, pairs: Mapping[str, tuple[Path, Path | None]], cache: Path) -> None:
        """Stored observations: a folder of their own, or files of a data set; without any they are made on the fly."""
        data = self._settings.data
        if data.observation is not None:
            folder = Path(data.observation)
            observations = open_store(folder, cache, named_images(folder))
        else:
            files = {name: file for name, (_, file) in pairs.items() if file is not None}
            if not files:
                return
            observations = open_store(Path(data.clean), cache, files)
        _check_pairs(self._store, observations, self._task.scale)
        self._companions.append(Companion("observation", observations, self._task.scale))
        self.identities["data.observation"] = observations.identity

    def _load_partners(self, network: nn.Module) -> LoadedNetwork | None:
        """Load the frozen networks: keeps the denoiser, gives the restorer where training starts from its output."""
        partners, kind = self._settings.partners, self._settings.kind
        if kind not in ("fusion", "bridge") or (isinstance(network, UNetBridge) and network.start == "observation"):
            return None
        assert partners.restorer is not None
        restorer = load_restorer(partners.restorer, **partners.restorer_info).requires_grad_(False)
        records: dict[Kind, NetworkRecord] = {"restorer": _record(restorer)}
        found = (restorer.info.scale or self._task.scale, restorer.info.channels)  # None: it is not known
        if found != (self._task.scale, self._task.channels):
            raise RecipeError(
                f"The restorer {partners.restorer} enlarges {found[0]} times and takes {found[1]} channels, but the "
                f"task {self._task.name} needs {self._task.scale} times and {self._task.channels}: name a restorer of "
                "that task, or another task (data.task)."
            )
        if kind == "fusion":
            assert partners.denoiser is not None
            denoiser = load_denoiser(partners.denoiser, **partners.denoiser_info).requires_grad_(False)
            records["denoiser"] = _record(denoiser)
            low = self._settings.precision == "bfloat16"
            self._denoiser = LoadedNetwork("denoiser", denoiser, device=self._device, bfloat16=low)
        self.card["partners"] = partners_of(records)
        for part, record in records.items():
            self.identities |= {f"partners.{part}_sha256": record.sha256, f"partners.{part}_info": record.info}
        return restorer

    def _objective(self, network: nn.Module, sample_metrics: SampleMetrics, perceptual: Features | None) -> Objective:
        """What this kind of network is trained for."""
        settings = self._settings
        if settings.kind == "denoiser":
            return DenoiserObjective(getattr(network, "sigma_data", DenoiserObjective.sigma_data))
        if settings.kind == "restorer":
            return RestorerObjective()
        if isinstance(network, UNetBridge):
            return BridgeObjective(network.noise, network.spread, settings.bridge.velocity)
        if not self._chained:
            _check_noise(settings.noise, self._denoiser)
            return FusionObjective(self._denoiser, getattr(network, "spread", FusionObjective.spread))
        objective = chain_objective(settings.chain, settings.score, network, self._denoiser, sample_metrics, perceptual)
        self.card["chain"] = {"schedule": objective.schedule.to_config(), **asdict(settings.chain)}
        return objective

    @property
    def _chained(self) -> bool:
        return self._settings.objective == "energy-score"

    def _leave_out_small(self, info: NetworkInfo) -> None:
        """Set images aside that hold no patch, or no crop for validation; raises DataError, RecipeError."""
        data, scale = self._settings.data, self._task.scale if self._settings.kind == "restorer" else 1
        border = self._task.border if self._on_the_fly else 0
        for name, side in (("patch", data.patch), ("validation_crop", data.validation_crop)):
            if side < scale * info.minimum_size:
                raise RecipeError(
                    f"data.{name} is {side}; the network needs at least {scale * info.minimum_size} pixels."
                )
        trained, self._training = self._training, self._patches().numbers
        multiple = math.lcm(self._align, scale * info.multiple_of)
        least = min(data.validation_crop, data.patch)
        # Of multiples of what the network can take: up to the size that is asked for, and not less than a patch.
        sides = range(-(-least // multiple) * multiple, data.validation_crop + 1, multiple)
        self._crops, small = validation_crops(
            self._store, self._held_out, count=data.validation_images, sides=sides, border=border, align=self._align
        )
        least = sides.start + 2 * border
        if not self._crops:
            raise DataError(
                f"None of the {len(self._held_out)} images that are held out for validation gives a crop of {least} to "
                f"{data.validation_crop + 2 * border} pixels (data.validation_crop and data.patch, multiples of "
                f"{multiple}, with a border of {border}): give larger images, or change these sizes."
            )
        self._held_out = [number for number in self._held_out if number not in set(small)]
        for what, few, all_of, size in (
            ("to train on", len(trained) - len(self._training), len(trained), data.patch + self._align + 2 * border),
            ("held out for validation", len(small), len(self._held_out) + len(small), least),
        ):
            if few:
                warnings.warn(
                    f"{few} of {all_of} images {what} are smaller than {size} pixels and are left out.", stacklevel=2
                )

    def _check_sizes(self) -> None:
        """Try patches and validation crops of their sizes on whatever will look at them."""
        data = self._settings.data
        self._try(f"data.patch is {data.patch}", data.patch, {})
        border = self._task.border if self._on_the_fly else 0
        side = min(side for *_, side in self._crops) - 2 * border
        self._try(f"data.validation_crop is {data.validation_crop} and gives crops of {side}", side, self._metrics)

    def _try(self, found: str, side: int, metrics: Metrics) -> None:
        black = torch.zeros(1, 3, side, side)
        try:
            if isinstance(self.objective, ChainObjective):
                self.objective.try_features(black)
            for metric in metrics.values():
                metric(black, black)
        except DataError as error:
            raise RecipeError(f"{found} pixels, which is too small: {error}") from error

    def batches(self, first: int, process: int, processes: int) -> Iterable[Mapping[str, Tensor]]:
        """Batches of the steps from `first` on, for one of several processes."""
        optim = self._settings.optim
        sampler = StepBatches(first, optim.steps, optim.batch, process, processes)
        pinned, workers = self._device.type == "cuda", self._settings.data.workers
        return DataLoader(self._patches(), batch_sampler=sampler, num_workers=workers, pin_memory=pinned)

    def _patches(self) -> Patches:
        settings = self._settings
        return Patches(
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

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures of a network on the held-out images."""
        crops = []
        for number, top, left, side in self._crops:
            crop = {"clean": torch.from_numpy(self._store.crop(number, top, left, side, side))}
            for companion in self._companions:
                k = companion.scale
                cut = companion.store.crop(number, top // k, left // k, side // k, side // k)
                crop[companion.name] = torch.from_numpy(cut)
            if self._on_the_fly:
                crop |= observe(self._task, crop["clean"], self._generator(number))
            crops.append({name: value[None].to(self._device) for name, value in crop.items()})
        return self.objective.validate(network, crops, self._metrics)

    @property
    def _align(self) -> int:
        return 1 if self._settings.kind == "denoiser" else self._task.scale

    @property
    def _on_the_fly(self) -> bool:
        return self._settings.kind == "restorer" and not self._companions

    def _generator(self, number: int) -> torch.Generator:
        name = Path(self._store.images[number].name)
        return image_generator(name.with_suffix("").as_posix(), self._settings.seed)

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


def _record(network: LoadedNetwork) -> NetworkRecord:
    assert network.record is not None  # everything a recipe can name comes from a file
    return network.record


def _key(restorer: LoadedNetwork) -> str:
    """What decides a restorer's output: its identity, and what is stated of it."""
    record = _record(restorer)
    return hashlib.sha256(json.dumps([record.sha256, record.info], sort_keys=True).encode()).hexdigest()[:16]


def _check_noise(noise: NoiseRecipe, denoiser: LoadedNetwork) -> None:
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
