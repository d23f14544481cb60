"""One network in one self-describing safetensors file.

Beside the tensors its header holds one entry, `dp_ir`, with JSON: the architecture's name, its hyper-parameters, what
the network is for, and its card. So a file needs no code and no second file to be rebuilt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.architectures import architecture_of, build_with_weights
from dp_ir.checkpoints.contract import NetworkInfo, info_from, info_of, own_info
from dp_ir.checkpoints.weights import read_metadata, read_state_dict, write_safetensors
from dp_ir.errors import CheckpointError
from dp_ir.networks import ARCHITECTURES

Kind = Literal["restorer", "denoiser", "fusion", "bridge"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PARTS: tuple[Kind, ...] = ("restorer", "denoiser", "fusion")
"""What a bundle is made of; a bridge is a method by itself."""

_ENTRY = "dp_ir"


@dataclass(frozen=True)
class NetworkRecord:
    """What is known of a network beside its weights.

    Args:
        architecture: a key of `ARCHITECTURES`.
        config: the constructor's keyword arguments.
        kind: what the network is for.
        card: free JSON about how it came about: data, steps, seconds, hardware, quality, licence. A fusion's card
            names the networks it was trained with: {"partners": {"restorer_sha256": ..., "denoiser_sha256": ...}},
            and the sampler calls it was trained through, if it was: {"chain": {"tau": ..., "steps": ..., ...}}.
        info: fields of `NetworkInfo` that were stated, where they are not what the network says of itself.
        sha256: identity of the network: its architecture, hyper-parameters and float32 weights. Neither the card nor
            the precision of storage changes it.
        parameters: how many numbers were trained.
    """

    architecture: str
    config: dict[str, Any]
    kind: Kind
    card: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    sha256: str = ""
    parameters: int = 0

    @property
    def partners(self) -> dict[str, str]:
        """Identities of the networks a fusion was trained with; empty where the card does not say."""
        partners = self.card.get("partners", {})
        return dict(partners) if isinstance(partners, Mapping) else {}

    @property
    def chain(self) -> dict[str, Any]:
        """The sampler calls a fusion was trained through, see `trained_for`; empty of one trained for estimates.

        Raises:
            CheckpointError: what the card has there is none.
        """
        chain = self.card.get("chain", {})
        if not isinstance(chain, Mapping):
            raise CheckpointError(
                f"The chain in the card of the {self.kind} is of the type {type(chain).__name__}: expected the "
                "settings of its sampler calls by name, or no chain; write it again."
            )
        return dict(chain)


def describe(
    module: nn.Module, *, kind: Kind, card: Mapping[str, Any] | None = None, info: NetworkInfo | None = None
) -> NetworkRecord:
    """Describe a network of this package as its file would; arguments as for `save_network`.

    Raises:
        CheckpointError: the module's class is not in `ARCHITECTURES`, or the kind is not one of `KINDS`.
    """
    architecture = architecture_of(module)
    if architecture is None:
        raise CheckpointError(
            f"A {type(module).__name__} has no network file: expected one of {', '.join(ARCHITECTURES)}."
        )
    _check_kind(kind, "save_network")
    config = cast(dict[str, Any], module.config)
    return NetworkRecord(
        architecture=architecture,
        config=dict(config),
        kind=kind,
        card=dict(card or {}),
        info=_stated(module, info),
        sha256=_identity(architecture, config, module.state_dict()),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
    )


def save_network(
    path: str | Path,
    module: nn.Module,
    *,
    kind: Kind,
    card: Mapping[str, Any] | None = None,
    info: NetworkInfo | None = None,
) -> NetworkRecord:
    """Write a network of this package to one safetensors file, atomically.

    Args:
        path: the file to write; its name ends in `.safetensors`.
        module: a network whose class is in `ARCHITECTURES`.
        kind: what it is for.
        card: JSON-able record of its training, see `NetworkRecord`.
        info: what is known of it; what it says of itself by default.

    Returns:
        The record as `load_network` will give it.

    Raises:
        CheckpointError: wrong suffix, unknown class, a card that is not JSON, or a path that cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path} does not end in .safetensors, the only format networks are written in: rename it."
        )
    record = describe(module, kind=kind, card=card, info=info)
    entry = {
        "architecture": record.architecture,
        "config": record.config,
        "kind": record.kind,
        "card": record.card,
        **({"info": record.info} if record.info else {}),
    }
    try:
        text = json.dumps(entry, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"The card or configuration of {path} is not plain JSON ({error}): use text and numbers."
        ) from error
    write_safetensors(path, module.state_dict(), {_ENTRY: text})
    return replace(record, **_decoded(text))


def read_record(path: str | Path) -> NetworkRecord:
    """Read what a network file says of itself, without its weights: `sha256` and `parameters` stay empty.

    Raises:
        CheckpointError: not a safetensors file, or one that does not describe its network.
    """
    text = read_metadata(path).get(_ENTRY)
    if text is None:
        raise CheckpointError(
            f"{path} holds weights but does not say of what network: expected a file written by save_network."
        )
    try:
        fields = _decoded(text)
        record = NetworkRecord(**fields)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"The description in {path} cannot be read ({error}): write the file again.") from error
    _check_kind(record.kind, str(path))
    return record


def load_network(path: str | Path) -> tuple[nn.Module, NetworkRecord]:
    """Rebuild a network from its file.

    Returns:
        The network (evaluation mode, float32, CPU) and its record.

    Raises:
        CheckpointError: the file is missing, damaged, does not describe itself, or its weights do not fit.
        UnsafeCheckpointError: the file would run code; nothing was executed.
    """
    record = read_record(path)
    try:
        module = build_with_weights(record.architecture, record.config, read_state_dict(path), str(path))
    except RecursionError as error:
        raise CheckpointError(f"The description in {path} is nested too deeply: write the file again.") from error
    if record.info:
        module.info = recorded_info(module, record)  # type: ignore[assignment]
    return module, describe(module, kind=record.kind, card=record.card)


def _decoded(text: str) -> dict[str, Any]:
    entry = json.loads(text)
    fields = {name: entry[name] for name in ("architecture", "config", "kind", "card")}
    fields["info"] = entry.get("info", {})
    for name, kind in (("architecture", str), ("config", dict), ("kind", str), ("card", dict), ("info", dict)):
        if not isinstance(fields[name], kind):
            raise TypeError(f"{name} is a {type(fields[name]).__name__}")
    return fields


def recorded_info(module: nn.Module, record: NetworkRecord) -> NetworkInfo:
    """What is known of a network: what its architecture says, and what its record states beyond that."""
    return info_from({**asdict(own_info(module)), **record.info})


def _stated(module: nn.Module, info: NetworkInfo | None) -> dict[str, Any]:
    """What is stated of a network and differs from what its architecture says, as plain JSON."""
    own, stated = asdict(own_info(module)), asdict(info or info_of(module))
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in stated.items() if value != own[name]
    }


def _check_kind(kind: str, source: str) -> None:
    if kind not in KINDS:
        raise CheckpointError(f"{source} names the kind of network {kind!r}: expected one of {', '.join(KINDS)}.")


def _identity(architecture: str, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps([architecture, config], sort_keys=True).encode())
    for name in sorted(state):
        value = state[name].detach().to("cpu")
        if value.is_floating_point():
            value = value.to(torch.float32)
        digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()
