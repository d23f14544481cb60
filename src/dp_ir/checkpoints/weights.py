"""Reading and writing weight files; nothing in a file is ever executed.

Two formats are read: safetensors, and the files of `torch.save` through the restricted unpickler
(`weights_only=True`) without a fallback. TorchScript, `torch.package` archives, compressed archives and pickles that
name anything but tensors are refused. One format is written: safetensors.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from dp_ir.checkpoints.files import write_atomically
from dp_ir.errors import CheckpointError, UnsafeCheckpointError

WRAPPING_KEYS = ("params_ema", "params-ema", "params", "model_state_dict", "state_dict", "model", "net")
"""Keys under which published training code puts the state dict, the averaged weights first."""

WeightFormat = Literal["safetensors", "torch-zip", "torch-legacy"]

_LEGACY_PICKLES = 5  # magic number, protocol, system information, the object, storage keys
_LEGACY_READ_LIMIT = 64 * 2**20  # opcodes live in the first part of the file, raw storages follow


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of the bytes of a file.

    Raises:
        CheckpointError: the file is missing or cannot be read.
    """
    path = _existing(path)
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def weight_format(path: str | Path) -> WeightFormat:
    """Tell from its first bytes what kind of weight file this is; the name does not matter.

    Raises:
        CheckpointError: the file is missing, empty, or not a weight file.
        UnsafeCheckpointError: a TorchScript or other archive that holds code, or a compressed archive.
    """
    path = _existing(path)
    size = path.stat().st_size
    with path.open("rb") as handle:
        head = handle.read(16)
    if size == 0:
        raise CheckpointError(f"{path} is empty: expected a safetensors file or a file of torch.save.")
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path, size)
        return "torch-zip"
    if len(head) > 8 and head[8:9] == b"{":
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "torch-legacy"
    raise CheckpointError(
        f"{path} is not a weight file (it begins with {head[:8]!r}): expected safetensors or a file of torch.save."
    )


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file, on the CPU, in the precision they are stored in.

    A state dict wrapped in one of `WRAPPING_KEYS` is unwrapped, and the prefix `module.` that data-parallel training
    leaves on every key is removed.

    Args:
        path: a safetensors file, or a file of `torch.save`.

    Returns:
        Parameter names and tensors.

    Raises:
        CheckpointError: the file is missing, truncated, not a weight file, or holds no state dict.
        UnsafeCheckpointError: loading would execute code; the sentence names what it asked for.
    """
    path = _existing(path)
    if weight_format(path) == "safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
            raise _damaged(path, error) from error
    return _flatten(_load_restricted(path), path)


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the text entries in the header of a safetensors file; empty where it has none.

    Raises:
        CheckpointError: the file is missing, damaged or not a safetensors file.
    """
    path = _existing(path)
    if (found := weight_format(path)) != "safetensors":
        raise CheckpointError(f"{path} is a {found} file, which has no metadata: expected a safetensors file.")
    try:
        with safe_open(path, framework="pt") as handle:
            return dict(handle.metadata() or {})
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and text metadata as one safetensors file, atomically.

    Tensors are copied to the CPU and made contiguous; tensors that share memory are written apart.

    Raises:
        CheckpointError: the file cannot be written.
    """
    seen: set[int] = set()
    separate: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        storage = plain.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != plain.nbytes:
            plain = plain.clone(memory_format=torch.contiguous_format)
        seen.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    data = save(separate, metadata=dict(metadata))
    write_atomically(Path(path), lambda partial: _write_bytes(partial, data))


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: expected a weight file.")
    if not path.is_file():
        raise CheckpointError(f"There is no weight file {path}: check the path.")
    return path


def _damaged(path: Path, error: BaseException) -> CheckpointError:
    reason = " ".join(str(error).split())[:160] or type(error).__name__
    return CheckpointError(f"{path} is truncated or damaged ({reason}): fetch or write it again.")


def _check_archive(path: Path, size: int) -> None:
    """Look at the table of contents of a zip file before torch opens it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error
    inner = [PurePosixPath(*PurePosixPath(entry.filename).parts[1:]).as_posix() for entry in entries]
    if "constants.pkl" in inner or any(name == "code" or name.startswith("code/") for name in inner):
        raise UnsafeCheckpointError(
            f"{path} is a TorchScript program, which carries code: save its state_dict() as safetensors instead."
        )
    if ".data/extern_modules" in inner:
        raise UnsafeCheckpointError(
            f"{path} is a torch.package archive, which carries code: save the state_dict() as safetensors instead."
        )
    if "data.pkl" not in inner:
        raise CheckpointError(f"{path} is a zip file but not one of torch.save: expected a weight file.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        raise UnsafeCheckpointError(
            f"{path} is a compressed or overlapping archive of {unpacked} bytes in {size}, which torch.save never "
            "writes: save the weights again with torch.save or as safetensors."
        )


def _load_restricted(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        try:
            unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception as error:
            raise _damaged(path, error) from error
        if unsafe:
            raise _unsafe(path, unsafe)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # storage deprecations concern torch, not the reader of this file
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if match := re.search(r"GLOBAL (\S+)", str(error)):
            raise _unsafe(path, [match[1], *_foreign_globals(path)]) from error
        raise _damaged(path, error) from error


def _unsafe(path: Path, names: Iterable[str]) -> UnsafeCheckpointError:
    return UnsafeCheckpointError(
        f"{path} asks to run {', '.join(sorted(set(names)))} on loading, which plain weights never need; nothing was "
        "executed: where you trust the file, save its state_dict() as safetensors."
    )


def _foreign_globals(path: Path) -> list[str]:
    """Names that a file of the old, unzipped format would import from outside torch; it is parsed, never unpickled."""
    with path.open("rb") as handle:
        stream = io.BytesIO(handle.read(_LEGACY_READ_LIMIT))
    found: list[str] = []
    try:
        for _ in range(_LEGACY_PICKLES):
            found.extend(_named_globals(stream))
    except Exception:  # whatever is wrong further on, the names met so far are what the message is for
        pass
    return [name for name in found if name.split(".")[0] not in {"torch", "collections"}]


def _named_globals(stream: io.BytesIO) -> Iterator[str]:
    """Every `module.name` that the next pickle of a stream imports."""
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in {"GLOBAL", "INST"}:
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(strings[-2:])
        elif isinstance(argument, str):
            strings.append(argument)


def _flatten(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the one mapping of names to tensors in what a file held."""
    if isinstance(content, Mapping):
        for key in WRAPPING_KEYS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        found = (
            f"the keys {', '.join(map(str, list(content)[:5]))}"
            if isinstance(content, Mapping)
            else f"a {type(content).__name__}"
        )
        raise CheckpointError(f"{path} holds {found}: expected a state dict, names with tensors.")
    prefixed = all(str(name).startswith("module.") for name in content)
    return {str(name)[len("module.") if prefixed else 0 :]: value for name, value in content.items()}
