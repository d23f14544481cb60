"""What is known of a family of published weight files: how to recognise it, and which network it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

State = Mapping[str, Tensor]
"""A flat state dict: names of parameters and buffers with their values."""


def unchanged(state: State) -> State:
    """The renaming of layouts that have one naming only."""
    return state


@dataclass(frozen=True)
class Layout:
    """How one family of published state dicts maps onto an architecture of this package.

    Args:
        architecture: a key of `dp_ir.checkpoints.architectures.ARCHITECTURES`.
        keys: names that together identify the family, after renaming.
        config: infers the constructor's keyword arguments from the names and shapes of a renamed state dict.
        rename: maps the other published namings onto the architecture's own; gives state dicts of other families back
            as they are, and never fails.
    """

    architecture: str
    keys: tuple[str, ...]
    config: Callable[[State], dict[str, Any]]
    rename: Callable[[State], State] = unchanged

    def matches(self, state: State) -> bool:
        """Whether a renamed state dict is of this family."""
        return all(key in state for key in self.keys)
