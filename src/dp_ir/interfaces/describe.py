"""What `dp-ir info` says of a bundle or a weight file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from dp_ir.checkpoints.bundle import locate_bundle, read_bundle
from dp_ir.checkpoints.network_file import NetworkRecord, load_network
from dp_ir.checkpoints.weights import read_metadata, read_state_dict, sha256, weight_format
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.restoration.protocols import info_of

_KEYS_SHOWN = 5


def describe(source: str) -> dict[str, Any]:
    """Describe a bundle (name, folder or hub id), a network file of this package, or any weight file, as plain JSON.

    Everything is read and checked, so a description is also the promise that the thing can be used.

    Raises:
        BundleError, CheckpointError, UnsafeCheckpointError, MissingExtraError: as `read_bundle` and `load_network`.
    """
    path = Path(source)
    if not path.is_file() and path.suffix not in {".safetensors", ".pth", ".pt", ".ckpt"}:
        return _bundle(locate_bundle(source))
    if weight_format(path) == "safetensors" and "dp_ir" in read_metadata(path):
        module, record = load_network(path)
        return {"what": "network", "path": str(path), **_network(module, record)}
    return _weights(path)


def readable(description: Mapping[str, Any]) -> str:
    """A description as indented lines of names and values."""
    return "\n".join(_lines(description, ""))


def _bundle(folder: Path) -> dict[str, Any]:
    bundle = read_bundle(folder)
    settings = asdict(bundle.settings)
    schedule = NoiseSchedule.from_config(bundle.settings.schedule)
    task, quality, licence = settings.pop("task"), settings.pop("quality"), settings.pop("licence")
    return {
        "what": "bundle",
        "path": str(folder),
        "task": task,
        "licence": licence,
        "sampling": {**settings, "sigma_at_tau": float(schedule.sigma(bundle.settings.tau))},
        "networks": {kind: _network(module, bundle.records[kind]) for kind, module in bundle.networks.items()},
        "partners": bundle.partners,
        "quality": quality,
    }


def _network(module: nn.Module, record: NetworkRecord) -> dict[str, Any]:
    known = info_of(module)
    return {
        "kind": record.kind,
        "architecture": record.architecture,
        "parameters": record.parameters,
        "scale": known.scale,
        "sigma_range": known.sigma_range,
        "config": record.config,
        "partners": record.partners,
        "card": {key: value for key, value in record.card.items() if key != "partners"},
        "sha256": record.sha256,
    }


def _weights(path: Path) -> dict[str, Any]:
    tensors = read_state_dict(path)
    return {
        "what": "weights without a description: any network may have written them",
        "path": str(path),
        "format": weight_format(path),
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "precision": sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}),
        "first_tensors": {name: list(tensor.shape) for name, tensor in list(tensors.items())[:_KEYS_SHOWN]},
        "file_sha256": sha256(path),
    }


def _lines(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Lines of a mapping; what is empty or unknown is left out."""
    for name, value in values.items():
        label = f"{indent}{name.replace('_', ' ')}:"
        if isinstance(value, Mapping) and value:
            yield label
            yield from _lines(value, indent + "  ")
        elif value not in (None, "", {}, []):
            yield f"{label} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value))
    return str(value)
