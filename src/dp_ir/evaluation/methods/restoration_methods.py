"""Restorations of this package as methods: a bundle, a restorer alone, and bicubic enlargement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_restorer
from dp_ir.checkpoints.overrides import parse_overrides
from dp_ir.degradation.bicubic import imresize
from dp_ir.evaluation.methods.method import Method, Observation, Output, identity_text, network_identity
from dp_ir.evaluation.methods.method_settings import number, read_settings, whole_number
from dp_ir.image.picture.picture import Picture, to_tensor
from dp_ir.image.raw.demosaicking import demosaick_bilinear
from dp_ir.restoration.pipeline import Restoration, RestorationResult
from dp_ir.restoration.replacement import LOADERS, restoration_of
from dp_ir.runtime.engines import run_by
from dp_ir.runtime.precision import Precision, pick_device, uses_bfloat16
from dp_ir.sampling_settings import SETTINGS


@dataclass(frozen=True, eq=False)
class RestorationMethod:
    """A bundle, or any other `Restoration`, run with its settings.

    Args:
        name: in tables.
        restoration: networks and settings.
        precision: what it was made with, for its identity.
    """

    name: str
    restoration: Restoration
    precision: Precision = "auto"

    @property
    def identity(self) -> str:
        """Settings, networks and precision."""
        restoration = self.restoration
        settings = {name: getattr(restoration.settings, name) for name in SETTINGS}
        return identity_text(
            "bundle",
            settings=settings,
            networks={kind: network_identity(used.module, used.record) for kind, used in self.networks.items()},
            infos={kind: asdict(used.info) for kind, used in self.networks.items()},
            bfloat16=uses_bfloat16(self.precision, restoration.device),
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """Those that are run: with tau = 0 or detail = 0 the restorer alone."""
        return {kind: self.restoration.networks[kind] for kind in self._used}

    @property
    def trained(self) -> tuple[str, ...]:
        """The fusion, or the restorer where it runs alone."""
        return ("fusion",) if self._samples else ("restorer",)

    @property
    def draws(self) -> bool:
        """Whether it draws samples: not where the restorer runs alone."""
        return self._samples

    @property
    def _used(self) -> list[Any]:
        return [kind for kind in self.restoration.networks if kind == "restorer" or self._samples]

    @property
    def _samples(self) -> bool:
        return self.restoration.chain().tau != 0

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation; raises DPIRError as `Restoration` does."""
        result = self._restored(observation, seed)
        image = to_tensor(result.image) if isinstance(result.image, Picture) else result.image
        return Output(image, {kind: count for kind, count in result.nfe.items() if count})

    def _restored(self, observation: Observation, seed: int) -> RestorationResult:
        return self.restoration(observation.input, seed=seed)


@dataclass(frozen=True, eq=False)
class RestorerMethod:
    """A restorer alone.

    Args:
        name: in tables.
        network: as `load_restorer` gives it, on the device where it is to run.
        frames: how many it is given of a burst, the first ones; None for all.
    """

    name: str
    network: LoadedNetwork
    frames: int | None = None

    @property
    def identity(self) -> str:
        """The network, what is known of it, precision, and frames."""
        return identity_text(
            "restorer",
            network=network_identity(self.network.module, self.network.record),
            info=asdict(self.network.info),
            bfloat16=self.network.autocast,
            **({} if self.frames is None else {"frames": self.frames}),
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """The restorer."""
        return {"restorer": self.network}

    @property
    def trained(self) -> tuple[str, ...]:
        """The restorer: it was trained for its task."""
        return ("restorer",)

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation; nothing is left to chance."""
        image = observation.image[:, : self.frames] if observation.image.ndim == 5 else observation.image
        with torch.inference_mode():
            restored = self.network(image.to(self.network.device))
        return Output(observation.rendered(restored.cpu().clone()), {"restorer": 1})


@dataclass(frozen=True)
class Interpolation:
    """Bicubic enlargement (Keys, a = -1/2), the floor of every super-resolution table.

    Of a burst it enlarges the first frame after bilinear demosaicking. With the scale 1 an image stays as it is.

    Args:
        name: in tables.
        scale: side of the output / side of the observation, or of the mosaic.
    """

    name: str = "bicubic"
    scale: int = 4
    networks: Mapping[str, Any] = field(default_factory=dict, init=False)
    trained: tuple[str, ...] = field(default=(), init=False)

    @property
    def identity(self) -> str:
        """The scale."""
        return identity_text("bicubic", scale=self.scale)

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Enlarge one observation (1, C, h, w) or (1, N, 4, h, w)."""
        if observation.image.ndim == 4:
            return Output(imresize(observation.image, self.scale))
        first = demosaick_bilinear(observation.image[:, 0])
        # Pixel m of a burst's first mosaic shows what lies at pixel scale * m of the target.
        enlarged = imresize(first, self.scale, offset=(1 - 1 / self.scale) / 2)
        return Output(observation.rendered(enlarged))


def bundle_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `bundle`: settings are fields of `BundleSettings`, networks, facts as restorer.scale=4, and precision."""
    stated = [f"{key}={text}" for key, text in settings.items() if key.partition(".")[0] in LOADERS and "." in key]
    plain = {key: text for key, text in settings.items() if "." not in key}
    values = read_settings("bundle", plain, {**_CHAIN, **dict.fromkeys(_NETWORKS, str), "precision": str})
    precision = values.get("precision", "auto")
    networks = {kind: values.get(kind) for kind in _NETWORKS}
    chain = {key: values.get(key) for key in _CHAIN}
    restoration = restoration_of(source, networks, stated, device=device, precision=precision, settings=chain)
    return RestorationMethod(name, restoration, precision)


def restorer_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `restorer`: settings are as of `parse_overrides`, precision, and frames of bursts."""
    stated = parse_overrides([f"{key}={text}" for key, text in settings.items() if key not in _OF_RESTORERS])
    own = {key: text for key, text in settings.items() if key in _OF_RESTORERS}
    values = read_settings("restorer", own, _OF_RESTORERS)
    precision: Any = values.get("precision", "auto")
    where = pick_device(device)
    network = run_by("torch", load_restorer(source, **stated), device=where, precision=precision)
    return RestorerMethod(name, network, values.get("frames"))


def bicubic_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `bicubic`: the source is the scale, 4 if there is none."""
    given = {**({"scale": source} if source else {}), **settings}
    return Interpolation(name, **read_settings("bicubic", given, {"scale": whole_number}))


_NETWORKS = ("restorer", "denoiser", "fusion")
_OF_RESTORERS: dict[str, Callable[[str], Any]] = {"precision": str, "frames": whole_number}
_READERS: dict[tuple[type, ...], Callable[[str], Any]] = {
    (int,): whole_number,
    (int, float): number,  # whole where it can be, as bundles have it
    (float, int): float,
    (str,): str,
}
_CHAIN = {name: _READERS[setting.types] for name, setting in SETTINGS.items() if name != "schedule"}
