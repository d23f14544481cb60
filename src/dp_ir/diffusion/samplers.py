"""Samplers over an estimate of the clean image, as flat functions.

All speak of `noisy` = clean + sigma eps in [0, 1] units, where a step t -> s needs two noise levels and no schedule.
Dividing the VP form by sqrt(abar) and inserting abar = 1 / (1 + sigma^2) turns eq. 3 and its DDIM(eta) relatives into

    v = eta^2 sigma_s^2 (sigma_t^2 - sigma_s^2) / sigma_t^2
    x_s = x0 + sqrt(sigma_s^2 - v) (x_t - x0) / sigma_t + sqrt(v) z,

with x0 the estimate made at sigma_t. The state is never clipped: an estimate outside [0, 1] is information.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

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


def ddpm(
    estimate: Estimate,
    noisy: Tensor,
    sigmas: Tensor,
    *,
    generators: Sequence[torch.Generator] | None = None,
    eta: float | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Ancestral sampling (eq. 3; Ho et al., 2020): draws x_s from q(x_s | x_t, x0) with x0 the estimate.

    Args:
        estimate: (noisy, sigma (B,)) -> estimate of the clean image.
        noisy: (B, 3, H, W) at level sigmas[0], in [0, 1] units; the state keeps its dtype, but at least float32.
        sigmas: falling noise levels in [0, 1] units, usually ending in 0, as from `NoiseSchedule.sigma_grid`.
        generators: one per image, as from `noise.generators`.
        eta: None or 1; other values belong to `ddim`.
        callback: called after each estimate.

    Returns:
        The sample at level sigmas[-1], (B, 3, H, W), not clipped.

    Raises:
        ScheduleError: if the levels do not fall, eta is not 1, or generators are missing.
        NetworkContractError: if the estimate has another shape than `noisy`.
    """
    if eta not in (None, 1):
        raise ScheduleError(f"eta is {eta:g}, but ddpm always has eta = 1: leave it out, or use the sampler ddim.")
    return ddim(estimate, noisy, sigmas, generators=generators, eta=1.0, callback=callback)


def ddim(
    estimate: Estimate,
    noisy: Tensor,
    sigmas: Tensor,
    *,
    generators: Sequence[torch.Generator] | None = None,
    eta: float | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DDIM(eta) (Song et al., 2021): deterministic at eta = 0, the default, and ancestral at eta = 1.

    Args:
        estimate: (noisy, sigma (B,)) -> estimate of the clean image.
        noisy: (B, 3, H, W) at level sigmas[0], in [0, 1] units; the state keeps its dtype, but at least float32.
        sigmas: falling noise levels in [0, 1] units, usually ending in 0, as from `NoiseSchedule.sigma_grid`.
        generators: one per image, as from `noise.generators`; needed if eta > 0.
        eta: share of fresh noise, in [0, 1].
        callback: called after each estimate.

    Returns:
        The sample at level sigmas[-1], (B, 3, H, W), not clipped.

    Raises:
        ScheduleError: if the levels do not fall, eta is outside [0, 1], or generators are missing.
        NetworkContractError: if the estimate has another shape than `noisy`.
    """
    eta = check_eta(0.0 if eta is None else eta)
    if eta > 0 and generators is None:
        raise ScheduleError(f"eta is {eta:g}, so noise is drawn, but there are no generators: give one per image.")
    levels, x = check_sigmas(sigmas), working_state(noisy)
    for i, (sigma_t, sigma_s) in enumerate(pairwise(levels)):
        x0 = call_estimate(estimate, x, sigma_t)
        if callback is not None:
            callback(StepInfo(i, len(levels) - 1, sigma_t, x, x0))
        v = eta**2 * sigma_s**2 * (sigma_t**2 - sigma_s**2) / sigma_t**2
        x = x0 + math.sqrt(sigma_s**2 - v) / sigma_t * (x - x0)
        if v > 0 and generators is not None:
            x = x + math.sqrt(v) * randn(x.shape, generators, x.device, x.dtype)
    return x


def dpmpp_2m(
    estimate: Estimate,
    noisy: Tensor,
    sigmas: Tensor,
    *,
    generators: Sequence[torch.Generator] | None = None,
    eta: float | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al., 2022): second order in log sigma, one call per step, deterministic.

    The first step, and a step to 0, where log sigma has no end, are of first order, that is, DDIM(0).

    Args:
        estimate: (noisy, sigma (B,)) -> estimate of the clean image.
        noisy: (B, 3, H, W) at level sigmas[0], in [0, 1] units; the state keeps its dtype, but at least float32.
        sigmas: falling noise levels in [0, 1] units, usually ending in 0, as from `NoiseSchedule.sigma_grid`.
        generators: not used; taken so that all samplers are called alike.
        eta: None or 0.
        callback: called after each estimate.

    Returns:
        The sample at level sigmas[-1], (B, 3, H, W), not clipped.

    Raises:
        ScheduleError: if the levels do not fall or eta is not 0.
        NetworkContractError: if the estimate has another shape than `noisy`.
    """
    if eta not in (None, 0):
        raise ScheduleError(f"eta is {eta:g}, but dpmpp-2m draws no noise: leave it out, or use the sampler ddim.")
    levels, x = check_sigmas(sigmas), working_state(noisy)
    x0_before: Tensor | None = None
    h_before = 0.0
    for i, (sigma_t, sigma_s) in enumerate(pairwise(levels)):
        x0 = call_estimate(estimate, x, sigma_t)
        if callback is not None:
            callback(StepInfo(i, len(levels) - 1, sigma_t, x, x0))
        D = x0  # the estimate half a step ahead, extrapolated in lambda = -log sigma
        if sigma_s > 0:
            h = math.log(sigma_t / sigma_s)
            if x0_before is not None:
                D = x0 + h / (2 * h_before) * (x0 - x0_before)
            x0_before, h_before = x0, h
        x = D + sigma_s / sigma_t * (x - D)
    return x


SAMPLERS: dict[str, Sampler] = {"ddpm": ddpm, "ddim": ddim, "dpmpp-2m": dpmpp_2m}
"""The samplers by the names that bundles and the command line use."""


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
