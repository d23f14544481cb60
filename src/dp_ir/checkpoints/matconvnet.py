"""Reading the MATLAB files in which FFDNet was released: networks of MatConvNet in the format of MATLAB 7.3 (HDF5).

HDF5 can do far more than hold numbers. Of all of it only groups, plain data sets and object references inside the one
file are followed; links to elsewhere, data sets stored or mapped elsewhere and sizes that no such network has are
refused, and compressed data is unpacked here, never to more than its stated size.
"""

from __future__ import annotations

import importlib
import math
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dp_ir.errors import CheckpointError, MissingExtraError, UnsafeCheckpointError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_OFFSETS = (0, 512, 1024, 2048)  # MATLAB writes its own header of 512 bytes first
_VERSION_5 = b"MATLAB 5.0 MAT-file"

_MAX_VALUES = 2**24  # in one file, every data set counted as often as it is read: 20 times the largest FFDNet
_MAX_LAYERS = 512

_SUB_CHANNELS = (0, 2, 1, 3)
"""MATLAB counts the four pixels of a 2x2 square down its columns, PyTorch along its rows."""


def is_matconvnet(path: str | Path) -> bool:
    """Whether a file begins as MATLAB files do, of version 5 or of version 7.3 (HDF5); its name does not matter.

    False for what cannot be read, which is for the reader of weight files to report.
    """
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(_HDF5_OFFSETS[-1] + len(_HDF5))
    except OSError:
        return False
    return head.startswith(b"MATLAB ") or any(head.startswith(_HDF5, offset) for offset in _HDF5_OFFSETS)


