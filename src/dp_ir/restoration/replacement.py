"""A bundle with some of its networks replaced, all named by texts as on a command line."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.checkpoints.overrides import parse_overrides_by_kind
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.trained_with import UnseenPartnersWarning
from dp_ir.runtime.engines import Engine
from dp_ir.runtime.precision import Precision

LOADERS = {"restorer": load_restorer, "denoiser": load_denoiser}
"""The networks that can be brought along from elsewhere, and what loads them."""


def restoration_of(
    bundle: str,
    sources: Mapping[str, str | None],
    stated: Sequence[str],
    *,
    device: str,
    precision: Precision,
    engine: Engine = "torch",
    settings: Mapping[str, Any],
) -> Restoration:
    """A bundle with some of its networks replaced.

    Args:
        bundle: name, folder or hub id.
        sources: what to use instead of its "restorer", "denoiser" and "fusion"; None for the bundle's own.
        stated: "KIND.KEY=VALUE" texts, see `parse_overrides_by_kind`; they may be about the bundle's own networks.
        device: where the networks run.
        precision: of the networks.
        engine: what runs them.
        settings: fields of `BundleSettings` that replace the bundle's; None for the bundle's own.

    Raises:
        DPIRError: a network cannot be loaded, or cannot run with these settings.
    """
    facts = parse_overrides_by_kind(stated, LOADERS)
    networks: dict[str, Any] = {kind: source for kind, source in sources.items() if source is not None}
    for kind, load in LOADERS.items():
        if kind in networks or kind in facts:
            networks[kind] = load(networks.get(kind, bundle), **facts.get(kind, {}))
    changes = {name: value for name, value in settings.items() if value is not None}
    with warnings.catch_warnings():
        if 0 in (
            changes.get("tau"),
            changes.get("detail"),
        ):  # the fusion will not run, so whom it was trained with does not matter
            warnings.simplefilter("ignore", UnseenPartnersWarning)
        restoration = Restoration.from_pretrained(
            bundle, **networks, device=device, precision=precision, engine=engine, **changes
        )
    if restoration.settings.tau == 0 and "tau" not in changes and {"denoiser", "fusion"} & set(networks):
        warnings.warn(
            f"The bundle {bundle} gives the restorer's own result (its tau is 0), so that no denoiser or fusion is "
            "used: choose a step where the diffusion starts, such as --tau 400.",
            stacklevel=2,
        )
    return restoration
