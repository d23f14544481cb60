"""The restoration package: the pipeline of restorer, denoiser, fusion and sampler, in memory and from disk to disk.

Its names are handed on when they are first used, so that importing the package does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_ir.checkpoints.contract import NetworkInfo
    from dp_ir.restoration.pipeline import Restoration, RestorationResult
    from dp_ir.restoration.sampling_plan import UnseenChainWarning
    from dp_ir.restoration.tiling.tiler import TilingNote
    from dp_ir.restoration.trained_with import UnseenPartnersWarning
    from dp_ir.runtime.allocator import keep_freed_memory

_HOMES = {
    "NetworkInfo": "dp_ir.checkpoints.contract",
    "Restoration": "dp_ir.restoration.pipeline",
    "RestorationResult": "dp_ir.restoration.result",
    "TilingNote": "dp_ir.restoration.tiling.tiler",
    "UnseenChainWarning": "dp_ir.restoration.sampling_plan",
    "UnseenPartnersWarning": "dp_ir.restoration.trained_with",
    "keep_freed_memory": "dp_ir.runtime.allocator",
}

__all__ = [
    "NetworkInfo",
    "Restoration",
    "RestorationResult",
    "TilingNote",
    "UnseenChainWarning",
    "UnseenPartnersWarning",
    "keep_freed_memory",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
