"""The networks that a restoration is made of, whatever they are given as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from dp_ir.checkpoints.architectures import architecture_of
from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.guard import GuardedNetwork
from dp_ir.checkpoints.loading import find_network, load_denoiser, load_restorer
from dp_ir.checkpoints.network_file import Kind, NetworkRecord, describe
from dp_ir.checkpoints.trained_for import chain_settings
from dp_ir.restoration.trained_with import named_partners


@dataclass(frozen=True)
class Part:
    """A network with what is known of it; `record` is None for a network that no file of this package could hold."""

    network: Any
    info: NetworkInfo
    record: NetworkRecord | None


def part(kind: Kind, source: Any, *, info: NetworkInfo | None = None, record: NetworkRecord | None = None) -> Part:
    """Take a network as it is, or load it.

    Args:
        kind: what it is for.
        source: a module or function, which is not touched; or what `load_restorer` and `load_denoiser` load: a file, a
            bundle, a hub id.
        info: what is known of it, where it does not say so itself.
        record: its record, where it is known already.

    Raises:
        DPIRError: it cannot be loaded.
    """
    if isinstance(source, str | Path):
        if kind == "fusion":
            source, record = find_network(kind, source)
        else:
            source = load_restorer(source) if kind == "restorer" else load_denoiser(source)
    if isinstance(source, GuardedNetwork):
        return Part(source.network, info or source.info, record or source.record)
    if record is None and isinstance(source, nn.Module) and architecture_of(source) is not None:
        record = describe(source, kind=kind, info=info)
    return Part(source, info or info_of(source), record)


def parts_of(
    sources: Mapping[Kind, Any],
    infos: Mapping[Kind, NetworkInfo] = MappingProxyType({}),
    records: Mapping[Kind, NetworkRecord] = MappingProxyType({}),
) -> dict[Kind, Part]:
    """The networks that are there: sources that are not None, as `part` takes them."""
    return {
        kind: part(kind, source, info=infos.get(kind), record=records.get(kind))
        for kind, source in sources.items()
        if source is not None
    }


def fusion_partners(parts: Mapping[Kind, Part]) -> dict[str, str]:
    """Identities of the networks that the fusion says it was trained with, and the names of those that are here."""
    record = parts["fusion"].record if "fusion" in parts else None
    records = {kind: entry.record for kind, entry in parts.items() if entry.record is not None}
    return named_partners(record.partners, records) if record is not None and record.partners else {}


def chain_of(parts: Mapping[Kind, Part]) -> dict[str, Any]:
    """The settings of the chain that the fusion says it was trained through; none where it says nothing of one.

    Raises:
        CheckpointError: its card's chain is none.
    """
    record = parts["fusion"].record if "fusion" in parts else None
    return {} if record is None else chain_settings(record.chain)
