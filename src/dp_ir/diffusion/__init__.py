"""The diffusion package: schedules, the jump of eq. 8, samplers, per-image noise and the counting of network calls."""

from dp_ir.diffusion.counting import CallCounter
from dp_ir.diffusion.jump import JumpCoefficients, jump, jump_coefficients
from dp_ir.diffusion.noise import generators, randn
from dp_ir.diffusion.samplers import SAMPLERS, Callback, Estimate, Sampler, StepInfo, ddim, ddpm, dpmpp_2m
from dp_ir.diffusion.schedule import NoiseSchedule, Spacing

__all__ = [
    "SAMPLERS",
    "CallCounter",
    "Callback",
    "Estimate",
    "JumpCoefficients",
    "NoiseSchedule",
    "Sampler",
    "Spacing",
    "StepInfo",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "generators",
    "jump",
    "jump_coefficients",
    "randn",
]
