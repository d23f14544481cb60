"""How a restoration is run: the settings that stand for themselves, and what replacing a fusion makes of a bundle's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dp_ir.checkpoints.bundle import BundleSettings
from dp_ir.checkpoints.network_file import NetworkRecord
from dp_ir.checkpoints.trained_for import chain_settings
from dp_ir.errors import DPIRError
from dp_ir.restoration.seeds import plain
from dp_ir.sampling_settings import SETTINGS

DEFAULT_SETTINGS = BundleSettings()
"""What `Restoration.from_parts` uses unless told otherwise."""


def changed_settings(settings: BundleSettings, changes: Mapping[str, Any]) -> BundleSettings:
    """Settings with some fields replaced; raises DPIRError where there is no such field."""
    try:
        return replace(settings, **{name: plain(value) for name, value in changes.items()})
    except TypeError as error:
        raise DPIRError(f"Restoration has no such setting ({error}): see BundleSettings.") from error


def settings_with_fusion(
    settings: BundleSettings, own: NetworkRecord | None, given: NetworkRecord | None
) -> BundleSettings:
    """The settings of a bundle whose fusion is replaced by another.

    The chain that a fusion was trained through, and the default of its dial, come and go with it: one that was trained
    for estimates gives too little in a single call, so in the place of one that has a chain it is run as
    `DEFAULT_SETTINGS` say.

    Args:
        settings: the bundle's.
        own: what is known of the fusion that is replaced; None where there is none.
        given: what is known of the other, None for nothing.

    Raises:
        CheckpointError: a card's chain is none.
    """
    if given is not None and given.chain:
        return replace(settings, **chain_settings(given.chain), detail=DEFAULT_SETTINGS.detail)
    if own is not None and own.chain:
        return replace(settings, **{name: getattr(DEFAULT_SETTINGS, name) for name in SETTINGS})
    return settings
