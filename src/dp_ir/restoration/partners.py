"""Whether a fusion network runs with the restorer and the denoiser it was trained with."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping

from dp_ir.checkpoints.network_file import Kind, NetworkRecord


class UnseenPartnersWarning(UserWarning):
    """A fusion network runs with a restorer or denoiser it was not trained with: it works, perhaps not as well."""


def warn_of_unseen_partners(
    partners: Mapping[str, str], present: Collection[Kind], records: Mapping[Kind, NetworkRecord], *, stacklevel: int
) -> None:
    """Compare the networks that are present with those that a fusion names as its partners.

    Args:
        partners: identities by "restorer_sha256" and "denoiser_sha256", as in a fusion's card; what is not named is not
            compared.
        present: kinds of the networks there are.
        records: what is known of them; a network without a record is taken for another one.
        stacklevel: as for `warnings.warn`, seen from the caller of this function.
    """
    kinds: tuple[Kind, ...] = ("restorer", "denoiser")
    strangers = []
    for kind in kinds:
        expected, record = partners.get(f"{kind}_sha256"), records.get(kind)
        if expected is None or kind not in present or (record is not None and record.sha256 == expected):
            continue
        found = "a network without a record" if record is None else f"{record.architecture} {record.sha256[:12]}"
        strangers.append(f"the {kind} {expected[:12]} (here: {found})")
    if strangers:
        warnings.warn(
            f"The fusion network was trained with {' and '.join(strangers)}: it works with others, "
            "perhaps not as well.",
            UnseenPartnersWarning,
            stacklevel=stacklevel + 1,
        )
