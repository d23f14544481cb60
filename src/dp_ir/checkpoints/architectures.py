"""The networks that weight files can name, and building one from its name and hyper-parameters."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.foreign.spandrel_network import SpandrelNetwork, spandrel_network
from dp_ir.checkpoints.size_guard import no_more_parameters_than
from dp_ir.errors import CheckpointError
from dp_ir.networks import ARCHITECTURES
from dp_ir.networks.default_dtype import float32_by_default

_ALWAYS_ALLOWED = 4096  # diffusion steps, training sizes
_LONGEST = 400  # letters of hyper-parameters in a sentence

SPANDREL = "spandrel"
"""Name in weight files of a `SpandrelNetwork`, which only its weights can build."""


def architecture_of(module: nn.Module) -> str | None:
    """Name of a network's architecture: a key of `ARCHITECTURES`, or "spandrel"; None for any other module."""
    if isinstance(module, SpandrelNetwork):
        return SPANDREL
    return next((name for name, kind in ARCHITECTURES.items() if type(module) is kind), None)


def build(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Args:
        name: a key of `ARCHITECTURES`.
        config: the constructor's keyword arguments, as a network's own `.config` states them.

    Raises:
        CheckpointError: the name is not known, or the hyper-parameters do not fit the architecture.
    """
    try:
        return _architecture(name)(**config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, IndexError) as error:
        raise CheckpointError(
            f"The hyper-parameters {_short(config)} do not fit {name}: {_short(error).rstrip('.')}."
        ) from error


@float32_by_default()
def build_with_weights(name: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    """Build a network and give it weights, all of which must be there and fit.

    Args:
        name: a key of `ARCHITECTURES`.
        config: the constructor's keyword arguments.
        tensors: names and values of parameters and buffers, in any floating precision.
        source: what to call the origin of the weights in errors, a path for instance.

    Returns:
        The network in evaluation mode, float32, on the CPU.

    Raises:
        CheckpointError: names are missing or unknown, shapes differ, or values are not finite.
        MissingExtraError: a network of spandrel, which is not installed.
    """
    _check_size(config, tensors, source)
    if name == SPANDREL:
        module = _of_spandrel(config, tensors, source)
        _check_fit(name, config, module, tensors, source)
    else:
        with torch.device("meta"), no_more_parameters_than(len(tensors), source):  # takes no memory, whatever its size
            _check_fit(name, config, build(name, config), tensors, source)
        module = build(name, config)
    module.load_state_dict(dict(tensors))
    return module.eval()


def _check_size(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse hyper-parameters that would build a network far larger than its weights."""
    asked = max(_whole_numbers(config), default=0)
    largest = max((side for value in tensors.values() for side in value.shape), default=0)
    if asked > max(largest, _ALWAYS_ALLOWED):
        raise CheckpointError(
            f"The hyper-parameters of {source} name the number {asked}, but no side of its tensors is longer than "
            f"{largest}: use the file as it was written."
        )


def _whole_numbers(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _whole_numbers(item)
    elif isinstance(value, int):
        yield value


def _of_spandrel(config: Mapping[str, Any], tensors: Mapping[str, Tensor], source: str) -> nn.Module:
    inner = {key.removeprefix("model."): value for key, value in tensors.items()}
    network = config.get("network")
    if (module := spandrel_network(inner, source, network=network)) is None:
        raise CheckpointError(f"spandrel does not recognise the weights in {source} as {network}: update spandrel.")
    return module


def _architecture(name: str) -> type[nn.Module]:
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise CheckpointError(
            f"There is no architecture {name!r}{nearest(name, ARCHITECTURES)}: known are {', '.join(ARCHITECTURES)}."
        ) from None


def nearest(name: str, known: Collection[str]) -> str:
    """A half-sentence that names the closest known word, or nothing where none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (nearest: {close[0]})" if close else ""


def _short(value: Any) -> str:
    """What hyper-parameters or errors say, on one line of bounded length."""
    text = " ".join(str(dict(value) if isinstance(value, Mapping) else value).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _check_fit(
    name: str, config: Mapping[str, Any], module: nn.Module, tensors: Mapping[str, Tensor], source: str
) -> None:
    expected = {key: value.shape for key, value in module.state_dict().items()}
    missing = [key for key in expected if key not in tensors]
    extra = [key for key in tensors if key not in expected]
    shapes = [key for key in expected if key in tensors and tensors[key].shape != expected[key]]
    faults = []
    if missing:
        faults.append(f"{_count(missing, 'missing')} ({missing[0]}{nearest(missing[0], extra)})")
    if extra:
        faults.append(f"{_count(extra, 'unknown')} ({extra[0]}{nearest(extra[0], missing)})")
    if shapes:
        key = shapes[0]
        found, wanted = tuple(tensors[key].shape), tuple(expected[key])
        faults.append(f"{_count(shapes, 'of another shape')} ({key}: found {found}, expected {wanted})")
    if faults:
        raise CheckpointError(
            f"The weights in {source} do not fit {name} with the hyper-parameters {_short(config)}: of {len(expected)} "
            f"expected tensors {', '.join(faults)}; use the file as it was written."
        )
    for key, value in tensors.items():
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"The weights in {source} are not usable: {key} holds NaN or infinity; use a checkpoint from before "
                "the training diverged."
            )


def _count(keys: list[str], what: str) -> str:
    return f"{len(keys)} {'is' if len(keys) == 1 else 'are'} {what}"
