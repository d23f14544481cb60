"""Reading and writing weight files; nothing in a file is ever executed.

Two formats are read: safetensors, and the files of `torch.save` through the restricted unpickler
(`weights_only=True`) without a fallback. TorchScript, `torch.package` archives, compressed archives and pickles that
name anything but tensors are refused. What a file is is told from its content; its name does not matter. One format is
written: safetensors.
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
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from dp_ir.checkpoints.foreign.unwrap import check_tensors, shown, unwrap
from dp_ir.errors import CheckpointError, UnsafeCheckpointError
from dp_ir.part_files import replacing

OWN_ENTRY = "dp_ir"
"""The metadata of a safetensors file under which this package describes the network; its names are exact."""

WeightFormat = Literal["safetensors", "torch-zip", "torch-legacy"]

_LEGACY_PICKLES = 5  # magic number, protocol, system information, the object, storage keys
_LEGACY_READ_LIMIT = 64 * 2**20  # opcodes live in the first part of the file, raw storages follow
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")  # the first object in files of the old torch.save
_PLAIN_GLOBALS = re.compile(
    r"collections\.OrderedDict|torch\.\w+|torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_\w+|torch\.nn\.parameter\.\w+"
)  # what tensors are made of: storages, dtypes, sizes, and functions that put them together
_HEAD = 512
_OTHER_FILES = (
    (0, b"version https://git-lfs", "a pointer of Git LFS to the real file, which was not fetched: run `git lfs pull`"),
    (0, b"<!doctype html", "a web page, perhaps one that asks to confirm a download: fetch the file again"),
    (0, b"<html", "a web page, perhaps one that asks to confirm a download: fetch the file again"),
    (0, b"\x89hdf\r\n", "an HDF5 file, as Keras and MATLAB write"),
    (512, b"\x89hdf\r\n", "an HDF5 file, as MATLAB writes"),
    (0, b"matlab 5.0", "an old MATLAB file"),
    (0, b"\x93numpy", "a NumPy array"),
    (0, b"gguf", "a GGUF file"),
    (0, b"\x1f\x8b", "compressed by gzip: unpack it"),
    (0, b"7z\xbc\xaf", "a 7-Zip archive: unpack it"),
    (0, b"rar!", "a RAR archive: unpack it"),
    (0, b"\xfd7zxz", "compressed by xz: unpack it"),
    (257, b"ustar", "a tar archive: unpack it"),
    (0, b"\x89png", "an image"),
    (0, b"\xff\xd8\xff", "an image"),
)
"""Offset, first bytes (in lower case) and name of what people take for weight files."""


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
        head = handle.read(_HEAD + 16)
    if size == 0:
        raise CheckpointError(f"{path} is empty: expected a safetensors file or a file of torch.save.")
    if head.startswith(b"PK\x03\x04"):
        _check_archive(path, size)
        return "torch-zip"
    if _LEGACY_MAGIC in head[:32]:
        return "torch-legacy"
    if head[8:9] == b"{":
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        if names := _foreign_globals(path):
            raise _unsafe(path, names)
        raise CheckpointError(
            f"{path} is a pickle, but not one of torch.save, or a damaged one: save the weights with torch.save or as "
            "safetensors."
        )
    lower = head.lower()
    for offset, start, name in _OTHER_FILES:
        if lower.lstrip().startswith(start) if offset == 0 else lower[offset:].startswith(start):
            raise CheckpointError(f"{path} is {name}; expected a weight file: safetensors, or a file of torch.save.")
    raise CheckpointError(
        f"{path} is not a weight file (it begins with {head[:8]!r}): expected safetensors or a file of torch.save."
    )


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file, on the CPU, in the precision they are stored in.

    However it is wrapped, the one state dict in the file is found, and prefixes that training code leaves on every name
    are removed, see `unwrap`; names in files of this package stay as they are.

    Args:
        path: a safetensors file, or a file of `torch.save`.

    Returns:
        Parameter names and tensors.

    Raises:
        CheckpointError: the file is missing, truncated, not a weight file, or holds no state dict of plain tensors.
        UnsafeCheckpointError: loading would execute code; the sentence names what it asked for.
    """
    content, source = read_content(path)
    own = weight_format(path) == "safetensors" and OWN_ENTRY in read_metadata(path)
    tensors: dict[str, Tensor] = content if own else unwrap(content, source)
    check_tensors(tensors, source, Path(path).stat().st_size)
    return tensors


