"""What each kind of network is trained for: its loss, and how it is judged during training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from dp_ir.image.raw.camera import Camera

Metrics = Mapping[str, Callable[[Tensor, Tensor], Tensor]]
"""name -> function (output, target), both (B, 3, H, W) in [0, 1], giving one value per image (B,)."""

_NEGLIGIBLE = 1e-4
"""Mean squared error of a patch below which it hardly matters how much less it is: 40 dB."""


class Objective(Protocol):
    """The loss of a training step and the figures of a validation."""

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean loss of a batch from `Patches`."""

    def validate(self, model: nn.Module, crops: Sequence[Mapping[str, Tensor]], metrics: Metrics) -> dict[str, float]:
        """Figures on held-out crops, each a batch of one."""


@dataclass(frozen=True)
class DenoiserObjective:
    """Mean squared error at every noise level, weighted as EDM does so that each level counts the same.

    With prior variance sigma_data^2 the weight is 1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.
    """

    sigma_data: float = 0.25
    levels: tuple[float, ...] = (15 / 255, 25 / 255, 50 / 255, 0.5)

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over the batch of the weighted squared error."""
        clean, sigma = batch["clean"], batch["sigma"]
        denoised = model(clean + sigma[:, None, None, None] * batch["eps"], sigma)
        return _weighted_error(denoised, clean, sigma, self.sigma_data)

    def validate(self, model: nn.Module, crops: Sequence[Mapping[str, Tensor]], metrics: Metrics) -> dict[str, float]:
        """Every metric at every level, on noise that is the same each time."""
        figures: dict[str, list[Tensor]] = {}
        for level in self.levels:
            for number, crop in enumerate(crops):
                clean = crop["clean"]
                noisy, sigma = _noisy(clean, level, number)
                denoised = model(noisy, sigma).float()
                for name, metric in metrics.items():
                    figures.setdefault(f"{name}_{_level_name(level)}", []).append(metric(denoised, clean))
        return _means(figures)


class RestorerObjective:
    """Squared error, because the restorer must estimate the mean E[x0 | y], in the space that diffusion runs in.

    A patch counts by the logarithm of its mean squared error, as in its PSNR, which is to weight it by the inverse of
    the error: without that the few patches whose detail is lost for good would outweigh those that can be restored.
    Weights that the observation decides leave the mean the best estimate, and how much is lost is largely decided by
    it. What a restorer makes of a burst is linear sensor RGB; its camera renders it before it is compared.
    """

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over the batch of the logarithm of the mean squared error, which counts from 40 dB on less and less."""
        error = (_restored(model, batch) - batch["clean"]).square().mean(dim=(1, 2, 3))
        return torch.log(error + _NEGLIGIBLE).mean()

    def validate(self, model: nn.Module, crops: Sequence[Mapping[str, Tensor]], metrics: Metrics) -> dict[str, float]:
        """Every metric on every crop."""
        figures: dict[str, list[Tensor]] = {}
        for crop in crops:
            restored = _restored(model, crop)
            for name, metric in metrics.items():
                figures.setdefault(name, []).append(metric(restored, crop["clean"]))
        return _means(figures)


