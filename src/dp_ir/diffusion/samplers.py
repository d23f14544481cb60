"""Samplers over an estimate of the clean image, as flat functions.

All speak of `noisy` = clean + sigma eps in [0, 1] units, where a step t -> s needs two noise levels and no schedule.
Dividing the VP form by sqrt(abar) and inserting abar = 1 / (1 + sigma^2) turns eq. 3 and its DDIM(eta) relatives into

    v = eta^2 sigma_s^2 (sigma_t^2 - sigma_s^2) / sigma_t^2
    x_s = x0 + sqrt(sigma_s^2 - v) (x_t - x0) / sigma_t + sqrt(v) z,

with x0 the estimate made at sigma_t. The state is never clipped: an estimate outside [0, 1] is information.

Every step here is linear, x_s = a x_t + b x0 + c x0' + d z with x0' the estimate of the step before, and the numbers
depend on the noise levels alone. So a step can be taken pixel by pixel, wherever the images are kept: `linear_steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dp_ir.diffusion.noise import randn
from dp_ir.errors import NetworkContractError, ScheduleError

Estimate = Callable[[Tensor, Tensor], Tensor]
"""(noisy (B, 3, H, W), sigma (B,)) -> E[x0 | ...], of the shape of `noisy`."""


@dataclass(frozen=True)
class StepInfo:
    """What a callback learns after each call of the estimate."""

    index: int
    """Number of this call, from 0."""
    steps: int
    """Number of calls in all."""
    sigma: float
    """Noise level of `noisy`, in [0, 1] units."""
    noisy: Tensor
    """The state before the step, (B, 3, H, W)."""
    estimate: Tensor
    """The estimate of the clean image from that state, (B, 3, H, W)."""


Callback = Callable[[StepInfo], None]


class Sampler(Protocol):
    """What every sampler here looks like; `SAMPLERS` holds them by name."""

    def __call__(
        self,
        estimate: Estimate,
        noisy: Tensor,
        sigmas: Tensor,
        *,
        generators: Sequence[torch.Generator] | None = None,
        eta: float | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Takes `noisy` from sigmas[0] down to sigmas[-1]."""
        ...


class LinearStep(NamedTuple):
    """One step x_t -> x_s as a sum: a x_t + b x0 + c x0' + d z, with x0' the estimate before and z standard normal."""

    sigma: float
    """Noise level of x_t, in [0, 1] units."""
    noisy: float
    """a."""
    estimate: float
    """b."""
    before: float = 0.0
    """c; 0 where the estimate before is not needed."""
    noise: float = 0.0
    """d; 0 where no noise is drawn."""

    def take(
        self, noisy: Tensor, estimate: Tensor, before: Tensor | None = None, noise: Tensor | None = None
    ) -> Tensor:
        """x_s, a new tensor, from tensors of one shape; those whose number is 0 may be left out."""
        x = estimate * self.estimate
        for number, image in ((self.noisy, noisy), (self.before, before), (self.noise, noise)):
            if number and image is not None:
                x.add_(image, alpha=number)
        return x


