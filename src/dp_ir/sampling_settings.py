"""How samples are drawn: each setting once, with its type, range and meaning.

Bundles, cards, options of the command line, records of batches, methods of an evaluation and what is exported are made
from these fields. Nothing is imported here that takes time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict, get_args

Spacing = Literal["log-sigma", "uniform-t"]
"""How the noise levels of the steps are spread, see `NoiseSchedule.sigma_grid`."""


@dataclass(frozen=True)
class Setting:
    """What is known of a setting beside its name and default.

    Args:
        meaning: one or two sentences.
        types: that a file may have it in.
        least: smallest value, where it is a number.
        choices: the values it may have, where these are few.
        trained: whether it belongs to the chain of calls that a fusion may have been trained through.
    """

    meaning: str
    types: tuple[type, ...]
    least: float | None = None
    choices: tuple[str, ...] = ()
    trained: bool = True


def _setting(default: Any, meaning: str, *types: type, **known: Any) -> Any:
    return field(default=default, metadata={"setting": Setting(meaning, types, **known)})


@dataclass(frozen=True)
class SamplingSettings:
    """How a restoration is drawn; the defaults are eight deterministic steps from sigma = 0.37.

    Args:
        schedule: the noise schedule, as `NoiseSchedule.to_config` writes it.
        tau: step of the schedule where sampling starts; 0 returns the restorer's estimate.
        steps: steps from tau down to 0, one denoiser and one fusion evaluation each.
        sampler: a key of `dp_ir.diffusion.samplers.SAMPLERS`.
        spacing: how the steps are spread, see `NoiseSchedule.sigma_grid`.
        sigma_min: last noise level before 0, in [0, 1] image units.
        eta: share of fresh noise per step, 0 (none) to 1 (ancestral).
        detail: the dial from the restorer's estimate, 0, to a sample of the posterior, 1.
    """

    schedule: dict[str, Any] = field(
        default_factory=lambda: {"name": "cosine", "T": 1000, "s": 0.008, "data_range": 2.0},
        metadata={"setting": Setting("The noise schedule.", (dict,))},
    )
    tau: float = _setting(
        400,
        "Where the diffusion starts: 0 gives the restorer's own result, a later step leaves more freedom.",
        *(int, float),
        least=0,
    )
    steps: int = _setting(8, "Calls of the denoiser and of the fusion.", int, least=1)
    sampler: str = _setting("ddim", "How the steps are taken.", str, choices=("ddpm", "ddim", "dpmpp-2m"))
    spacing: str = _setting(
        "log-sigma",
        "How the noise levels of the steps are spread.",
        str,
        choices=get_args(Spacing),
    )
    sigma_min: float = _setting(0.01, "Last noise level before 0, in units of [0, 1] images.", float, int, least=0)
    eta: float = _setting(0.0, "Fresh noise per step, 0 (none) to 1 (ancestral).", float, int, least=0)
    detail: float = _setting(
        1.0,
        "How much detail is made up: 0 gives the restorer's own safe result, 1 a full sample of what the photo may "
        "have looked like.",
        *(float, int),
        least=0,
        trained=False,
    )


class SettingChanges(TypedDict, total=False):
    """The same as keywords of Python, of which any may be left out."""

    schedule: dict[str, Any]
    tau: float
    steps: int
    sampler: str
    spacing: str
    sigma_min: float
    eta: float
    detail: float


SETTINGS: dict[str, Setting] = {entry.name: entry.metadata["setting"] for entry in fields(SamplingSettings)}
"""What is known of each setting."""

CHAIN_SETTINGS: dict[str, Setting] = {name: setting for name, setting in SETTINGS.items() if setting.trained}
"""The settings of the chain of calls that a fusion may have been trained through."""
