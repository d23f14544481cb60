"""Whether a fusion network runs with the restorer and the denoiser it was trained with."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from dp_ir.checkpoints.bundle import list_bundles, read_config, zoo_folder
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.network_file import Kind, NetworkRecord
from dp_ir.checkpoints.trained_for import chain_settings

_KINDS: tuple[Kind, ...] = ("restorer", "denoiser")


class UnseenPartnersWarning(UserWarning):
    """A fusion network runs with a restorer or denoiser it was not trained with: it works, perhaps not as well."""


def network_name(record: NetworkRecord) -> str:
    """What to call a network: its architecture, and the file it was published in, such as "rlfn of rlfn_x4.pth"."""
    architecture = record.config.get("network", record.architecture)  # of those that spandrel knows, spandrel's name
    origin = record.card.get("origin")
    file = origin.get("file") if isinstance(origin, Mapping) else None
    return f"{architecture} of {file}" if file else str(architecture)


def partners_of(records: Mapping[Kind, NetworkRecord]) -> dict[str, str]:
    """What a fusion's card says of the networks it is trained with: per kind, an identity and a name.

    Args:
        records: of the restorer and the denoiser.

    Returns:
        "restorer_sha256", "denoiser_sha256", "restorer" and "denoiser".
    """
    found = [kind for kind in _KINDS if kind in records]
    identities = {f"{kind}_sha256": records[kind].sha256 for kind in found}
    return {**identities, **{str(kind): network_name(records[kind]) for kind in found}}


def named_partners(partners: Mapping[str, str], records: Mapping[Kind, NetworkRecord]) -> dict[str, str]:
    """Partners as a card has them, with the names that their identities have among `records`."""
    known = {record.sha256: network_name(record) for record in records.values()}
    names = {str(kind): known.get(partners.get(f"{kind}_sha256", "")) for kind in _KINDS}
    return {**{kind: name for kind, name in names.items() if name}, **partners}


def warn_of_unseen_partners(
    partners: Mapping[str, str], present: Collection[Kind], records: Mapping[Kind, NetworkRecord], *, stacklevel: int
) -> None:
    """Compare the networks that are present with those that a fusion names as its partners.

    Args:
        partners: identities by "restorer_sha256" and "denoiser_sha256", as in a fusion's card, and names by "restorer"
            and "denoiser" where they are known; what is not named is not compared.
        present: kinds of the networks there are.
        records: what is known of them; a network without a record is taken for another one.
        stacklevel: as for `warnings.warn`, seen from the caller of this function.
    """
    expected, met = [], []
    for kind in _KINDS:
        identity, record = partners.get(f"{kind}_sha256"), records.get(kind)
        if identity is None or kind not in present or (record is not None and record.sha256 == identity):
            continue
        name = partners.get(kind) or _shipped().get(identity)
        expected.append(f"the {kind} {_named(name, identity)}")
        met.append(_named(network_name(record), record.sha256) if record else f"a {kind} without a record")
    if expected:
        warnings.warn(
            f"The fusion network was trained with {' and '.join(expected)}, and meets {' and '.join(met)} here: "
            "it works with others, perhaps not as well.",
            UnseenPartnersWarning,
            stacklevel=stacklevel + 1,
        )


def _shipped() -> dict[str, str]:
    """Names of the networks that ship with this package, by identity."""
    bundles = {name: read_config(zoo_folder() / name) for name in list_bundles()}
    entries = [(entry, name) for name, bundle in bundles.items() for entry in bundle.networks.values()]
    entries.sort(key=lambda pair: "/" not in pair[0].file)  # last, and so kept, are those whose folder holds the file
    return {entry.sha256: f"{entry.architecture} of {name}" for entry, name in entries}


def _named(name: str | None, identity: str) -> str:
    return f"{name} ({identity[:12]})" if name else identity[:12]


def records_of(networks: Mapping[Kind, LoadedNetwork]) -> dict[Kind, NetworkRecord]:
    """What is known of the networks that a file of this package could hold."""
    return {kind: network.record for kind, network in networks.items() if network.record is not None}


def fusion_partners(networks: Mapping[Kind, LoadedNetwork]) -> dict[str, str]:
    """Identities of the networks that the fusion says it was trained with, and the names of those that are here."""
    record = networks["fusion"].record if "fusion" in networks else None
    return named_partners(record.partners, records_of(networks)) if record is not None and record.partners else {}


def chain_of(networks: Mapping[Kind, LoadedNetwork]) -> dict[str, Any]:
    """The settings of the chain that the fusion says it was trained through; none where it says nothing of one.

    Raises:
        CheckpointError: its card's chain is none.
    """
    record = networks["fusion"].record if "fusion" in networks else None
    return {} if record is None else chain_settings(record.chain)