@dataclass(frozen=True)
class FusionObjective:
    """Mean squared error of the fused estimate, preconditioned for clean - restored of standard deviation `spread`."""

    denoiser: Callable[[Tensor, Tensor], Tensor]
    spread: float = 0.1
    levels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4, 0.8)

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over the batch of the weighted squared error; the denoiser is frozen."""
        clean, sigma = batch["clean"], batch["sigma"]
        noisy = clean + sigma[:, None, None, None] * batch["eps"]
        with torch.no_grad():
            denoised = self.denoiser(noisy, sigma).float()
        fused = model(batch["restored"], denoised, noisy, sigma)
        return _weighted_error(fused, clean, sigma, self.spread)

    def validate(self, model: nn.Module, crops: Sequence[Mapping[str, Tensor]], metrics: Metrics) -> dict[str, float]:
        """Every metric of the fused estimate, of the denoiser's and of the restorer's at every level."""
        figures: dict[str, list[Tensor]] = {}
        for number, crop in enumerate(crops):
            clean, restored = crop["clean"], crop["restored"]
            for name, metric in metrics.items():
                figures.setdefault(f"{name}_restored", []).append(metric(restored, clean))
            for level in self.levels:
                noisy, sigma = _noisy(clean, level, number)
                denoised = self.denoiser(noisy, sigma).float()
                fused = model(restored, denoised, noisy, sigma).float()
                for name, metric in metrics.items():
                    figures.setdefault(f"{name}_denoised_{_level_name(level)}", []).append(metric(denoised, clean))
                    figures.setdefault(f"{name}_fused_{_level_name(level)}", []).append(metric(fused, clean))
        return _means(figures)


@dataclass(frozen=True)
class BridgeObjective:
    """Mean squared error of E[x0 | x_t] on the bridge from the clean image to a noisy start (see `diffusion.bridge`).

    Args:
        noise: standard deviation of the white noise on the start.
        spread: standard deviation of x0 - x1, which only scales the loss.
        velocity: weight the error by 1 / t^2, which makes it that of the velocity (x1 - x0), as PMRF does; without it
            the error of the clean image counts, as for InDI.
        times: values of t that validation looks at.
    """

    noise: float
    spread: float
    velocity: bool
    times: tuple[float, ...] = (0.25, 0.5, 1.0)

    def loss(self, model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over the batch of the weighted squared error, in units of spread^2."""
        clean, t = batch["clean"], batch["t"]
        mixed = self._mixed(clean, batch["restored"], batch["eps"], t)
        error = (model(mixed, t) - clean).square().mean(dim=(1, 2, 3)) / self.spread**2
        return (error / t**2 if self.velocity else error).mean()

    def validate(self, model: nn.Module, crops: Sequence[Mapping[str, Tensor]], metrics: Metrics) -> dict[str, float]:
        """Every metric of the estimate at several times, on noise that is the same each time."""
        figures: dict[str, list[Tensor]] = {}
        for number, crop in enumerate(crops):
            clean = crop["clean"]
            eps, _ = _noisy(torch.zeros_like(clean), 1.0, number)
            for time in self.times:
                t = clean.new_full((len(clean),), time)
                estimate = model(self._mixed(clean, crop["restored"], eps, t), t).float()
                for name, metric in metrics.items():
                    figures.setdefault(f"{name}_t{time:g}", []).append(metric(estimate, clean))
        return _means(figures)

    def _mixed(self, clean: Tensor, start: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        share = t[:, None, None, None]
        return (1 - share) * clean + share * (start + self.noise * eps)


def _restored(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    observation = batch["observation"]
    if "gains" not in batch:
        return model(observation).float()
    if model.training:  # a burst may be of any length
        observation = observation[:, : int(batch["frames"][0])]
    sensor = model(observation).float()
    with torch.autocast(sensor.device.type, enabled=False):
        return Camera(batch["gains"], batch["matrix"]).render(sensor)


def _weighted_error(estimate: Tensor, clean: Tensor, sigma: Tensor, prior: float) -> Tensor:
    weight = (sigma**2 + prior**2) / (sigma * prior) ** 2
    return ((estimate - clean).square().mean(dim=(1, 2, 3)) * weight).mean()


def _noisy(clean: Tensor, level: float, seed: int) -> tuple[Tensor, Tensor]:
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean)
    return clean + level * eps, clean.new_full((clean.shape[0],), level)


def _level_name(level: float) -> str:
    return f"sigma{level:.3f}".rstrip("0")


def _means(figures: Mapping[str, Sequence[Tensor]]) -> dict[str, float]:
    return {name: torch.cat([value.reshape(-1) for value in values]).mean().item() for name, values in figures.items()}
