"""Bundles: a folder with everything one restoration needs, its settings, networks and card.

`config.json` states the settings and, per network, a file with the identity it must have. Files may lie in the folder
or in a sibling folder (`../denoiser/denoiser.safetensors`), so that bundles shipped side by side share one denoiser;
no path reaches further.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from dp_ir.checkpoints.architectures import nearest
from dp_ir.checkpoints.card import render_card
from dp_ir.checkpoints.network_file import (
    PARTS,
    Kind,
    NetworkRecord,
    load_network,
    read_record,
    recorded_info,
    save_network,
)
from dp_ir.checkpoints.trained_for import short, typed_values
from dp_ir.errors import BundleError, CheckpointError
from dp_ir.extras import require
from dp_ir.part_files import replace_text
from dp_ir.sampling_settings import SETTINGS, SamplingSettings

FORMAT_VERSION = 1
CONFIG_NAME = "config.json"
CARD_NAME = "README.md"

HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(?P<file>[\w./-]+))?$")
"""A repository on the hub, "owner/name", with or without the path of a file in it."""
_CONFIG_LIMIT = 2**20


@dataclass(frozen=True)
class BundleSettings(SamplingSettings):
    """How the networks of a bundle are run unless a call says otherwise, and what is known of the whole.

    Args:
        task: name of the task, such as "sr4".
        quality: measured quality, free JSON.
        licence: SPDX name of the licence of the weights.
    """

    task: str = ""
    quality: dict[str, Any] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True)
class NetworkEntry:
    """One network in `config.json`: a relative path, the identity it must have, and its architecture's name."""

    file: str
    sha256: str
    architecture: str


