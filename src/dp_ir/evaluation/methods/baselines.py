"""Other methods with the same frozen denoiser, so that methods are compared and not training sets.

- `sdedit`: the restorer's answer, diffused to tau, then denoised step by step, with nothing to hold it to the
  observation (Meng et al., 2022).
- `ccdf`: the enlarged observation, diffused to tau; after every denoising the estimate is moved to the nearest image
  that has the observation (Chung et al., 2022).
- `diffpir` and `ddrm`: plug-and-play methods through deepinv, see `deepinv_samplers`.

Only SDEdit uses a restorer; the others know instead that the observation is the bicubic reduction of an image, rounded
to 8 bits. Strengths and starts are by default those that gave the lowest LPIPS on the held-out photographs,
see docs/laboratory.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.degradation.bicubic import imresize
from dp_ir.diffusion.counting import CallCounter
from dp_ir.diffusion.noise import generators, randn
from dp_ir.diffusion.samplers import ddim
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import DataError, SigmaRangeError
from dp_ir.evaluation.methods.method import Method, Observation, Output, identity_text, network_identity
from dp_ir.evaluation.methods.method_settings import read_settings, whole_number
from dp_ir.evaluation.methods.reduction import ROUNDING_STD, Reduction
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS, Restoration
from dp_ir.runtime.precision import pick_device, uses_bfloat16

_SCHEDULE = NoiseSchedule.from_config(DEFAULT_SETTINGS.schedule)


@dataclass(frozen=True, eq=False)
class Baseline(ABC):
    """What these methods share; the fields of a subclass are its settings.

    Args:
        name: in tables.
        parts: its networks by role, on the device where they are to run.
    """

    name: str
    parts: Mapping[str, LoadedNetwork]
    kind: ClassVar[str] = ""
    trained: ClassVar[tuple[str, ...]] = ()
    draws: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for key, value in self.settings.items():
            if key in _SHARES and not 0 <= value <= 1:
                raise DataError(f"{key} of {self.name} is {value:g}, but it must lie between 0 and 1.")
            if key in _ABOVE_ZERO and not value > 0:
                raise DataError(f"{key} of {self.name} is {value:g}, but it must be above 0.")

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the subclass."""
        shared = {item.name for item in fields(Baseline)}
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in shared}

    @property
    def identity(self) -> str:
        """Settings and networks."""
        networks = {
            role: {
                "network": network_identity(part.module, part.record),
                "info": asdict(part.info),
                "bfloat16": part.autocast,
            }
            for role, part in self.parts.items()
        }
        return identity_text(self.kind, settings=self.settings, networks=networks)

    @property
    def networks(self) -> Mapping[str, Any]:
        """By role."""
        return self.parts

    @property
    def levels(self) -> tuple[float, float]:
        """Lowest and highest noise level that the denoiser knows, in [0, 1] units."""
        return self.parts["denoiser"].info.sigma_range or (0.0, float("inf"))

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation (1, 3, h, w).

        Raises:
            DataError: the observation is no image.
            DPIRError: the settings do not fit the denoiser.
        """
        counter = CallCounter()
        counted = {
            role: LoadedNetwork(
                part.kind, counter.wrap(role, part.module), part.info, device=part.device, bfloat16=part.autocast
            )
            for role, part in self.parts.items()
        }
        with torch.inference_mode():
            image = self._restore(observation.image.to(counted["denoiser"].device), counted, seed)
        return Output(image.clamp(0.0, 1.0).cpu().clone(), counter.calls)

    @abstractmethod
    def _restore(self, observation: Tensor, parts: Mapping[str, LoadedNetwork], seed: int) -> Tensor:
        """One image (1, 3, H, W), not clipped."""


@dataclass(frozen=True, eq=False)
class SDEdit(Baseline):
    """The denoiser alone, from the restorer's answer.

    Args:
        tau: step of the cosine schedule where it starts, by eq. 8 as DP-IR does.
        steps: calls of the denoiser.
        eta: share of fresh noise in each step; 1 is ancestral sampling.
        sigma_min: last noise level, in [0, 1] units.
    """

    tau: float = 100.0
    steps: int = 20
    eta: float = 0.0
    sigma_min: float = 0.01
    kind: ClassVar[str] = "sdedit"

    @property
    def protocol(self) -> str:
        """How it was run, for notes."""
        return (
            f"{self.name}: SDEdit, denoiser alone from the restorer's output at tau = {self.tau:g} "
            f"(sigma {float(_SCHEDULE.sigma(self.tau)):.3f}), {self.steps} DDIM steps with eta = {self.eta:g}"
        )

    def _restore(self, observation: Tensor, parts: Mapping[str, LoadedNetwork], seed: int) -> Tensor:
        restoration = Restoration.from_parts(
            restorer=parts["restorer"],
            denoiser=parts["denoiser"],
            fusion=_denoised_alone,
            device=parts["denoiser"].device,
            precision="bfloat16" if parts["denoiser"].autocast else "float32",
            tau=self.tau,
            steps=self.steps,
            sampler="ddim",
            eta=self.eta,
            sigma_min=self.sigma_min,
        )
        return restoration(observation, seed=seed).image


@dataclass(frozen=True, eq=False)
class CCDF(Baseline):
    """Come-Closer-Diffuse-Faster: from the enlarged observation, made consistent after every denoising.

    Args:
        tau: step of the cosine schedule where it starts.
        steps: calls of the denoiser.
        eta: share of fresh noise in each step; 1 is ancestral sampling, as published.
        sigma_min: last noise level, in [0, 1] units.
        scale: side of the output / side of the observation.
    """

    tau: float = 600.0
    steps: int = 20
    eta: float = 1.0
    sigma_min: float = 0.01
    scale: int = 4
    kind: ClassVar[str] = "ccdf"

    @property
    def protocol(self) -> str:
        """How it was run, for notes."""
        return (
            f"{self.name}: CCDF, denoiser alone from the bicubically enlarged observation at tau = {self.tau:g} "
            f"(sigma {float(_SCHEDULE.sigma(self.tau)):.3f}), {self.steps} DDIM steps with eta = {self.eta:g}, each "
            "estimate moved to the nearest image whose bicubic reduction is the observation"
        )

    def _restore(self, observation: Tensor, parts: Mapping[str, LoadedNetwork], seed: int) -> Tensor:
        denoiser, reduction = parts["denoiser"], Reduction.of(observation, self.scale)
        sigmas = _SCHEDULE.sigma_grid(self.tau, self.steps, sigma_min=self.sigma_min)
        _check_levels(self.name, float(sigmas[-2]), float(sigmas[0]), self.levels)
        own = generators([seed])
        enlarged = imresize(observation, self.scale)
        noisy = enlarged + float(sigmas[0]) * randn(enlarged.shape, own, enlarged.device)

        def estimate(noisy: Tensor, sigma: Tensor) -> Tensor:
            return reduction.consistent(denoiser(noisy, sigma), observation)

        return ddim(estimate, noisy, sigmas, generators=own, eta=self.eta)


@dataclass(frozen=True, eq=False)
class DiffPIR(Baseline):
    """DiffPIR of deepinv with our denoiser, over the noise levels that it knows.

    Args:
        steps: calls of the denoiser; published with 100 and 20.
        data_weight: lambda; the observation counts the less, the larger it is.
        zeta: share of fresh noise in each step.
        noise_std: of the observation, in [0, 1] units; by default that of rounding to 8 bits.
        sigma_max: highest noise level; by default the highest that the denoiser knows, but at most 1.
        scale: side of the output / side of the observation.
    """

    steps: int = 100
    data_weight: float = 7.0
    zeta: float = 0.3
    noise_std: float = ROUNDING_STD
    sigma_max: float = 1.0
    scale: int = 4
    kind: ClassVar[str] = "diffpir"

    @property
    def protocol(self) -> str:
        """How it was run, for notes."""
        low, high = _within(self.levels, self.sigma_max)
        return (
            f"{self.name}: DiffPIR of deepinv, {self.steps} calls over the noise levels from {high:.3g} to {low:.3g} "
            f"that the denoiser knows, started there from the diffused pseudo-inverse (published: from pure noise); "
            f"lambda = {self.data_weight:g}, zeta = {self.zeta:g}, sigma_n = {self.noise_std:.3g}; exact bicubic "
            "reduction"
        )

    def _restore(self, observation: Tensor, parts: Mapping[str, LoadedNetwork], seed: int) -> Tensor:
        from dp_ir.evaluation.methods.deepinv_samplers import diffpir

        return diffpir(
            parts["denoiser"],
            observation,
            Reduction.of(observation, self.scale),
            steps=self.steps,
            levels=_within(self.levels, self.sigma_max),
            noise_std=self.noise_std,
            data_weight=self.data_weight,
            zeta=self.zeta,
            seed=seed,
        )


@dataclass(frozen=True, eq=False)
class DDRM(Baseline):
    """DDRM of deepinv with our denoiser, over the noise levels that it knows.

    Args:
        steps: calls of the denoiser; published with 20.
        eta: share of fresh noise where nothing is observed; published with 0.85.
        eta_b: weight of the observation where it is less noisy than the state.
        noise_std: of the observation, in [0, 1] units; by default that of rounding to 8 bits.
        sigma_max: highest noise level; by default the highest that the denoiser knows, but at most 1.
        spacing: of the levels: "uniform-t", over the linear schedule of Ho et al. (2020) as published, or "log-sigma"
            down to sigma_min.
        sigma_min: last noise level with "log-sigma".
        scale: side of the output / side of the observation.
    """

    steps: int = 20
    eta: float = 0.5
    eta_b: float = 1.0
    noise_std: float = ROUNDING_STD
    sigma_max: float = 1.0
    spacing: str = "log-sigma"
    sigma_min: float = 0.01
    scale: int = 4
    kind: ClassVar[str] = "ddrm"

    @property
    def protocol(self) -> str:
        """How it was run, for notes."""
        sigmas = self._sigmas()
        return (
            f"{self.name}: DDRM of deepinv (its noise at the published strength), {self.steps} calls over the noise "
            f"levels from {sigmas[0]:.3g} to {sigmas[-1]:.3g} ({self.spacing}) that the denoiser knows (published: "
            f"from pure noise); eta = {self.eta:g}, eta_b = {self.eta_b:g}, sigma_y = {self.noise_std:.3g}; exact "
            "singular values of the bicubic reduction"
        )

    def _sigmas(self) -> list[float]:
        process = NoiseSchedule.linear()
        low, high = _within(self.levels, self.sigma_max)
        spacing: Any = self.spacing  # the schedule refuses what it does not know
        sigmas = process.sigma_grid(float(process.step(high)), self.steps, spacing, sigma_min=max(low, self.sigma_min))
        _check_levels(self.name, float(sigmas[-2]), float(sigmas[0]), self.levels)
        return [float(sigma) for sigma in sigmas[:-1]]

    def _restore(self, observation: Tensor, parts: Mapping[str, LoadedNetwork], seed: int) -> Tensor:
        from dp_ir.evaluation.methods.deepinv_samplers import ddrm

        return ddrm(
            parts["denoiser"],
            observation,
            Reduction.of(observation, self.scale),
            sigmas=self._sigmas(),
            noise_std=self.noise_std,
            eta=self.eta,
            eta_b=self.eta_b,
            seed=seed,
        )


def sdedit_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `sdedit`: SOURCE is a bundle; settings are those of `SDEdit`, restorer=, denoiser= and precision=."""
    return _make(SDEdit, name, source, settings, device, ("restorer", "denoiser"))