def read_content(path: str | Path) -> tuple[Any, str]:
    """Read everything that a weight file holds, unchecked, and what to call the file in errors.

    Raises:
        CheckpointError, UnsafeCheckpointError: as `read_state_dict`, but not for what the file holds.
    """
    path = _existing(path)
    found = weight_format(path)
    source = _called(path, found)
    content = _load_safetensors(path, source) if found == "safetensors" else _load_restricted(path, found, source)
    return content, source


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
    except Exception as error:  # the parser has many ways to say that a file is not what it should be
        raise _damaged(_called(path, found), error) from error


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
    with replacing(Path(path), CheckpointError) as beside:
        beside.write_bytes(data)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder: expected a weight file.")
    if not path.is_file():
        raise CheckpointError(f"There is no weight file {path}: check the path.")
    return path


def _called(path: Path, found: WeightFormat) -> str:
    """What to call a file in errors: its path, and what it is where its name says otherwise."""
    if (path.suffix == ".safetensors") == (found == "safetensors"):
        return str(path)
    return f"{path} (in truth a {'safetensors file' if found == 'safetensors' else 'file of torch.save'})"


def _damaged(source: str | Path, error: BaseException) -> CheckpointError:
    # torch wraps what went wrong in advice, among others to load the file unsafely
    said = re.sub(r".*WeightsUnpickler error: ", "", " ".join(str(error).split()))
    reason = re.split(r"\. | Check the documentation", said)[0][:160]
    reason = reason.rstrip(".") or type(error).__name__
    return CheckpointError(f"{source} is truncated or damaged ({reason}): fetch or write it again.")


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
        raise CheckpointError(
            f"{path} is a zip file but not one of torch.save (it holds {shown(entry.filename for entry in entries)}): "
            "expected a weight file."
        )
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > size:
        raise UnsafeCheckpointError(
            f"{path} is a compressed or overlapping archive of {unpacked} bytes in {size}, which torch.save never "
            "writes: save the weights again with torch.save or as safetensors."
        )


def _load_safetensors(path: Path, source: str) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except Exception as error:  # the parser has many ways to say that a file is not what it should be
        raise _damaged(source, error) from error


def _load_restricted(path: Path, found: WeightFormat, source: str) -> Any:
    with path.open("rb") as handle:  # torch goes by the name of a file it opens itself
        if found == "torch-zip":
            try:
                unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(handle)
            except Exception as error:
                raise _damaged(source, error) from error
            if unsafe:
                raise _unsafe(source, unsafe)
            handle.seek(0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # storage deprecations concern torch, not the reader of this file
                return torch.load(handle, map_location="cpu", weights_only=True)
        except Exception as error:
            names = re.findall(r"GLOBAL (\S+)", str(error))
            if found == "torch-legacy":
                names += _foreign_globals(path)
            if names:
                raise _unsafe(source, names) from error
            raise _damaged(source, error) from error


def _unsafe(source: str | Path, names: Iterable[str]) -> UnsafeCheckpointError:
    asked = shown(sorted(set(names)), limit=20)
    return UnsafeCheckpointError(
        f"{source} asks to run {asked} on loading, which plain weights never need; nothing was executed: where you "
        "trust the file, save its state_dict() as safetensors."
    )


def _foreign_globals(path: Path) -> list[str]:
    """Names that a pickle would import and tensors do not need; it is parsed, never unpickled."""
    with path.open("rb") as handle:
        stream = io.BytesIO(handle.read(_LEGACY_READ_LIMIT))
    found: list[str] = []
    try:
        for _ in range(_LEGACY_PICKLES):
            found.extend(_named_globals(stream))
    except Exception:  # whatever is wrong further on, the names met so far are what the message is for
        pass
    return [name for name in found if not _PLAIN_GLOBALS.fullmatch(name)]


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