def read_matconvnet(path: str | Path) -> dict[str, Tensor]:
    """Read a released FFDNet (cszn/FFDNet), grey or colour.

    Args:
        path: a MATLAB 7.3 file that holds `net.layers`, batch normalisation merged into the convolutions.

    Returns:
        A state dict of `dp_ir.networks.FFDNet`, float32: `model.0.weight`, `model.0.bias`, `model.2.weight`, ...

    Raises:
        CheckpointError: the file is missing, truncated, of another version, or holds something else.
        UnsafeCheckpointError: it points outside of itself, or unpacks to an absurd size.
        MissingExtraError: h5py is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no MATLAB file {path}: check the path.")
    with path.open("rb") as handle:
        if handle.read(len(_VERSION_5)) == _VERSION_5:
            raise CheckpointError(
                f"{path} is a MATLAB file of version 5: expected version 7.3; save it again with -v7.3."
            )
    if not is_matconvnet(path):
        raise CheckpointError(f"{path} is not a MATLAB file: expected version 7.3, as FFDNet was released.")
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            convolutions = _Reader(h5py, file, path).convolutions()
        return _state_dict(convolutions, path)
    except CheckpointError:
        raise
    except Exception as error:  # h5py has no error type of its own
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CheckpointError(f"{path} is truncated or damaged ({reason}): fetch it again.") from error


def _h5py() -> ModuleType:
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError as error:
        if error.name != "h5py":
            raise  # h5py is there, and something it needs itself is not: its own message says more
        raise MissingExtraError("Reading MATLAB files", "h5py", "mat") from error


class _Reader:
    """Reads MATLAB structures, cells, texts and arrays out of an open file, and nothing else."""

    def __init__(self, h5py: ModuleType, file: Any, path: Path) -> None:
        self.h5py, self.file, self.path = h5py, file, path
        self.left = _MAX_VALUES

    def convolutions(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (out, in, 3, 3) and biases (out,) of the convolutions of `net.layers`, in PyTorch's order of axes."""
        layers = self.cell(self.member(self.member(self.file, "net"), "layers"))
        types = [self.text(self.member(layer, "type")) for layer in layers]
        count = types.count("conv")
        if count < 2 or types != ["SubP", "concat", *["conv", "relu"] * (count - 1), "conv", "SubP"]:
            raise self.other(f"the layers {', '.join(types[:6])}{', ...' if len(types) > 6 else ''}")
        return [self.convolution(layer) for layer, kind in zip(layers, types, strict=True) if kind == "conv"]

    def convolution(self, layer: Any) -> tuple[Tensor, Tensor]:
        """Weight and bias of one layer; MATLAB's axes (height, width, in, out) stand in the file in reverse order."""
        stored = self.cell(self.member(layer, "weights"))
        if len(stored) != 2:
            raise self.other(f"a convolution of {len(stored)} arrays")
        weight, bias = (torch.from_numpy(self.values(item).astype(np.float32)) for item in stored)
        bias = bias.flatten()
        if weight.ndim != 4 or weight.shape[2:] != (3, 3) or bias.numel() != weight.shape[0]:
            raise self.other(f"a convolution of shapes {tuple(weight.shape)} and {tuple(bias.shape)}")
        return weight.transpose(2, 3).contiguous(), bias

    def member(self, group: Any, name: str) -> Any:
        """A member of a structure, that is a group, but never one that lies behind a soft or an external link."""
        if not isinstance(group, self.h5py.Group) or group.get(name, getlink=True) is None:
            raise self.other(f"no {name!r} where a network of MatConvNet has it")
        if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
            raise UnsafeCheckpointError(
                f"{self.path} has a link to elsewhere for {name!r}, which MATLAB never writes; it was not followed: "
                "fetch the file from its author."
            )
        return group[name]

    def cell(self, item: Any) -> list[Any]:
        """The objects that a MATLAB cell array refers to."""
        self.check_plain(item)
        refers = self.h5py.check_ref_dtype(item.dtype) is self.h5py.Reference
        if not refers or item.chunks is not None or item.size > _MAX_LAYERS:
            raise self.other(f"{item.size} values of {item.dtype} where a cell array was expected")
        return [self.file[reference] for reference in item[()].ravel()]

    def text(self, item: Any) -> str:
        """A short MATLAB text."""
        self.check_plain(item)
        if item.dtype.kind != "u" or item.size > 64:
            raise self.other(f"{item.size} values of {item.dtype} where a text was expected")
        return "".join(chr(code) for code in self.values(item).ravel())

    def values(self, item: Any) -> np.ndarray[Any, Any]:
        """The numbers of a data set."""
        self.check_plain(item)
        if item.dtype.kind not in "fu" or item.dtype.itemsize > 8:
            raise self.other(f"values of {item.dtype}")
        self.left -= item.size
        if self.left < 0 or math.prod(item.chunks or ()) > _MAX_VALUES:
            raise UnsafeCheckpointError(
                f"{self.path} unpacks to more than {_MAX_VALUES} numbers, which no FFDNet has: fetch it from "
                "its author."
            )
        return item[()] if item.chunks is None else self.unpacked(item)

    def unpacked(self, item: Any) -> np.ndarray[Any, Any]:
        """A data set that is stored in compressed blocks, none of which unpacks to more than it should.

        HDF5's own reader lets a block grow without bounds.
        """
        filters = item.id.get_create_plist()
        names = [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
        if names not in ([], [self.h5py.h5z.FILTER_DEFLATE]):
            raise self.other(f"a data set packed by the filters {names}, where deflate was expected")
        result = np.zeros(item.shape, item.dtype)
        block_bytes = math.prod(item.chunks) * item.dtype.itemsize
        for number in range(item.id.get_num_chunks()):
            block = item.id.get_chunk_info(number)
            if block.size > 2 * block_bytes + 1024:
                raise ValueError(f"a block takes {block.size} bytes for {block_bytes} unpacked")
            skipped, packed = item.id.read_direct_chunk(block.chunk_offset)
            unpacker = zlib.decompressobj()
            packs = bool(names) and not skipped
            data = unpacker.decompress(packed, block_bytes + 1) if packs else packed
            if len(data) != block_bytes or (packs and not unpacker.eof):
                raise ValueError(f"a block does not unpack to the {block_bytes} bytes it should")
            inside = tuple(
                slice(start, start + length) for start, length in zip(block.chunk_offset, item.chunks, strict=True)
            )
            target = result[inside]
            target[...] = np.frombuffer(data, item.dtype).reshape(item.chunks)[tuple(map(slice, target.shape))]
        return result

    def check_plain(self, item: Any) -> None:
        """Refuse what is no data set, and data sets that are stored or mapped in other files."""
        if not isinstance(item, self.h5py.Dataset) or item.shape is None:
            raise self.other(f"a {type(item).__name__} where an array was expected")
        if item.is_virtual or item.external:
            raise UnsafeCheckpointError(
                f"{self.path} has data in another file, which MATLAB never writes; it was not opened: fetch the file "
                "from its author."
            )

    def other(self, found: str) -> CheckpointError:
        """The error for a file that is no FFDNet."""
        return CheckpointError(
            f"{self.path} is not a released FFDNet: found {found}; expected net.layers with SubP, concat, convolutions "
            "and ReLUs in turn, SubP."
        )


def _state_dict(convolutions: list[tuple[Tensor, Tensor]], path: Path) -> dict[str, Tensor]:
    """Name the convolutions as KAIR does, and bring the sub-pixels of the first and the last into PyTorch's order."""
    entering, leaving = convolutions[0][0].shape[1], convolutions[-1][0].shape[0]
    if entering != leaving + 1 or leaving % 4:
        raise CheckpointError(
            f"{path} holds a network from {entering} to {leaving} channels: expected an FFDNet with one noise level, "
            "13 to 12 for colour or 5 to 4 for grey."
        )
    order = torch.tensor([4 * colour + sub for colour in range(leaving // 4) for sub in _SUB_CHANNELS])
    first, bias = convolutions[0]
    last = convolutions[-1]
    convolutions = [
        (torch.cat((first[:, order], first[:, -1:]), dim=1), bias),
        *convolutions[1:-1],
        (last[0][order], last[1][order]),
    ]
    state: dict[str, Tensor] = {}
    for number, (weight, bias) in enumerate(convolutions):
        state[f"model.{2 * number}.weight"], state[f"model.{2 * number}.bias"] = weight, bias
    return state