def ccdf_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `ccdf`: SOURCE is a bundle or a denoiser; settings are those of `CCDF` and precision=."""
    return _make(CCDF, name, source, settings, device, ("denoiser",))


def diffpir_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `diffpir`: SOURCE is a bundle or a denoiser; settings are those of `DiffPIR` and precision=."""
    import_module("dp_ir.evaluation.methods.deepinv_samplers")  # that deepinv is missing is told before the first image
    return _make(DiffPIR, name, source, settings, device, ("denoiser",))


def ddrm_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `ddrm`: SOURCE is a bundle or a denoiser; settings are those of `DDRM` and precision=."""
    import_module("dp_ir.evaluation.methods.deepinv_samplers")  # that deepinv is missing is told before the first image
    return _make(DDRM, name, source, settings, device, ("denoiser",))


def _make(
    cls: type[Baseline], name: str, source: str, settings: Mapping[str, str], device: str, roles: tuple[str, ...]
) -> Method:
    shared = {item.name for item in fields(Baseline)}
    own = {item.name: _READERS[str(item.type)] for item in fields(cls) if item.name not in shared}
    replaced = dict.fromkeys(roles, str) if len(roles) > 1 else {}
    values = read_settings(cls.kind, settings, {**own, **replaced, "precision": str})
    where = pick_device(device)
    bfloat16 = uses_bfloat16(values.pop("precision", "auto"), where)
    loaders = {"restorer": load_restorer, "denoiser": load_denoiser}
    networks = {role: loaders[role](values.pop(role, source)) for role in roles}
    parts = {
        role: LoadedNetwork(network.kind, network, network.info, device=where, bfloat16=bfloat16)
        for role, network in networks.items()
    }
    return cls(name, parts, **values)


def _number(text: str) -> float:
    """A finite number."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


_number.__name__ = "a finite number"
_READERS: dict[str, Callable[[str], Any]] = {"float": _number, "int": whole_number, "str": str}  # by type of a field
_SHARES = {"eta", "eta_b", "zeta"}
_ABOVE_ZERO = {"noise_std", "data_weight", "sigma_max", "sigma_min"}


def _denoised_alone(restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
    """The fusion of a method that has none."""
    return denoised


def _within(known: tuple[float, float], highest: float) -> tuple[float, float]:
    return known[0], min(known[1], highest)


def _check_levels(name: str, low: float, high: float, known: tuple[float, float]) -> None:
    if high > known[1] * (1 + 1e-6) or low < known[0] * (1 - 1e-6):
        raise SigmaRangeError(
            f"{name} runs over the noise levels from {high:.4g} to {low:.4g}, but the denoiser was trained for levels "
            f"from {known[0]:.4g} to {known[1]:.4g}: choose a smaller tau, or a larger sigma_min."
        )
