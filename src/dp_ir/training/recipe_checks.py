"""What a recipe must hold beyond the types of its schema: ranges, what belongs together, nothing that no one reads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from dp_ir.checkpoints import KINDS
from dp_ir.errors import RecipeError

if TYPE_CHECKING:
    from dp_ir.training.recipe import Recipe

OBJECTIVES = ("estimate", "energy-score")
"""What a fusion can be trained for."""

PRECISIONS = ("float32", "bfloat16", "float16")

_ABOVE_0 = (
    *("optim.steps", "optim.batch", "optim.learning_rate", "optim.clip", "data.patch", "data.validation_crop"),
    *("data.validation_images", "log.every", "log.validate", "log.checkpoint"),
)
_FROM_0 = ("optim.warm_up", "optim.weight_decay", "data.workers", "seed", "noise.log_std")
SECTIONS = ("noise", "bridge", "chain", "score")
"""Sections that are read for some networks only."""


def check(recipe: Recipe) -> None:
    """Raise RecipeError, with one sentence, where a recipe cannot be trained by."""
    if recipe.kind not in KINDS:
        raise RecipeError(f"The recipe trains a '{recipe.kind}'; kind must be one of {', '.join(KINDS)}.")
    if recipe.precision not in PRECISIONS:
        raise RecipeError(f"precision is '{recipe.precision}'; it must be one of {', '.join(PRECISIONS)}.")
    if recipe.objective not in OBJECTIVES:
        raise RecipeError(f"objective is '{recipe.objective}'; it must be one of {', '.join(OBJECTIVES)}.")
    if recipe.objective == "energy-score" and recipe.kind != "fusion":
        raise RecipeError(f"The recipe trains a {recipe.kind}, but only a fusion has the objective energy-score.")
    values = dict(recipe_values(recipe))
    _check_ranges(values)
    if recipe.kind == "fusion" and not (recipe.partners.restorer and recipe.partners.denoiser):
        raise RecipeError(
            "A fusion network is trained for two frozen networks: set partners.restorer and partners.denoiser."
        )
    starts_restored = recipe.network.config.get("start", "restored") == "restored"
    if recipe.kind == "bridge" and starts_restored and not recipe.partners.restorer:
        raise RecipeError("A bridge that starts from a restorer's output needs the restorer: set partners.restorer.")
    _check_dial(recipe)
    _check_sections(recipe, values)
    if recipe.objective == "energy-score":
        _check_score(recipe)


def recipe_values(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All values by their names in the recipe."""
    for entry in fields(section):
        value = getattr(section, entry.name)
        if is_dataclass(value):
            yield from recipe_values(value, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", value


def _check_ranges(values: dict[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise RecipeError(f"{name} is {value}; it must be a finite number.")
    for name in _ABOVE_0:
        if not values[name] > 0:
            raise RecipeError(f"{name} is {values[name]}; it must be greater than 0.")
    for name in _FROM_0:
        if values[name] < 0:
            raise RecipeError(f"{name} is {values[name]}; it must not be negative.")
    if values["seed"] >= 2**63:
        raise RecipeError(f"seed is {values['seed']}; it must be less than 2^63.")
    if not 0 <= values["optim.decay"] <= 1:
        raise RecipeError(f"optim.decay is {values['optim.decay']}; it is a share of the steps, from 0 to 1.")
    if not 0 <= values["optim.ema"] < 1:
        raise RecipeError(f"optim.ema is {values['optim.ema']}; it must lie from 0 to less than 1.")
    low, high = values["noise.low"], values["noise.high"]
    if not 0 < low < high:
        raise RecipeError(f"noise.low is {low} and noise.high {high}; 0 < low < high is needed.")
    if not values["noise.median"] > 0:
        raise RecipeError(f"noise.median is {values['noise.median']}; it must be greater than 0.")


def sections_read(recipe: Recipe) -> tuple[str, ...]:
    """Which of the sections that not all trainings read this one does."""
    if recipe.kind == "fusion":
        return ("noise",) if recipe.objective == "estimate" else ("chain", "score")
    return {"denoiser": ("noise",), "bridge": ("bridge",)}.get(recipe.kind, ())


def _check_sections(recipe: Recipe, values: dict[str, Any]) -> None:
    """What is set in a section that this training does not read would be ignored."""
    read = sections_read(recipe)
    reader = f"a fusion with objective={recipe.objective}" if recipe.kind == "fusion" else f"a {recipe.kind}"
    for section in SECTIONS:
        if section in read:
            continue
        by_default = dict(recipe_values(type(getattr(recipe, section))(), f"{section}."))
        for name, default in by_default.items():
            if values[name] != default:
                raise RecipeError(
                    f"{name} is {values[name]}, but the training of {reader} does not read {section}: leave it out, or "
                    "use a recipe that reads it."
                )


def _check_score(recipe: Recipe) -> None:
    score = recipe.score
    if score.draws < 2:
        raise RecipeError(f"score.draws is {score.draws}; a spread needs at least 2.")
    if not 0 < score.exponent < 2:
        raise RecipeError(f"score.exponent is {score.exponent}; it must lie between 0 and 2.")
    if not 0 <= score.spread_weight <= 1:
        raise RecipeError(f"score.spread_weight is {score.spread_weight}; it must lie from 0 to 1.")
    if score.spread_weight != 1 and recipe.network.config.get("detail") is not None:
        raise RecipeError(
            f"score.spread_weight is {score.spread_weight}, but the fusion sees the dial, which says how much spread "
            "counts: leave it out, or train a fusion that does not see the dial (network.config.detail=null)."
        )
    weights = (score.bands, score.lpips, score.lpips_half)
    if min(weights) < 0 or max(weights) == 0:
        raise RecipeError(
            f"The weights score.bands, score.lpips and score.lpips_half are {weights}: none may be negative, and one "
            "must be greater than 0."
        )


def _check_dial(recipe: Recipe) -> None:
    dial = recipe.network.config.get("detail")
    if recipe.kind != "fusion" or dial is None:
        return
    if isinstance(dial, bool) or not isinstance(dial, int | float) or not 0 < dial <= 1:
        raise RecipeError(
            f"network.config.detail is {dial!r}; it must be a number above 0 and at most 1, where what the fusion sees "
            "of the dial begins, or null for a fusion that does not see it."
        )
    if recipe.objective == "estimate":
        raise RecipeError(
            f"network.config.detail is {dial}, but with objective=estimate no one would train the dial: set "
            "objective=energy-score, or use the recipe fusion-estimate."
        )
