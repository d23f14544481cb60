"""Bringing own networks: from a file, a folder, a hub, a module or a function to a network behind its contract."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from dp_ir.checkpoints.architectures import architecture_of
from dp_ir.checkpoints.bundle import bundle_network, bundle_record, locate_bundle
from dp_ir.checkpoints.contract import Denoiser, NetworkInfo, Restorer, info_from, info_of
from dp_ir.checkpoints.foreign.python_function import network_of, python_file
from dp_ir.checkpoints.foreign.recognition import choose
from dp_ir.checkpoints.foreign.unwrap import shown
from dp_ir.checkpoints.hub import locate_file
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.network_file import Kind, NetworkRecord, describe, load_network, read_record
from dp_ir.checkpoints.units.probe import probe as check_units
from dp_ir.checkpoints.weights import read_content, read_metadata, sha256, weight_format
from dp_ir.errors import CheckpointError, NetworkContractError

Source = str | Path | nn.Module | Restorer | Denoiser


def load_restorer(source: Source, *, revision: str | None = None, probe: bool = True, **stated: Any) -> LoadedNetwork:
    """Load a restorer: observation (B, C, h, w) in [0, 1] -> E[x0 | y] (B, 3, scale * h, scale * w).

    Args:
        source: a weight file (safetensors, .pth/.pt/.ckpt) of this package or of any architecture that
            this package or spandrel knows, recognised by its names and shapes; a bundle, by name or folder; a hub id
            ("owner/name" of a bundle, or "owner/name/path/of/file.pth"); "file.py:name", see `foreign.python_function`,
            whose code is run; or a module or function of your own.
        revision: branch, tag or commit of a hub id.
        probe: try the network on a small synthetic image, to notice a wrong range; see `dp_ir.checkpoints.units.probe`.
        stated: fields of `NetworkInfo` that are not as inferred, such as value_range=(0, 255).

    Returns:
        The network in float32 and [0, 1] units, with `.info`, and `.record` where it has an architecture that a file
        can name. It takes images of any size.

    Raises:
        CheckpointError: no such file, a damaged one, or none that a known network fits; nothing in it was executed.
        UnsafeCheckpointError: the file would run code.
        NetworkContractError: the network is none for this purpose, or works in other units than stated.
        MissingExtraError: the file needs an extra that is not installed.
        ProbeWarning: the probe could not tell.

    Examples:
        >>> import torch
        >>> double = load_restorer(lambda y: torch.nn.functional.interpolate(y, scale_factor=2), scale=2)
        >>> double(torch.rand(1, 3, 5, 7)).shape
        torch.Size([1, 3, 10, 14])
    """
    return _load("restorer", source, revision, probe, stated)


def load_denoiser(source: Source, *, revision: str | None = None, probe: bool = True, **stated: Any) -> LoadedNetwork:
    """Load a denoiser: noisy (B, 3, H, W) and sigma (B,), both in [0, 1] units -> E[x0 | noisy] (B, 3, H, W).

    Args and errors are those of `load_restorer`. A denoiser that does not see the noise level (sigma_input="none") must
    state the levels it was trained for, such as sigma_range=(20 / 255, 30 / 255).

    Examples:
        >>> denoiser = load_denoiser("sr4")
        >>> denoiser.info.sigma_range
        (0.005, 1.0)
    """
    return _load("denoiser", source, revision, probe, stated)


def read_network(path: Path, kind: Kind | None = None) -> tuple[nn.Module, NetworkRecord]:
    """Read the network in a weight file of any known origin.

    Args:
        path: the file.
        kind: what it is wanted for; None takes what the file says, or what the network looks like.

    Returns:
        The network (evaluation mode, float32, CPU) and its record.

    Raises:
        CheckpointError, UnsafeCheckpointError, MissingExtraError: as `load_restorer`.
    """
    if _says_what_it_is(path):
        module, record = load_network(path)
        if kind not in (None, record.kind):
            raise CheckpointError(f"{path} holds a {record.kind}: expected a {kind}.")
        return module, record
    content, source = read_content(path)
    module, aside = choose(content, source, path.stat().st_size)
    if kind == "fusion":
        raise CheckpointError(f"{path} holds {architecture_of(module)}: expected a fusion network of `dp-ir train`.")
    origin: dict[str, Any] = {"file": path.name, "sha256": sha256(path)}
    if aside:
        warnings.warn(f"{path} holds more than the network that is used; left aside: {shown(aside)}.", stacklevel=2)
        origin["left_aside"] = aside
    card = {"origin": origin}
    return module, describe(module, kind=kind or _likely_kind(info_of(module)), card=card)


def _load(kind: Kind, source: Source, revision: str | None, probe: bool, stated: Mapping[str, Any]) -> LoadedNetwork:
    network, record = find_network(kind, source, revision)
    info = info_from({**asdict(info_of(network)), **stated})
    network = network.module if isinstance(network, LoadedNetwork) else network
    _check_purpose(kind, network, info)
    if record is not None and isinstance(network, nn.Module):
        record = describe(network, kind=kind, card=record.card, info=info)
    loaded = LoadedNetwork(kind, network, info, record=record)
    if probe:
        check_units(loaded, stacklevel=4)  # where load_restorer or load_denoiser was called
    return loaded


def as_loaded(
    kind: Kind, source: Any, *, info: NetworkInfo | None = None, record: NetworkRecord | None = None
) -> LoadedNetwork:
    """Take a network as it is, where it is, or load it.

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
    loaded = LoadedNetwork(kind, source, info, record=record)
    if loaded.record is None and isinstance(source, nn.Module) and architecture_of(source) is not None:
        loaded.record = describe(source, kind=kind, info=info)
    return loaded