@dataclass(frozen=True)
class LinearSampler:
    """A sampler whose steps are known as numbers, so that it runs in memory and from disk to disk.

    Args:
        steps: its steps at falling noise levels, with a share of fresh noise; None for its own share.
        eta: that share: 0 draws no noise.
    """

    steps: Callable[[Tensor, float | None], list[LinearStep]]
    eta: float

    def __call__(
        self,
        estimate: Estimate,
        noisy: Tensor,
        sigmas: Tensor,
        *,
        generators: Sequence[torch.Generator] | None = None,
        eta: float | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Take noisy images from the first noise level to the last.

        Args:
            estimate: (noisy, sigma (B,)) -> estimate of the clean image.
            noisy: (B, 3, H, W) at level sigmas[0], in [0, 1] units; the state keeps its dtype, but at least float32.
            sigmas: falling noise levels in [0, 1] units, usually ending in 0, as from `NoiseSchedule.sigma_grid`.
            generators: one per image, as from `noise.generators`; needed where noise is drawn.
            eta: share of fresh noise; None for the sampler's own.
            callback: called after each estimate.

        Returns:
            The sample at level sigmas[-1], (B, 3, H, W), not clipped.

        Raises:
            ScheduleError: the levels do not fall, the sampler knows no such eta, or generators are missing.
            NetworkContractError: the estimate has another shape than `noisy`.
        """
        return _taken(self.steps(sigmas, eta), estimate, noisy, generators, callback)


def _ddpm_steps(sigmas: Tensor, eta: float | None = None) -> list[LinearStep]:
    if eta not in (None, 1):
        raise ScheduleError(f"eta is {eta:g}, but ddpm always has eta = 1: leave it out, or use the sampler ddim.")
    return _ddim_steps(sigmas, 1.0)


def _ddim_steps(sigmas: Tensor, eta: float | None = None) -> list[LinearStep]:
    eta = check_eta(0.0 if eta is None else eta)
    steps = []
    for sigma_t, sigma_s in pairwise(check_sigmas(sigmas)):
        v = eta**2 * sigma_s**2 * (sigma_t**2 - sigma_s**2) / sigma_t**2
        kept = math.sqrt(sigma_s**2 - v) / sigma_t
        steps.append(LinearStep(sigma_t, kept, 1 - kept, noise=math.sqrt(v)))
    return steps


def _dpmpp_2m_steps(sigmas: Tensor, eta: float | None = None) -> list[LinearStep]:
    if eta not in (None, 0):
        raise ScheduleError(f"eta is {eta:g}, but dpmpp-2m draws no noise: leave it out, or use the sampler ddim.")
    steps = []
    h_before: float | None = None
    for sigma_t, sigma_s in pairwise(check_sigmas(sigmas)):
        # The estimate half a step ahead, extrapolated in lambda = -log sigma: D = x0 + r (x0 - x0').
        r = 0.0
        if sigma_s > 0:
            h = math.log(sigma_t / sigma_s)
            if h_before is not None:
                r = h / (2 * h_before)
            h_before = h
        kept = sigma_s / sigma_t
        steps.append(LinearStep(sigma_t, kept, (1 - kept) * (1 + r), before=-(1 - kept) * r))
    return steps


def _taken(
    steps: Sequence[LinearStep],
    estimate: Estimate,
    noisy: Tensor,
    generators: Sequence[torch.Generator] | None,
    callback: Callback | None,
) -> Tensor:
    """Take the steps one after the other, from `noisy` to what is returned."""
    if generators is None and (drawn := max(step.noise for step in steps)) > 0:
        raise ScheduleError(
            f"The steps draw noise of up to {drawn:.3g}, as eta is above 0, but there are no generators: give one per "
            "image."
        )
    x, before = working_state(noisy), None
    for i, step in enumerate(steps):
        x0 = call_estimate(estimate, x, step.sigma)
        if callback is not None:
            callback(StepInfo(i, len(steps), step.sigma, x, x0))
        noise = randn(x.shape, generators, x.device, x.dtype) if step.noise and generators is not None else None
        x, before = step.take(x, x0, before, noise), x0
    return x


ddpm = LinearSampler(_ddpm_steps, eta=1.0)
"""Ancestral sampling (eq. 3; Ho et al., 2020): draws x_s from q(x_s | x_t, x0) with x0 the estimate; eta is 1."""

ddim = LinearSampler(_ddim_steps, eta=0.0)
"""DDIM(eta) (Song et al., 2021): deterministic at eta = 0, the default, and ancestral at eta = 1."""

dpmpp_2m = LinearSampler(_dpmpp_2m_steps, eta=0.0)
"""DPM-Solver++(2M) (Lu et al., 2022): second order in log sigma, one call per step, deterministic; eta is 0.

The first step, and a step to 0, where log sigma has no end, are of first order, that is, DDIM(0).
"""

SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim, "dpmpp-2m": dpmpp_2m}
"""The samplers by the names that bundles and the command line use."""


def linear_steps(sampler: Sampler, sigmas: Tensor, eta: float | None = None) -> list[LinearStep] | None:
    """What a sampler does at these noise levels, as numbers; None of a sampler that is no `LinearSampler`.

    Raises:
        ScheduleError: as the sampler itself.
    """
    return sampler.steps(sigmas, eta) if isinstance(sampler, LinearSampler) else None


def check_eta(eta: float) -> float:
    """`eta` as a float.

    Raises:
        ScheduleError: if it lies outside [0, 1], where some step would have a negative variance.
    """
    if not 0 <= eta <= 1:
        raise ScheduleError(f"eta is {eta:g}, but it must lie between 0 (deterministic) and 1 (ancestral).")
    return float(eta)


def check_sigmas(sigmas: Tensor) -> list[float]:
    """The noise levels as floats.

    Raises:
        ScheduleError: if there are fewer than two, or they do not fall strictly towards a number >= 0.
    """
    levels = torch.as_tensor(sigmas, dtype=torch.float64).detach().cpu()
    if levels.ndim != 1 or len(levels) < 2:
        raise ScheduleError(
            f"The noise levels have shape {tuple(levels.shape)}, but sampling needs a list of at least two: "
            "make them with NoiseSchedule.sigma_grid."
        )
    if not (bool((levels[1:] < levels[:-1]).all()) and bool(levels.isfinite().all()) and levels[-1] >= 0):
        raise ScheduleError(
            f"The noise levels run from {float(levels[0]):g} to {float(levels[-1]):g}, but they must be finite and "
            "fall at every step to a number >= 0: make them with NoiseSchedule.sigma_grid."
        )
    return [float(level) for level in levels]


def call_estimate(estimate: Estimate, noisy: Tensor, sigma: float) -> Tensor:
    """The estimate at one noise level for the whole batch, in the dtype of `noisy`.

    Raises:
        NetworkContractError: if its shape is not that of `noisy`.
    """
    x0 = estimate(noisy, noisy.new_full((len(noisy),), sigma))
    if x0.shape != noisy.shape:
        raise NetworkContractError(
            f"The estimate of the clean image has shape {tuple(x0.shape)} for a noisy image of shape "
            f"{tuple(noisy.shape)}, but the two must agree: check the network's padding and scale."
        )
    return x0.to(noisy.dtype)


def working_state(noisy: Tensor) -> Tensor:
    """Half-precision states would lose the last steps, so the state is float32 or wider whatever the networks use."""
    return noisy.to(torch.promote_types(noisy.dtype, torch.float32))
