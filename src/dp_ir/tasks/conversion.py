"""Turning any weight file that is known into a bundle, which says by itself what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dp_ir.checkpoints.bundle import Bundle, write_bundle
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.hub import locate_file
from dp_ir.checkpoints.loading import load_denoiser, load_restorer, read_network
from dp_ir.checkpoints.network_file import Kind, NetworkRecord
from dp_ir.errors import BundleError, CheckpointError
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS
from dp_ir.tasks import TASKS


def convert(
    source: str | Path,
    folder: str | Path,
    *,
    kind: Kind | None = None,
    stated: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> NetworkRecord:
    """Write the network of a weight file as a bundle: `restorer.safetensors` or `denoiser.safetensors`, and its card.

    A bundle of a restorer restores by itself, without diffusion (tau is 0).

    Args:
        source: a weight file of any known origin, here or on the hub ("owner/name/file.pth").
        folder: where to write.
        kind: "restorer" or "denoiser"; None takes what the network looks like. One that does not see the noise level
            is taken for a restorer unless `stated` says which levels it is for.
        stated: fields of `NetworkInfo` that are not as inferred; they are kept in the bundle.
        overwrite: replace what an earlier call wrote; without it the folder must be empty or missing.

    Returns:
        What the bundle says of the network.

    Raises:
        CheckpointError, UnsafeCheckpointError, MissingExtraError, NetworkContractError: as `load_restorer`.
        BundleError: the folder is not empty, or the file is in it.
    """
    folder, stated = Path(folder), dict(stated or {})
    file = locate_file(source)
    if file is None:
        raise CheckpointError(f"{source} is no weight file: expected a file, or owner/name/path/of/file on the hub.")
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not overwrite)):
        raise BundleError(
            f"{folder} is there already and not an empty folder: choose another, or overwrite it (--overwrite)."
        )
    module, record = read_network(file, kind)
    if record.kind == "fusion":
        raise CheckpointError(f"{file} holds a fusion network, which needs no converting: use it as it is (--fusion).")
    if kind is None:
        kind = "denoiser" if stated.get("sigma_range") else record.kind
    network = (load_restorer if kind == "restorer" else load_denoiser)(module, **stated)
    assert network.record is not None  # everything that can be read from a file has one
    record = replace(network.record, card=record.card)
    if file.resolve() == (folder / f"{kind}.safetensors").resolve():
        raise BundleError(f"The bundle in {folder} would overwrite {file}: choose another folder.")
    settings = replace(DEFAULT_SETTINGS, tau=0, task=_task(network.info) if kind == "restorer" else "")
    write_bundle(folder, Bundle(settings, {kind: module}, {kind: record}))
    return record


def _task(info: NetworkInfo) -> str:
    """The common task whose images go in and come out in these sizes; empty where there is none.

    Images that keep their size tell nothing: noise, rain and blur may be what is removed.
    """
    sizes = (info.scale, info.channels)
    return next((task.name for task in TASKS.values() if task.common and (task.scale, task.channels) == sizes), "")
