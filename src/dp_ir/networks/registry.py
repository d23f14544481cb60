"""The networks there are, by name, and what published weight files of them look like.

A network is a folder beside this module: `model.py` holds the class, marked `@register_network`, and `detect.py`, where
there are published weights, a `Detector`. Nothing else names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

_Network = TypeVar("_Network", bound=type[nn.Module])
_Detector = TypeVar("_Detector", bound="Detector")

ARCHITECTURES: dict[str, type[nn.Module]] = {}
"""Name in weight files and recipes -> class; each takes keyword hyper-parameters and keeps them as `.config`."""

DETECTORS: dict[str, Detector] = {}
"""Name of an architecture -> what detects its published weights; at most one matches a state dict."""

State = Mapping[str, Tensor]
"""A flat state dict: names of parameters and buffers with their values."""


def register_network(name: str) -> Callable[[_Network], _Network]:
    """Make a class known under a name; raises ValueError where another class has it."""

    def register(network: _Network) -> _Network:
        if name in ARCHITECTURES:
            raise ValueError(f"The name {name!r} belongs to {ARCHITECTURES[name].__name__} already: choose another.")
        ARCHITECTURES[name] = network
        return network

    return register


def register_detector(detector: _Detector) -> _Detector:
    """Make a detector known, and give it back."""
    DETECTORS[detector.architecture] = detector
    return detector


def unchanged(state: State) -> State:
    """The renaming of published weights that have one naming only."""
    return state


@dataclass(frozen=True)
class Detector:
    """How one family of published state dicts maps onto an architecture of this package.

    Args:
        architecture: a key of `ARCHITECTURES`.
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
