"""DP-IR: perceptual image restoration with modular diffusion (arXiv 2411.05993).

The names below are handed on from their packages when they are first used, so that importing this package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dp_ir.checkpoints.bundle import list_bundles
    from dp_ir.checkpoints.contract import NetworkInfo
    from dp_ir.checkpoints.loading import load_denoiser, load_restorer
    from dp_ir.checkpoints.network_file import load_network, save_network
    from dp_ir.diffusion.schedule import NoiseSchedule
    from dp_ir.errors import DPIRError
    from dp_ir.image import Picture, read_image, write_image
    from dp_ir.restoration.pipeline import Restoration, RestorationResult
    from dp_ir.runtime.allocator import keep_freed_memory

    __version__: str

_HOMES = {
    "DPIRError": "dp_ir.errors",
    "NetworkInfo": "dp_ir.checkpoints.contract",
    "NoiseSchedule": "dp_ir.diffusion.schedule",
    "Picture": "dp_ir.image",
    "Restoration": "dp_ir.restoration.pipeline",
    "RestorationResult": "dp_ir.restoration.result",
    "keep_freed_memory": "dp_ir.runtime.allocator",
    "list_bundles": "dp_ir.checkpoints.bundle",
    "load_denoiser": "dp_ir.checkpoints.loading",
    "load_network": "dp_ir.checkpoints.network_file",
    "load_restorer": "dp_ir.checkpoints.loading",
    "read_image": "dp_ir.image",
    "save_network": "dp_ir.checkpoints.network_file",
    "write_image": "dp_ir.image",
}

__all__ = [
    "DPIRError",
    "NetworkInfo",
    "NoiseSchedule",
    "Picture",
    "Restoration",
    "RestorationResult",
    "__version__",
    "keep_freed_memory",
    "list_bundles",
    "load_denoiser",
    "load_network",
    "load_restorer",
    "read_image",
    "save_network",
    "write_image",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("dp-ir")
    elif name in _HOMES:
        from importlib import import_module

        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