def find_network(kind: Kind, source: Any, revision: str | None = None) -> tuple[Any, NetworkRecord | None]:
    """The network that a source is or names, with its record where it has one; see `load_restorer` for sources."""
    if isinstance(source, LoadedNetwork):
        return source, source.record
    if python_file(source) is not None:
        source = network_of(source)
    if isinstance(source, nn.Module):
        return source, describe(source, kind=kind) if architecture_of(source) is not None else None
    if not isinstance(source, str | Path):
        if not callable(source):
            raise NetworkContractError(
                f"A {type(source).__name__} is no {kind}: expected a file, a bundle, a hub id, a module or a function."
            )
        return source, None
    if (file := locate_file(source, revision=revision)) is not None:
        return read_network(file, kind)
    return bundle_network(locate_bundle(source, revision=revision), kind)


def find_record(kind: Kind, source: str | Path) -> NetworkRecord | None:
    """What the network that a source names says of itself, without its weights; None where it says nothing.

    Raises:
        BundleError, CheckpointError, MissingExtraError: as `load_restorer`.
    """
    if python_file(source) is not None:
        return None
    if (file := locate_file(source)) is None:
        return bundle_record(locate_bundle(source), kind)
    return read_record(file) if _says_what_it_is(file) else None


def _says_what_it_is(path: Path) -> bool:
    """Whether a weight file is one of this package; raises CheckpointError where it is no weight file."""
    return weight_format(path) == "safetensors" and "dp_ir" in read_metadata(path)


def _likely_kind(info: NetworkInfo) -> Kind:
    return "denoiser" if info.sigma_range is not None else "restorer"


def _check_purpose(kind: Kind, network: Any, info: NetworkInfo) -> None:
    name = getattr(network, "config", {}).get("network", type(network).__name__)  # of spandrel's, spandrel's name
    if kind == "restorer" and info.sigma_range is not None and info.sigma_input != "none":
        raise NetworkContractError(
            f"{name} takes a noise level (sigma_input {info.sigma_input!r}), so it is a denoiser: expected a restorer."
        )
    if kind != "denoiser":
        return
    if info.scale not in (None, 1):
        raise NetworkContractError(f"{name} enlarges {info.scale} times: expected a denoiser, which keeps the size.")
    if info.sigma_input == "none" and info.sigma_range is None:
        raise NetworkContractError(
            f"{name} does not see the noise level, and nothing says which levels it was trained for: state them, as in "
            "sigma_range=(20 / 255, 30 / 255), or sigma_range=20/255,30/255 on the command line."
        )
