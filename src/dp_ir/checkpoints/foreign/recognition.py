"""Telling from a state dict alone which network it is of."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.architectures import build, build_with_weights
from dp_ir.checkpoints.foreign.spandrel_network import spandrel_is_installed, spandrel_network
from dp_ir.checkpoints.foreign.unwrap import Group, check_tensors, groups, left_aside, shown, unwrap
from dp_ir.errors import CheckpointError
from dp_ir.networks import DETECTORS
from dp_ir.networks.registry import Detector, State

_SHOWN = 3
_ABSURD_NUMBER = re.compile(r"(^|\.)\d{5,}(\.|$)")


def recognise(state: State, source: str) -> nn.Module:
    """Build the network that a published state dict is of.

    The architectures of this package come first, then those of spandrel where the extra `zoo` is installed.

    Args:
        state: a flat state dict, as `read_state_dict` gives it.
        source: what to call the origin of the weights in errors.

    Returns:
        The network with its weights (evaluation mode, float32, CPU).

    Raises:
        CheckpointError: no architecture matches, or the weights do not fit the one that does; the sentence names the
            nearest architecture and what differs.
    """
    if (network := find(state, source)) is not None:
        return network
    raise CheckpointError(_why_nothing_matched(state, source))


def find(state: State, source: str) -> nn.Module | None:
    """As `recognise`, but None where no architecture matches."""
    _check_numbers(state, source)
    for detector in DETECTORS.values():
        renamed = detector.rename(state)
        if not detector.matches(renamed):
            continue
        try:
            config = detector.config(renamed)
        except (KeyError, ValueError, IndexError, TypeError, ArithmeticError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(
                f"The weights in {source} look like {detector.architecture}, but its hyper-parameters cannot be told "
                f"from them ({reason}): use the file as it was published."
            ) from error
        return build_with_weights(detector.architecture, config, renamed, source)
    return spandrel_network(state, source)


def choose(content: Any, source: str, size: int) -> tuple[nn.Module, list[str]]:
    """Build the network that is somewhere in what a weight file held.

    Args:
        content: what the file held.
        source: what to call it in errors.
        size: of the file, bytes.

    Returns:
        The network, as `recognise` gives it, and the names of what else there is.

    Raises:
        CheckpointError: none of the groups of tensors is of a known network, or several are; what is said is said of
            the largest.
    """
    largest: dict[str, Tensor] = {}
    chosen: tuple[Group, nn.Module] | None = None
    for group in groups(content):
        if chosen is not None and (group.usual or _shares(group, chosen[0])):
            continue
        largest = max(largest, group.state, key=len)
        try:
            check_tensors(group.state, source, size)
            network = find({name: value.detach() for name, value in group.state.items()}, source)
        except CheckpointError:
            continue
        if network is None:
            continue
        if chosen is not None:
            raise CheckpointError(f"{source} holds several networks: save the one to be used alone.")
        chosen = group, network
        if group.usual:
            break
    if chosen is not None:
        return chosen[1], left_aside(content, chosen[0].state)
    unwrap(content, source)  # which says what there is instead of a state dict
    check_tensors(largest, source, size)
    return recognise(largest, source), []


def _shares(group: Group, other: Group) -> bool:
    """Whether two groups have tensors in common."""
    taken = {id(value) for value in other.state.values()}
    return any(id(value) in taken for value in group.state.values())


def _check_numbers(state: State, source: str) -> None:
    """Refuse names that count further than any network does: detectors count along."""
    if absurd := next((name for name in state if _ABSURD_NUMBER.search(name)), None):
        raise CheckpointError(
            f"The weights in {source} have the name {shown([absurd])}, whose number no network reaches: use the file "
            "as it was published."
        )


def _why_nothing_matched(state: State, source: str) -> str:
    known = "" if spandrel_is_installed() else "; the extra zoo (pip install 'dp-ir[zoo]') knows forty more"
    return (
        f"No network matches the weights in {source}: found {len(state)} tensors ({_names(state)}), {_nearest(state)}; "
        f"use a file of a known network, or load it into your own module and pass that{known}."
    )


def _nearest(state: State) -> str:
    """The architecture whose names have most in common with those of a state dict, and how the two differ."""
    likeness, detector, renamed = max(
        (
            (_likeness(renamed, detector), detector, renamed)
            for detector in DETECTORS.values()
            for renamed in [detector.rename(state)]
        ),
        key=lambda entry: entry[0],
    )
    if likeness == 0:
        return "of which no known network has a single one"
    own = _reference(detector)
    known = [name for name in renamed if _pattern(name) in {_pattern(other) for other in own}]
    lacking = [key for key in detector.keys if key not in renamed] or [
        name for name in own if _pattern(name) not in {_pattern(other) for other in renamed}
    ]
    unknown = [name for name in renamed if name not in known]
    parts = [f"of which {len(known)} are named as in {detector.architecture}, the nearest"]
    if lacking:
        parts.append(f"which has also {_names(lacking)}")
    if unknown:
        parts.append(f"and has no {_names(unknown)}")
    return ", ".join(parts)


def _likeness(state: State, detector: Detector) -> float:
    """Share of common names among all names, numbers set aside; between 0 and 1."""
    ours, theirs = {_pattern(name) for name in _reference(detector)}, {_pattern(name) for name in state}
    return len(ours & theirs) / len(ours | theirs)


def _reference(detector: Detector) -> list[str]:
    with torch.device("meta"):
        return list(build(detector.architecture, {}).state_dict())


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _names(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
