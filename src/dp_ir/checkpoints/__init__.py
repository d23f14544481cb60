"""The checkpoints package: weight files, network files and bundles, read safely and written atomically."""

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.bundle import (
    Bundle,
    BundleConfig,
    BundleSettings,
    list_bundles,
    locate_bundle,
    read_bundle,
    read_config,
    write_bundle,
)
from dp_ir.checkpoints.network_file import (
    KINDS,
    Kind,
    NetworkRecord,
    describe,
    load_network,
    read_record,
    save_network,
)
from dp_ir.checkpoints.weights import read_metadata, read_state_dict, sha256, write_safetensors

__all__ = [
    "KINDS",
    "Bundle",
    "BundleConfig",
    "BundleSettings",
    "Kind",
    "NetworkRecord",
    "build",
    "describe",
    "list_bundles",
    "load_network",
    "locate_bundle",
    "read_bundle",
    "read_config",
    "read_metadata",
    "read_record",
    "read_state_dict",
    "save_network",
    "sha256",
    "write_bundle",
    "write_safetensors",
]
