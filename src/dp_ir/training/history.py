"""What a run was trained with: what cannot change in its course, and what did change, with the step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dp_ir.errors import CheckpointError
from dp_ir.training.recipe import Recipe
from dp_ir.training.recipe_checks import SECTIONS, recipe_values, sections_read

Settings = Mapping[str, Any]
"""Values by their names in the recipe; of networks and images not where they lie but what they are."""

_FIXED = ("kind", "network.", "objective", "chain.", "score.", "bridge.", "partners.", "data.task", "seed")
"""How the names begin of what cannot change."""

_LEAVES_WEIGHTS_ALONE = (
    *("log.", "data.cache", "data.workers", "data.validation_crop", "data.validation_images"),
    *("network.config", "network.init", "partners.", "data.clean", "data.observation"),  # identities stand for these
)
"""How the names begin of what changes no weights, or is compared by other names."""

HARDWARE = "hardware"
"""The name of what a run is trained on, which may change at any time."""


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """What a recipe says of the weights that come of it, but for its networks and images, which have identities."""
    unread = (f"{section}." for section in SECTIONS if section not in sections_read(recipe))
    left_out = (*_LEAVES_WEIGHTS_ALONE, *unread)
    values = {name: value for name, value in recipe_values(recipe) if not name.startswith(left_out)}
    return {**values, "network.init_sigma": recipe.network.init_sigma}


def read_checkpoint(out: Path) -> dict[str, Any] | None:
    """The checkpoint of the run in a folder; None where there is none yet.

    Raises:
        CheckpointError: it cannot be read.
    """
    path = out / "checkpoint.pt"
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state["step"], state["config"] = int(state["step"]), dict(state["config"])
    except Exception as error:  # every way a file can be damaged ends in the same sentence
        raise damaged(path, error) from error
    return state


def damaged(path: Path, error: Exception) -> CheckpointError:
    """What to say of a checkpoint that cannot be read."""
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    return CheckpointError(f"{path} cannot be read as a checkpoint of this run ({reason}): remove it to begin anew.")


class History:
    """The settings of a run from its first step on, as its checkpoint keeps them.

    Args:
        out: folder of the run.
        state: its checkpoint; None for a run that begins.
        steps: how many the recipe asks for.
        settings: what the run is to be trained with now. Names that the checkpoint does not have are not compared.

    Raises:
        CheckpointError: something is asked for that cannot change, or that would not be trained with.
    """

    def __init__(self, out: Path, state: Mapping[str, Any] | None, steps: int, settings: Settings) -> None:
        self.stretches: list[dict[str, Any]] = []  # each {"step": where it begins, "settings": ...}
        self._new: dict[str, Any] = {"step": 0, "settings": dict(settings)}
        self._out = out
        self.changed: dict[str, tuple[Any, Any]] = {}
        if state is None:
            return
        # Checkpoints of before do not say what they were trained with, or not all of it.
        self.stretches = state.get("history") or [{"step": 0, "settings": state.get("trained_for", {})}]
        step = self._new["step"] = state["step"]
        self.changed = _differences({**self.stretches[-1]["settings"], "network.config": state["config"]}, settings)
        if fixed := [name for name in self.changed if name.startswith(_FIXED)]:
            found, asked = self._words(fixed)
            raise CheckpointError(
                f"{out / 'checkpoint.pt'} is of a run with {found}, the recipe asks for {asked}: use another folder "
                "for --out, or the recipe the run began with."
            )
        if step > steps:
            raise CheckpointError(
                f"The run in {out} has {step} steps already, the recipe asks for {steps}: give it more (optim.steps), "
                "or use another folder for --out."
            )
        changed = [name for name in self.changed if name != HARDWARE]
        if step == steps and changed:
            found, asked = self._words(changed)
            raise CheckpointError(
                f"The run in {out} has its {step} steps, trained with {found}; with {asked}, as the recipe asks, "
                "nothing would be trained: give it more steps (optim.steps), or use another folder for --out."
            )

    def say_what_changes(self) -> None:
        """Warn of settings that are others from here on."""
        if changed := [name for name in self.changed if name != HARDWARE]:
            found, asked = self._words(changed)
            warnings.warn(
                f"The run in {self._out} goes on from step {self._new['step']} with {asked} (before: {found}); its "
                "card says so.",
                stacklevel=2,
            )

    def goes_on(self) -> None:
        """Record that steps are trained with the settings of now."""
        if not self.stretches or self.stretches[-1]["settings"] != self._new["settings"]:
            self.stretches.append(self._new)

    @property
    def hardware(self) -> str:
        """What the last steps were trained on."""
        settings = (self.stretches or [self._new])[-1]["settings"]
        return str(settings.get(HARDWARE, self._new["settings"].get(HARDWARE)))

    def changes(self) -> list[str]:
        """What changed in the course of the run, as "step 300: optim.batch 4 -> 8", for its card."""
        found = []
        for earlier, later in zip(self.stretches, self.stretches[1:], strict=False):
            differences = _differences(earlier["settings"], later["settings"])
            if words := ", ".join(f"{name} {old} -> {new}" for name, (old, new) in differences.items()):
                found.append(f"step {later['step']}: {words}")
        return found

    def _words(self, names: Sequence[str]) -> tuple[str, str]:
        """What the checkpoint has and what is asked for, by name."""
        found, asked = (" ".join(f"{name}={self.changed[name][which]}" for name in names) for which in (0, 1))
        return found, asked


def _differences(before: Settings, now: Settings) -> dict[str, tuple[Any, Any]]:
    return {name: (before[name], value) for name, value in now.items() if name in before and before[name] != value}
