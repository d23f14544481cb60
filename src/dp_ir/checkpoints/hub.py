"""Which file a text names: one on this machine, or one on the hub, which is fetched."""

from __future__ import annotations

from pathlib import Path

from dp_ir.checkpoints.bundle import CONFIG_NAME, HUB_ID, list_bundles, locate_bundle
from dp_ir.errors import BundleError, CheckpointError
from dp_ir.extras import require

WEIGHT_SUFFIXES = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin"})
"""Endings that make a text the name of a weight file, whether it is there or not."""


def locate_file(source: str | Path, *, revision: str | None = None) -> Path | None:
    """Find the weight file that a source names.

    Args:
        source: a path, "owner/name/path/of/file.pth" on the hub, or "owner/name" where that repository holds one
            safetensors file and no bundle.
        revision: branch, tag or commit on the hub.

    Returns:
        The file, which need not be there where the source can be nothing else, as a path in a folder that is here; None
        where it names a bundle.

    Raises:
        CheckpointError, BundleError: the hub has no such file or repository.
        MissingExtraError: something on the hub without the `hub` extra.
    """
    path, text = Path(source), str(source)
    if text in list_bundles() or path.is_dir():
        return None
    match = None if path.exists() else HUB_ID.match(text)
    if match is not None and match["file"] is not None and not Path(path.parts[0]).is_dir():
        return fetch_file(match["repository"], match["file"], revision=revision)
    if path.exists() or path.suffix.lower() in WEIGHT_SUFFIXES:
        return path
    if match is None:
        return None
    folder = locate_bundle(text, revision=revision)
    files = list(folder.glob("*.safetensors"))
    return files[0] if len(files) == 1 and not (folder / CONFIG_NAME).is_file() else None


def fetch_file(repository: str, file: str, *, revision: str | None = None) -> Path:
    """Fetch one file of a repository on the hub, once; it is kept in the hub's cache.

    Raises:
        CheckpointError: the hub gave none; the sentence says why.
        MissingExtraError: the `hub` extra is not installed.
    """
    hub = require("huggingface_hub", f"Fetching {repository}/{file} (not a file here)", "hub")
    try:
        return Path(hub.hf_hub_download(repository, file, revision=revision))
    except Exception as error:  # every way a network can fail ends in the same sentence
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CheckpointError(
            f"There is no file {repository}/{file} here, and the hub gave none of that name ({reason}): check the name."
        ) from error


def publish(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a folder to a repository on the hub, which is made where it does not exist; gives its address.

    Raises:
        BundleError: the hub refused; the sentence says why.
        MissingExtraError: the `hub` extra is not installed.
    """
    hub = require("huggingface_hub", f"Publishing {repository}", "hub")
    try:
        hub.create_repo(repository, private=private, exist_ok=True)
        return str(hub.upload_folder(repo_id=repository, folder_path=folder))
    except Exception as error:  # every way a network can fail ends in the same sentence
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise BundleError(
            f"The hub did not take {repository} ({reason}): log in with `hf auth login`, and check the name."
        ) from error