@dataclass(frozen=True)
class BundleConfig:
    """The content of `config.json`.

    Args:
        settings: how the networks are run.
        networks: files per kind; those that are missing are given when the bundle is used.
        partners: identities of the networks the fusion was trained with, by "restorer_sha256" and "denoiser_sha256".
    """

    settings: BundleSettings
    networks: dict[Kind, NetworkEntry]
    partners: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory: settings, and the networks with their records (identities, cards) per kind."""

    settings: BundleSettings
    networks: dict[Kind, nn.Module]
    records: dict[Kind, NetworkRecord]
    partners: dict[str, str] = field(default_factory=dict)


def zoo_folder() -> Path:
    """The folder of the bundles that ship with this package."""
    return Path(str(resources.files("dp_ir"))) / "zoo"


def list_bundles() -> list[str]:
    """Names of the bundles that ship with this package, sorted."""
    return sorted(path.parent.name for path in zoo_folder().glob(f"*/{CONFIG_NAME}"))


def locate_bundle(name: str | Path, *, revision: str | None = None) -> Path:
    """Find the folder of a bundle.

    Args:
        name: in this order, the name of a shipped bundle ("sr4"), a folder, or a hub id ("owner/name"), which is
            fetched once and kept in the hub's cache. A folder that has the name of a shipped bundle is "./sr4".
        revision: branch, tag or commit of a hub id.

    Raises:
        BundleError: there is no such bundle; the sentence lists the shipped ones.
        MissingExtraError: a hub id without the `hub` extra.
    """
    shipped = list_bundles()
    if isinstance(name, str) and name in shipped:
        return zoo_folder() / name
    folder = Path(name)
    if folder.is_dir():
        return folder
    known = f"shipped bundles are {', '.join(shipped)}" if shipped else "no bundles ship with this installation"
    if folder.is_file():
        raise BundleError(f"{folder} is a file: expected the folder of a bundle; {known}.")
    if isinstance(name, str) and (match := HUB_ID.match(name)) and match["file"] is None:
        return _fetch(name, revision, known)
    raise BundleError(f"There is no bundle {str(name)!r}{nearest(str(name), shipped)}: {known}, or give a folder.")


def read_config(folder: str | Path) -> BundleConfig:
    """Read the `config.json` of a bundle, without its networks.

    Raises:
        BundleError: the file is missing, of a newer format, or incomplete.
    """
    path = Path(folder) / CONFIG_NAME
    try:
        with path.open("rb") as handle:
            content = json.loads(handle.read(_CONFIG_LIMIT))
    except OSError as error:
        raise BundleError(
            f"{folder} is not a bundle: it has no readable {CONFIG_NAME} ({error.strerror}); name the folder of a "
            "bundle, or a file."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON ({error}): write the bundle again.") from error
    return _parse(content, path)


def read_bundle(folder: str | Path) -> Bundle:
    """Read a bundle with its networks, each checked against the identity that `config.json` states.

    Raises:
        BundleError: the folder is incomplete, reaches outside its parent, or a network is not the one recorded.
        CheckpointError: a network's file is damaged or does not fit its architecture.
    """
    folder = Path(folder)
    config = read_config(folder)
    networks: dict[Kind, nn.Module] = {}
    records: dict[Kind, NetworkRecord] = {}
    for kind, entry in config.networks.items():
        networks[kind], records[kind] = _read_network(folder, kind, entry)
    return Bundle(config.settings, networks, records, config.partners)


def bundle_network(folder: str | Path, kind: Kind) -> tuple[nn.Module, NetworkRecord]:
    """Read one network of a bundle, with its record.

    Raises:
        BundleError, CheckpointError: as `read_bundle`; also where the bundle has no such network.
    """
    return _read_network(Path(folder), kind, _entry(folder, kind))


def bundle_record(folder: str | Path, kind: Kind) -> NetworkRecord:
    """What one network of a bundle says of itself, without its weights, as `read_record`.

    Raises:
        BundleError, CheckpointError: as `bundle_network`, but nothing is compared.
    """
    return read_record(_inside(Path(folder), _entry(folder, kind).file))


def _entry(folder: str | Path, kind: Kind) -> NetworkEntry:
    networks = read_config(folder).networks
    if kind not in networks:
        raise BundleError(f"The bundle {folder} has no {kind}, only a {' and a '.join(networks)}: name another source.")
    return networks[kind]


def _read_network(folder: Path, kind: Kind, entry: NetworkEntry) -> tuple[nn.Module, NetworkRecord]:
    module, record = load_network(_inside(folder, entry.file))
    for what, found, expected in (
        ("architecture", record.architecture, entry.architecture),
        ("identity (sha256)", record.sha256, entry.sha256),
        ("kind", record.kind, kind),
    ):
        if found != expected:
            raise BundleError(
                f"{folder / entry.file} is not the {kind} this bundle was written with: its {what} is {found}, "
                f"{CONFIG_NAME} says {short(expected)}; fetch the bundle again."
            )
    return module, record


def write_bundle(folder: str | Path, bundle: Bundle, *, shared: Mapping[Kind, str] | None = None) -> BundleConfig:
    """Write a bundle: `config.json`, a safetensors file per network, and a card `README.md`.

    A new folder appears whole, by one rename. In a folder that exists every file is replaced by a rename and
    `config.json` comes last, so that an interrupted write is noticed by the identities and never read as good.

    Args:
        folder: where to write; other files in it are left alone.
        bundle: what to write.
        shared: per kind, a path in a sibling folder ("../denoiser/denoiser.safetensors") to use instead of an own
            copy; written if it is missing, and never changed if it is there.

    Raises:
        BundleError: a shared file holds another network, or a path reaches too far.
        CheckpointError: a network is not one of this package, or the folder cannot be written.
    """
    folder = Path(folder)
    shared = dict(shared or {})
    stage = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
    try:
        stage.mkdir(parents=True)
        entries = {kind: _write_network(stage, bundle, kind, shared.get(kind)) for kind in _present(bundle, folder)}
        config = BundleConfig(bundle.settings, entries, bundle.partners)
        card = render_card(folder.name, asdict(bundle.settings), bundle.records, bundle.partners)
        replace_text(stage / CARD_NAME, card)
        replace_text(stage / CONFIG_NAME, _dump(config))
        if folder.exists():
            for path in sorted(stage.iterdir(), key=lambda item: item.name == CONFIG_NAME):
                path.replace(folder / path.name)
        else:
            stage.rename(folder)
    except OSError as error:
        raise CheckpointError(
            f"The bundle {folder} cannot be written ({error.strerror or error}): choose a folder that can be written."
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return config


def _present(bundle: Bundle, folder: Path) -> list[Kind]:
    kinds = [kind for kind in PARTS if kind in bundle.networks]
    _check_not_empty(kinds, folder)
    return kinds


def _write_network(stage: Path, bundle: Bundle, kind: Kind, shared: str | None) -> NetworkEntry:
    """Write one network beside `stage`'s other files, or make sure that the shared file is the same network."""
    record, file = bundle.records[kind], shared or f"{kind}.safetensors"
    path = _inside(stage, file)
    if shared is not None and path.exists():
        _, found = load_network(path)
        if found.sha256 != record.sha256:
            raise BundleError(
                f"{shared} holds another {kind} (sha256 {found.sha256[:12]}, expected {record.sha256[:12]}): "
                "name another shared file, or remove this one if no bundle needs it."
            )
    else:
        module = bundle.networks[kind]
        save_network(path, module, kind=kind, card=record.card, info=recorded_info(module, record))
    return NetworkEntry(file, record.sha256, record.architecture)


