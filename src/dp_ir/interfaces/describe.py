"""What `dp-ir info` says of a bundle, a weight file or a photo."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dp_ir.checkpoints.bundle import locate_bundle, read_bundle
from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.foreign.unwrap import groups
from dp_ir.checkpoints.hub import locate_file
from dp_ir.checkpoints.loading import read_network
from dp_ir.checkpoints.network_file import PARTS, NetworkRecord
from dp_ir.checkpoints.trained_for import trained_for
from dp_ir.checkpoints.weights import read_content, read_metadata, read_state_dict, sha256, weight_format
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import CheckpointError
from dp_ir.image import IMAGE_SUFFIXES, read_image
from dp_ir.image.files.headers import identify
from dp_ir.image.files.kinds import head_of
from dp_ir.image.picture.photo_facts import photo_facts
from dp_ir.image.raw.raw_files import RAW_SUFFIXES
from dp_ir.tasks import get_task
from dp_ir.tasks.choice import findings

_TENSORS_SHOWN = 5


def describe(source: str) -> dict[str, Any]:
    """Describe a bundle (name, folder or hub id), any weight file, here or on the hub, or a photo, as plain JSON.

    Everything is read and checked, so a description is also the promise that the thing can be used. Of weights that no
    known network fits it says what they are and why none does.

    Raises:
        BundleError, CheckpointError, UnsafeCheckpointError, MissingExtraError: as `read_bundle` and `read_network`.
        ImageReadError: a photo cannot be read, or a name that ends like a photo's is none of a file.
        ScheduleError: a schedule or chain is none that could be run.
    """
    path = Path(source)
    named_as_photo = path.suffix.lower() in (*IMAGE_SUFFIXES, *RAW_SUFFIXES)
    if not path.is_dir() and (named_as_photo or identify(head_of(path)) is not None):
        return _photo(path)
    file = locate_file(source)
    return _bundle(locate_bundle(source)) if file is None else _file(file)


def readable(description: Mapping[str, Any]) -> str:
    """A description as indented lines of names and values, those of networks in words."""
    if "networks" in description:
        networks = {kind: _in_words(network) for kind, network in description["networks"].items()}
        description = {**description, "networks": networks}
    elif description["what"] == "photo":
        levels = {name: f"{255 * description[name]:.2f} of 255" for name in ("noise", "blockiness")}
        description = {**description, **levels, "fineness": f"{description['fineness']:.2f}"}
    elif "kind" in description:
        description = _in_words(description)
    return "\n".join(_lines(description, ""))


def _photo(path: Path) -> dict[str, Any]:
    picture = read_image(path)
    facts = photo_facts(picture)
    found = findings(facts)
    scale = get_task(found["task"]).scale
    return {
        "what": "photo",
        "path": str(path),
        "format": picture.format,
        **found,
        "result": f"{facts.width * scale}x{facts.height * scale} pixels",
    }


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
        "lacks": [kind for kind in PARTS if kind not in bundle.networks],
        "partners": bundle.partners,
        "quality": quality,
    }


def _file(path: Path) -> dict[str, Any]:
    kind = weight_format(path)
    content = read_content(path)[0]
    types = {str(value.dtype) for group in groups(content) for value in group.state.values()}
    stored = sorted(name.removeprefix("torch.") for name in types)
    file = {"path": str(path), "format": kind, "precision": stored, "file_sha256": sha256(path)}
    try:
        module, record = read_network(path)
    except CheckpointError as error:
        if kind == "safetensors" and "dp_ir" in read_metadata(path):
            raise  # it says what it is, and is not
        return {"what": "weights that no known network fits", **file, **_weights(read_state_dict(path), str(error))}
    described = _network(module, record)
    if described["card"].get("origin", {}).get("sha256") == file["file_sha256"]:
        del described["card"]["origin"]  # it is this file
    return {"what": "network", **file, **described}


def _network(module: nn.Module, record: NetworkRecord) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "architecture": record.architecture,
        "config": record.config,
        "parameters": record.parameters,
        **asdict(info_of(module)),
        **({"trained_for": trained_for(record.chain), "chain": record.chain} if record.kind == "fusion" else {}),
        "partners": record.partners,
        "card": {key: value for key, value in record.card.items() if key not in ("partners", "chain")},
        "sha256": record.sha256,
    }


def _weights(tensors: Mapping[str, Tensor], reason: str) -> dict[str, Any]:
    return {
        "reason": reason,
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "first_tensors": {name: list(tensor.shape) for name, tensor in list(tensors.items())[:_TENSORS_SHOWN]},
    }


def _in_words(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network's description for people: what does not concern its kind is left out."""
    kind = network["kind"]
    said = dict(network)
    for name in _BESIDE_THE_POINT[kind]:
        said.pop(name)
    words = {name: _WORDS[name](value) if name in _WORDS else value for name, value in said.items()}
    if network["architecture"] == "spandrel":
        words["architecture"] = f"{network['config'].get('network')}, as spandrel knows it"
    if kind == "restorer" and network["sigma_input"] == "none" and network["scale"] in (None, 1):
        words["as a denoiser"] = "after stating which noise levels it was trained for, sigma_range=LOW,HIGH"
    return {_LABELS.get(name, name): value for name, value in words.items()}


