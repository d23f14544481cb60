"""How results are made, in a form that can be kept beside them and compared: networks by content, and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dp_ir.checkpoints.bundle import BundleConfig, bundle_record, list_bundles, locate_bundle, read_config
from dp_ir.checkpoints.foreign.python_function import python_file
from dp_ir.checkpoints.loading import find_record
from dp_ir.restoration.settings import settings_with_fusion
from dp_ir.sampling_settings import SETTINGS

_NETWORKS = ("restorer", "denoiser", "fusion")
_UNSAID = {"detail": 1.0, "quality": None, "scale": None, "width": None, "long_edge": None}
"""How results were made whose record is older than a setting."""


def provenance(
    bundle: str, sources: Mapping[str, str | None], stated: Sequence[str] = (), **settings: Any
) -> dict[str, Any]:
    """What decides how the results of a batch look, without loading a network.

    Args:
        bundle: name, folder or hub id.
        sources: what replaces its "restorer", "denoiser" and "fusion", as named by the user; None for its own.
        stated: "KIND.KEY=VALUE" texts.
        settings: seed, tau, crop and whatever else matters; None for fields of `BundleSettings` means the bundle's, or
            what `settings_with_fusion` makes of them where a fusion replaces its own.

    Returns:
        JSON: identities of the networks, settings, and the version of this package.

    Raises:
        BundleError: there is no such bundle.
        CheckpointError: what replaces the fusion, or the bundle's own which it replaces, cannot be read.
    """
    folder = locate_bundle(bundle)
    config = read_config(folder)
    networks = {kind: _identity(kind, sources.get(kind), config) for kind in _NETWORKS}
    used = config.settings
    if (fusion := sources.get("fusion")) is not None:
        replaced = bundle_record(folder, "fusion") if "fusion" in config.networks else None
        used = settings_with_fusion(used, replaced, find_record("fusion", fusion))
    own = {name: getattr(used, name) for name in SETTINGS}
    if settings.get("sampler") not in (None, own["sampler"]):
        own["eta"] = None  # another sampler has its own default
    given = {name: value for name, value in settings.items() if value is not None}
    known = dict.fromkeys(settings)
    return {**networks, "stated": sorted(stated), **known, **own, **given, "version": version("dp-ir")}


def joint_provenance(made_by: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What decides how results look of which each is made by one of several bundles, by the bundles' names.

    What is the same for all stands for itself, anything else is told by bundle.
    """
    names = dict.fromkeys(name for own in made_by.values() for name in own)
    joint: dict[str, Any] = {}
    for name in names:
        values = {bundle: own.get(name) for bundle, own in made_by.items()}
        first = next(iter(values.values()))
        joint[name] = first if all(value == first for value in values.values()) else values
    return joint


def differences(now: Mapping[str, Any], then: Mapping[str, Any], *, certain: bool = False) -> list[str]:
    """What of `now` is not as it was `then`, in words.

    Args:
        now: how results would be made.
        then: how they were made.
        certain: the version of this package is a difference, too, and so is it that nothing is known of `then`.

    What only one of the two knows of is no difference, so that what later versions record does not matter.
    """
    if certain and now and not then:
        return ["settings that are not known"]
    found, then = [], {**_UNSAID, **then}
    for name in sorted(now.keys() & then.keys() - (set() if certain else {"version"})):
        if now[name] == then[name]:
            continue
        plain = all(isinstance(value, str | int | float | bool) for value in (now[name], then[name]))
        if name in _NETWORKS or not plain:
            found.append(f"another {name}")
        else:
            found.append(f"{name} {_said(then[name])} instead of {_said(now[name])}")
    return found


def _identity(kind: str, source: str | None, config: BundleConfig) -> str | None:
    """Of a file its hash, and the name in it; of a bundle what it says of the network; of anything else its name."""
    if source is None:
        return _recorded(kind, config)
    code = python_file(source)
    path = Path(source) if code is None else code
    if path.is_file():
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest() if code is None else f"{digest.hexdigest()}:{source.rpartition(':')[2]}"
    if path.is_dir() or source in list_bundles():
        return _recorded(kind, read_config(locate_bundle(source)))
    return source


def _recorded(kind: str, config: BundleConfig) -> str | None:
    return next((entry.sha256 for own, entry in config.networks.items() if own == kind), None)


def _said(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