def _dump(config: BundleConfig) -> str:
    content = {
        "format_version": FORMAT_VERSION,
        **asdict(config.settings),
        "networks": {kind: asdict(entry) for kind, entry in config.networks.items()},
        "partners": config.partners,
    }
    try:
        return json.dumps(content, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise BundleError(
            f"The settings of the bundle are not plain JSON ({error}): use text and finite numbers."
        ) from error


def _parse(content: Any, path: Path) -> BundleConfig:
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        found = content.get("format_version") if isinstance(content, dict) else None
        raise BundleError(
            f"{path} has format_version {short(found)}, this version of dp-ir reads {FORMAT_VERSION}: update dp-ir, "
            "or write the bundle again."
        )
    # Bundles that were written before there was a dial gave samples.
    values = typed_values({"detail": 1.0, **content}, _SETTING_TYPES, str(path), BundleError)
    try:
        networks = {kind: NetworkEntry(**content["networks"][kind]) for kind in PARTS if kind in content["networks"]}
        partners = {str(name): str(value) for name, value in content.get("partners", {}).items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise BundleError(
            f"{path} does not list its networks as expected ({str(error)[:200]}): write the bundle again."
        ) from error
    _check_not_empty(list(networks), path)
    return BundleConfig(BundleSettings(**values), networks, partners)


_SETTING_TYPES: dict[str, tuple[type, ...]] = {
    **{name: setting.types for name, setting in SETTINGS.items()},
    "task": (str,),
    "quality": (dict,),
    "licence": (str,),
}


def _check_not_empty(kinds: list[Kind], source: Path) -> None:
    if not kinds:
        raise BundleError(f"{source} lists no network: expected at least one of {', '.join(PARTS)}.")


def _inside(folder: Path, file: str) -> Path:
    """Join a path from `config.json`, which may reach into sibling folders and no further."""
    parts = file.split("/") if isinstance(file, str) else []
    names = parts[1:] if parts[:1] == [".."] else parts
    plain = all(name not in {"", ".", ".."} and not re.search(r"[\\:\0]", name) for name in names)
    if not names or not plain or (len(names) == 1 and len(parts) == 2) or not file.endswith(".safetensors"):
        raise BundleError(
            f"The path {file!r} in {folder / CONFIG_NAME} is refused: networks are .safetensors files in the bundle's "
            "own folder or in one beside it, written as 'NAME' or '../FOLDER/NAME'."
        )
    return folder.parent.joinpath(*names) if parts[0] == ".." else folder.joinpath(*names)


def _fetch(hub_id: str, revision: str | None, known: str) -> Path:
    hub = require("huggingface_hub", f"Fetching the bundle {hub_id!r} (not a folder here)", "hub")
    try:
        patterns = ["*.json", "*.safetensors", "*.md"]
        return Path(hub.snapshot_download(hub_id, revision=revision, allow_patterns=patterns))
    except Exception as error:  # every way a network can fail ends in the same sentence
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BundleError(
            f"There is no folder {hub_id}, and the hub gave no bundle of that name ({reason}): check the name; {known}."
        ) from error