def _range(values: tuple[float, float], scale: float = 1.0) -> str:
    return f"{values[0] * scale:.4g} to {values[1] * scale:.4g}"


def _levels(values: tuple[float, float] | None) -> str:
    return f"{_range(values)} ({_range(values, 255)} of 255)" if values else "any"


_WORDS: dict[str, Callable[[Any], str]] = {
    "scale": lambda scale: f"{scale}" if scale else "whatever the network returns",
    "input": {"image": "an image", "burst": "a burst of RAW frames"}.__getitem__,
    "channels": lambda channels: {1: "1, grey", 3: "3, RGB"}.get(channels, f"{channels}"),
    "multiple_of": lambda multiple: f"{multiple}",
    "value_range": _range,
    "sigma_range": _levels,
    "sigma_input": {
        "sigma": "its standard deviation, as a second argument",
        "variance": "its variance, as a second argument",
        "map": "its standard deviation, as one more channel of the image",
        "none": "not at all: the network does not see it",
    }.__getitem__,
    "supports_bfloat16": lambda safe: "safe" if safe else "not known to be safe, so float32 is used",
    "tiling": {
        "supported": "supported",
        "discouraged": "discouraged: what is far away in the image changes the result",
    }.__getitem__,
    "receptive_field": lambda radius: f"{radius} pixels" if radius is not None else "not known",
    "detail": lambda least: (
        "not seen, so --detail mixes results with the restorer's" if least is None else f"seen from {least:g} on"
    ),
}
"""How the fields of `NetworkInfo` are put."""

_BESIDE_THE_POINT = {
    "restorer": ("sigma_range", "sigma_input", "detail"),
    "denoiser": ("scale", "detail"),
    "fusion": ("scale", "sigma_input", "chain"),
    "bridge": ("scale", "sigma_range", "sigma_input", "detail"),
}

_LABELS = {
    "config": "hyper-parameters",
    "minimum_size": "minimum size",
    "sigma_range": "noise levels",
    "sigma_input": "noise level goes in as",
    "supports_bfloat16": "bfloat16",
    "detail": "dial between restorer and sample",
}
_VERBATIM = {"hyper-parameters", "first_tensors"}
"""Mappings whose names are shown as they are."""


def _lines(values: Mapping[str, Any], indent: str, *, verbatim: bool = False) -> Iterator[str]:
    """Lines of a mapping; what is empty or unknown is left out."""
    for name, value in values.items():
        label = f"{indent}{name if verbatim else name.replace('_', ' ')}:"
        if isinstance(value, Mapping) and value:
            yield label
            yield from _lines(value, indent + "  ", verbatim=verbatim or name in _VERBATIM)
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
