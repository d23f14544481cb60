"""What a fusion is trained for: estimates, which serve any sampling, or the samples of one chain of sampler calls.

A fusion that is trained through a few calls of a sampler gives the right samples in that chain alone, so its card holds
it, as {"chain": {"tau": ..., "steps": ..., ...}} with the names and values of `CHAIN_SETTINGS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import CheckpointError, DPIRError
from dp_ir.sampling_settings import CHAIN_SETTINGS

_LONGEST_VALUE = 100


def chain_settings(chain: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the chain that a fusion's card holds.

    Args:
        chain: `NetworkRecord.chain`.

    Returns:
        Fields of `BundleSettings`; none of a fusion that is trained for estimates.

    Raises:
        CheckpointError: one of `CHAIN_SETTINGS` is missing, or of another type.
    """
    if not chain:
        return {}
    types = {name: setting.types for name, setting in CHAIN_SETTINGS.items()}
    return typed_values(chain, types, "The chain in the card of the fusion", CheckpointError)


def trained_for(chain: Mapping[str, Any]) -> str:
    """What a fusion is trained for, in words.

    Args:
        chain: `NetworkRecord.chain`.

    Raises:
        CheckpointError: as `chain_settings`.
        ScheduleError: the chain is none that could be run.
    """
    if not chain:
        return "estimates (any tau, sampler and number of calls)"
    own = chain_settings(chain)
    return chain_in_words(own["tau"], chain_sigmas(own).tolist(), own["sampler"], own["eta"])


def chain_sigmas(settings: Mapping[str, Any]) -> Tensor:
    """Noise levels of a chain's calls, then 0, in [0, 1] units; float64.

    Args:
        settings: as `chain_settings` gives them.

    Raises:
        ScheduleError: the chain is none that could be run.
    """
    schedule = NoiseSchedule.from_config(settings["schedule"])
    return schedule.sigma_grid(settings["tau"], settings["steps"], settings["spacing"], sigma_min=settings["sigma_min"])


def chain_in_words(tau: float, sigmas: Sequence[float], sampler: str, eta: float) -> str:
    """A chain of sampler calls, in words.

    Args:
        tau: step of the schedule where it starts.
        sigmas: noise levels of the calls, then 0, in [0, 1] units.
        sampler: its name.
        eta: share of fresh noise per step.

    Examples:
        >>> chain_in_words(500, [0.5, 0.0], "ddim", 0.0)
        '1 call at the noise level 0.5 (tau = 500)'
    """
    start = f"{sigmas[0]:.4g} (tau = {tau:g})"
    if len(sigmas) == 2:  # the estimate is the sample, whatever the sampler
        return f"1 call at the noise level {start}"
    return f"{len(sigmas) - 1} calls at noise levels from {start} to {sigmas[-2]:.4g} by {sampler} with eta {eta:g}"


def typed_values(
    content: Mapping[str, Any], types: Mapping[str, tuple[type, ...]], source: str, error: type[DPIRError]
) -> dict[str, Any]:
    """The values of these names in what a file states, each of one of its types.

    Raises:
        error: one is missing, or of another type; a truth value is no number.
    """
    for name, kinds in types.items():
        value = content.get(name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise error(f"{source} has {name} = {short(value)}: expected {kinds[0].__name__}; write it again.")
    return {name: content[name] for name in types}


def short(value: Any) -> str:
    """A value that a file states, in a sentence of bounded length."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
