"""The restoration floor: the pipeline of restorer, denoiser, fusion and sampler, and batches of files.

The pipeline's names are handed on when they are first used, so that planning a batch does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_ir.checkpoints.contract import NetworkInfo
    from dp_ir.restoration.partners import UnseenPartnersWarning
    from dp_ir.restoration.pipeline import Restoration, RestorationResult

_HOMES = {
    "NetworkInfo": "dp_ir.checkpoints.contract",
    "Restoration": "dp_ir.restoration.pipeline",
    "RestorationResult": "dp_ir.restoration.pipeline",
    "UnseenPartnersWarning": "dp_ir.restoration.partners",
}

__all__ = ["NetworkInfo", "Restoration", "RestorationResult", "UnseenPartnersWarning"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
