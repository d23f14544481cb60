"""Schedulers of the diffusers library as samplers over our estimate of the clean image.

A foreign scheduler brings its solver, not its noise levels: it is built anew on a schedule of exactly as many steps as
there are levels in `sigmas` (beta_k = 1 - abar_k / abar_{k-1} between neighbours, as for respaced diffusion). So it
starts exactly at tau, accepts any grid, and neither custom time steps nor an index to begin at are asked of it.
Its prediction type becomes "sample", since it gets an estimate of the clean image; clipping and thresholding are off.

diffusers itself is imported only when a scheduler is asked for by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dp_ir.diffusion.samplers import (
    Callback,
    Estimate,
    Sampler,
    StepInfo,
    call_estimate,
    check_eta,
    check_sigmas,
    working_state,
)
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import ScheduleError, UnsupportedSchedulerError
from dp_ir.extras import require

# Schedulers whose state is the VP process's x_t, and those whose state is x_t / sqrt(abar_t).
_VP_STATE = (
    "DDPMScheduler",
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "SASolverScheduler",
)
_SIGMA_STATE = ("EulerDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler")
SUPPORTED = (*_VP_STATE, *_SIGMA_STATE)
"""Names of the diffusers schedulers that can run on an estimate of the clean image."""

# These end at the lowest level of their schedule instead of 0: their last step would go from that level to itself.
_NEVER_AT_ZERO = ("DEISMultistepScheduler", "SASolverScheduler")

_NO_SAMPLE = "it has no prediction type 'sample', so it cannot take an estimate of the clean image"
_EDM = "it always applies the EDM preconditioning to the network's answer and refuses prediction type 'sample'"
_FLOW = "it integrates a rectified flow between noise and image, not the denoising of x0 + sigma eps"
_CONSISTENCY = "it is made for consistency-distilled networks and re-noises between steps on a training grid of its own"
_REASONS = {
    "EulerAncestralDiscreteScheduler": _NO_SAMPLE,
    "KDPM2DiscreteScheduler": _NO_SAMPLE,
    "KDPM2AncestralDiscreteScheduler": _NO_SAMPLE,
    "DPMSolverSDEScheduler": _NO_SAMPLE,
    "PNDMScheduler": "it extrapolates predictions of the noise and refuses prediction type 'sample'",
    "IPNDMScheduler": "it extrapolates predictions of the noise and has no prediction type",
    "EDMEulerScheduler": _EDM,
    "EDMDPMSolverMultistepScheduler": _EDM,
    "CosineDPMSolverMultistepScheduler": _EDM,
    "FlowMatchEulerDiscreteScheduler": _FLOW,
    "FlowMatchHeunDiscreteScheduler": _FLOW,
    "FlowMatchLCMScheduler": _FLOW,
    "LCMScheduler": _CONSISTENCY,
    "TCDScheduler": _CONSISTENCY,
    "CMStochasticIterativeScheduler": _CONSISTENCY,
    "RePaintScheduler": "it needs the known pixels and the mask of an inpainting task at every step",
    "DDIMInverseScheduler": "it runs from image to noise",
    "DPMSolverMultistepInverseScheduler": "it runs from image to noise",
}

# What the grid and the estimate decide; everything else (order, solver, variance, ...) stays as the scheduler has it.
_OURS: dict[str, Any] = {
    "prediction_type": "sample",
    "clip_sample": False,
    "thresholding": False,
    "timestep_spacing": "trailing",
    "timestep_type": "discrete",
    "interpolation_type": "linear",
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "final_sigmas_type": "zero",
    "lambda_min_clipped": -float("inf"),
    "rescale_betas_zero_snr": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
    "use_flow_sigmas": False,
    "use_dynamic_shifting": False,
    "sigma_min": None,
    "sigma_max": None,
}


def diffusers_sampler(scheduler: Any) -> Sampler:
    """A sampler, called like those in `SAMPLERS`, that steps with a diffusers scheduler.

    The levels given to it must end in 0, and it needs one generator per image even if the scheduler draws no noise.
    `eta` goes to schedulers that take one (DDIM). Second-order schedulers (Heun) call the estimate twice per level.
    The scheduler itself is not changed.

    Args:
        scheduler: a scheduler, or the name of one with its default settings, such as "DPMSolverMultistepScheduler".

    Raises:
        UnsupportedSchedulerError: if it cannot run on an estimate of the clean image; the message says why. The sampler
            raises it too, when the scheduler's settings do not fit the grid.
        MissingExtraError: if a name is given and diffusers is not installed.
    """
    if isinstance(scheduler, str):
        scheduler = _by_name(scheduler)
    name = type(scheduler).__name__
    if name not in SUPPORTED:
        raise UnsupportedSchedulerError(_refusal(name))
    variance = scheduler.config.get("variance_type")
    if name == "DDPMScheduler" and variance in ("learned", "learned_range"):
        raise UnsupportedSchedulerError(
            f"{name} has the variance type {variance!r}, which a network must predict, but an estimate of the clean "
            "image comes without one: use 'fixed_small' or 'fixed_large'."
        )

    def sample(
        estimate: Estimate,
        noisy: Tensor,
        sigmas: Tensor,
        *,
        generators: Sequence[torch.Generator] | None = None,
        eta: float | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        return _run(scheduler, estimate, noisy, check_sigmas(sigmas), generators, eta, callback)

    sample.calls_per_step = scheduler.order  # type: ignore[attr-defined]
    return sample


def _run(
    scheduler: Any,
    estimate: Estimate,
    noisy: Tensor,
    levels: list[float],
    generators: Sequence[torch.Generator] | None,
    eta: float | None,
    callback: Callback | None,
) -> Tensor:
    name = type(scheduler).__name__
    if levels[-1] != 0:
        raise ScheduleError(f"The noise levels end at {levels[-1]:g}, but {name} always goes to 0: add a last level 0.")
    if generators is None or len(generators) != len(noisy):
        found = "no" if generators is None else len(generators)
        raise ScheduleError(
            f"There are {found} random generators for {len(noisy)} images, but {name} needs one each: "
            "give one per image, as from noise.generators."
        )
    grid = NoiseSchedule.from_sigmas(levels[::-1])
    stepper = _respaced(scheduler, grid)
    options = _step_options(stepper, generators, eta)

    noisy = working_state(noisy)
    x = _to_state(name, grid, noisy, grid.T)
    for i, t in enumerate(stepper.timesteps):
        k = int(t) + 1  # diffusers counts its steps from 0
        noisy = _to_noisy(name, grid, x, k)
        sigma = levels[grid.T - k]
        x0 = call_estimate(estimate, noisy, sigma)
        if callback is not None:
            callback(StepInfo(i, len(stepper.timesteps), sigma, noisy, x0))
        if k == 1 and name in _NEVER_AT_ZERO:
            return x0  # what a step to 0 gives
        stepper.scale_model_input(x, t)  # its value is for networks that take x_t; some schedulers insist on the call
        x = stepper.step(grid.noisy_to_vp(x0, 0), t, x, **options).prev_sample.to(x.dtype)
    return grid.vp_to_noisy(x, 0)


def _respaced(scheduler: Any, grid: NoiseSchedule) -> Any:
    """A fresh scheduler of the same class and settings whose steps T - 1, ..., 0 lie at the levels of `grid`."""
    name = type(scheduler).__name__
    steps = list(range(grid.T - 1, -1, -1))
    betas = (1 - grid.alpha_bar[1:] / grid.alpha_bar[:-1]).tolist()
    config = {
        key: value for key, value in {**scheduler.config, **_OURS}.items() if key in scheduler.config and key[0] != "_"
    }
    config |= {"num_train_timesteps": grid.T, "trained_betas": betas}
    try:
        made = type(scheduler).from_config(config)
        if "timestep_spacing" in config:
            made.set_timesteps(grid.T)
        else:
            made.set_timesteps(timesteps=steps)
    except (ValueError, TypeError, NotImplementedError, ImportError) as error:
        raise UnsupportedSchedulerError(f"{name} cannot be set up for this grid with its settings: {error}") from error
    if made.timesteps.unique_consecutive().tolist() != steps:
        raise UnsupportedSchedulerError(
            f"{name} with its settings visits the steps {made.timesteps.tolist()} instead of {steps[0]} down to 0: "
            "leave its spacing settings at their defaults."
        )
    abar = made.alphas_cumprod.double().cpu()
    drift = ((1 - abar) / abar).sqrt() / grid.data_range / grid.sigma(torch.arange(1, grid.T + 1)) - 1
    if not bool((drift.abs() < 0.01).all()):
        raise UnsupportedSchedulerError(
            f"{name} keeps its betas in float32, which cannot hold two neighbouring noise levels of this grid (off by "
            f"up to {float(drift.abs().max()):.0%}): use more steps, a lower tau, or a sampler of this package."
        )
    return made


def _step_options(stepper: Any, generators: Sequence[torch.Generator], eta: float | None) -> dict[str, Any]:
    accepted = inspect.signature(stepper.step).parameters
    options: dict[str, Any] = {"generator": list(generators)} if "generator" in accepted else {}
    if eta is not None:
        if "eta" not in accepted:
            raise ScheduleError(f"eta is {eta:g}, but {type(stepper).__name__} takes none: leave it out.")
        options["eta"] = check_eta(eta)
    return options


def _to_state(name: str, grid: NoiseSchedule, noisy: Tensor, k: int) -> Tensor:
    x_t = grid.noisy_to_vp(noisy, k)
    return x_t / float(grid.alpha_bar[k].sqrt()) if name in _SIGMA_STATE else x_t


def _to_noisy(name: str, grid: NoiseSchedule, state: Tensor, k: int) -> Tensor:
    x_t = state * float(grid.alpha_bar[k].sqrt()) if name in _SIGMA_STATE else state
    return grid.vp_to_noisy(x_t, k)


def _by_name(name: str) -> Any:
    if name not in SUPPORTED:
        raise UnsupportedSchedulerError(_refusal(name))
    return getattr(require("diffusers", f"The sampler {name}", "diffusers"), name)()


def _refusal(name: str) -> str:
    known = ", ".join(SUPPORTED)
    if name in _REASONS:
        return f"{name} cannot run on an estimate of the clean image, because {_REASONS[name]}: use one of {known}."
    return f"{name} is not among the schedulers known to run on an estimate of the clean image: use one of {known}."
