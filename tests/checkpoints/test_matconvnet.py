"""Released FFDNets in MATLAB's format: read right, and read with care.

The files are written here the way MATLAB 7.3 writes them: its own header, axes in reverse, every layer a structure that
the cell array `net.layers` refers to, kernels compressed by blocks of 16 input channels.
"""

from __future__ import annotations

import itertools
import sys
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from dp_ir.checkpoints.matconvnet import is_matconvnet, read_matconvnet
from dp_ir.errors import CheckpointError, MissingExtraError, UnsafeCheckpointError
from dp_ir.networks.ffdnet.detect import DETECTOR
from dp_ir.networks.ffdnet.model import FFDNet

Layer = dict  # type, and of convolutions the filters (height, width, in, out) and biases (out, 1) as MATLAB has them


def layers(*, colours: int = 3, features: int = 20, convolutions: int = 4, levels: int = 1) -> list[Layer]:
    rng = np.random.default_rng(0)
    widths = [4 * colours + levels, *[features] * (convolutions - 1), 4 * colours]
    stack: list[Layer] = [{"type": "SubP", "scale": 0.5}, {"type": "concat"}]
    for entering, leaving in itertools.pairwise(widths):
        filters = rng.normal(size=(3, 3, entering, leaving), scale=(9 * entering) ** -0.5).astype(np.float32)
        biases = rng.normal(size=(leaving, 1), scale=0.1).astype(np.float32)
        stack += [{"type": "conv", "filters": filters, "biases": biases}, {"type": "relu", "leak": 0.0}]
    return [*stack[:-1], {"type": "SubP", "scale": 2.0}]


def write_matlab(path: Path, stack: list[Layer]) -> Path:
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")

        def kept(name: str, values: np.ndarray, matlab: str, **options) -> h5py.Dataset:
            stored = references.create_dataset(name, data=values.T, **options)
            stored.attrs["MATLAB_class"] = np.bytes_(matlab)
            return stored

        def cell(parent: h5py.Group, name: str, items: list) -> None:
            stored = parent.create_dataset(name, (len(items), 1), h5py.ref_dtype)
            stored[:, 0] = [item.ref for item in items]
            stored.attrs["MATLAB_class"] = np.bytes_("cell")

        groups = []
        for number, layer in enumerate(stack):
            group = references.create_group(f"layer{number}")
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for field in ("type", "name"):
                text = layer["type"] if field == "type" else f"layer{number + 1}"
                kept(f"layer{number}/{field}", np.array([[ord(letter) for letter in text]], np.uint16), "char")
            for field in ("scale", "leak"):
                if field in layer:
                    kept(f"layer{number}/{field}", np.array([[layer[field]]]), "double")
            if layer["type"] == "conv":
                leaving, entering = layer["filters"].shape[:1:-1]
                blocks = (leaving, min(entering, 16), *layer["filters"].shape[1::-1])
                filters = kept(f"filters{number}", layer["filters"], "single", chunks=blocks, compression="gzip")
                biases = kept(f"biases{number}", layer["biases"], "single")
                cell(group, "weights", [filters, biases])
            else:
                empty = group.create_dataset("weights", data=np.zeros(2, np.uint64))
                empty.attrs["MATLAB_class"], empty.attrs["MATLAB_empty"] = np.bytes_("cell"), np.uint8(1)
            groups.append(group)
        net = file.create_group("net")
        net.attrs["MATLAB_class"] = np.bytes_("struct")
        cell(net, "layers", groups)
    text = b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: Fri Mar 23 21:54:51 2018 HDF5 schema 1.00 ."
    with path.open("r+b") as handle:
        handle.write(text.ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


@pytest.fixture
def released(tmp_path) -> Path:
    return write_matlab(tmp_path / "FFDNet.mat", layers())


def edited(path: Path, edit) -> Path:
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def denoised_by_matlab(stack: list[Layer], image: np.ndarray, sigma: float) -> np.ndarray:
    """What MatConvNet makes of an image (height, width, colours) with even sides, in double precision."""
    pixels = [(0, 0), (1, 0), (0, 1), (1, 1)]  # down the columns of a 2x2 square
    features = image.astype(np.float64)
    for layer in stack:
        if layer["type"] == "SubP" and layer["scale"] < 1:
            parts = [features[i::2, j::2, colour] for colour in range(features.shape[2]) for i, j in pixels]
            features = np.stack(parts, axis=2)
        elif layer["type"] == "SubP":
            small = features
            features = np.zeros((2 * small.shape[0], 2 * small.shape[1], small.shape[2] // 4))
            for channel in range(small.shape[2]):
                i, j = pixels[channel % 4]
                features[i::2, j::2, channel // 4] = small[:, :, channel]
        elif layer["type"] == "concat":
            features = np.concatenate((features, np.full((*features.shape[:2], 1), sigma)), axis=2)
        elif layer["type"] == "conv":  # MatConvNet does not flip its filters
            windows = sliding_window_view(np.pad(features, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
            features = np.einsum("hwcij,ijco->hwo", windows, layer["filters"]) + layer["biases"][:, 0]
        else:
            features = features.clip(min=0)
    return features


@pytest.mark.parametrize(
    "shape", [{}, {"colours": 1, "features": 8, "convolutions": 3}, {"features": 33, "convolutions": 2}]
)
def test_the_network_that_was_read_does_what_it_did_in_matlab(tmp_path, shape):
    stack = layers(**shape)
    state = read_matconvnet(write_matlab(tmp_path / "net.mat", stack))
    assert DETECTOR.matches(state)
    assert all(value.dtype == torch.float32 and value.is_contiguous() for value in state.values())
    network = FFDNet(**DETECTOR.config(state))
    network.load_state_dict(state)
    image = np.random.default_rng(1).random((10, 14, network.channels), np.float32)
    expected = denoised_by_matlab(stack, image, 0.1)
    with torch.no_grad():
        found = network(torch.from_numpy(image).permute(2, 0, 1)[None], torch.tensor([0.1]))[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_double_precision_and_files_without_compression_are_read(tmp_path, released):
    def rewrite(file):
        for name in [name for name in file["#refs#"] if name.startswith("filters")]:
            values = file["#refs#"][name][()]
            del file["#refs#"][name]
            number = name.removeprefix("filters")
            plain = file["#refs#"].create_dataset(name, data=values.astype(">f8"))
            file["#refs#"][f"layer{number}"]["weights"][0, 0] = plain.ref

    expected = read_matconvnet(released)
    found = read_matconvnet(edited(released, rewrite))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_matlab_files_are_known_by_their_first_bytes(tmp_path, released):
    assert is_matconvnet(released)
    assert is_matconvnet(str(released))
    plain, old, other = tmp_path / "plain.h5", tmp_path / "old.mat", tmp_path / "other.mat"
    with h5py.File(plain, "w") as file:
        file["x"] = 1.0
    old.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128))
    other.write_bytes(b"PK\x03\x04 MATLAB 7.3 MAT-file")
    assert [is_matconvnet(path) for path in (plain, old, other)] == [True, True, False]
    assert not is_matconvnet(tmp_path / "none.mat")
    assert not is_matconvnet(tmp_path)


def test_files_of_other_kinds_are_named_errors(tmp_path):
    path = tmp_path / "net.mat"
    with pytest.raises(CheckpointError, match="no MATLAB file"):
        read_matconvnet(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(128))
    with pytest.raises(CheckpointError, match=r"version 5.*expected version 7\.3"):
        read_matconvnet(path)
    path.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="not a MATLAB file"):
        read_matconvnet(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files_are_named_errors(released, keep):
    data = released.read_bytes()
    released.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_matconvnet(released)


def test_a_damaged_block_is_a_named_error(released):
    with h5py.File(released) as file:
        _, packed = file["#refs#/filters4"].id.read_direct_chunk((0, 0, 0, 0))
    data = bytearray(released.read_bytes())
    data[data.index(packed) + len(packed) // 2] ^= 0xFF
    released.write_bytes(data)
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_matconvnet(released)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda file: file.__delitem__("net"), "no 'net'"),
        (lambda file: file["net"].__delitem__("layers"), "no 'layers'"),
        (lambda file: file["#refs#/layer2"].__delitem__("type"), "no 'type'"),
        (lambda file: file["#refs#/layer2"].__delitem__("weights"), "no 'weights'"),
        (lambda file: (file.__delitem__("net"), file.create_dataset("net", data=1.0)), "no 'layers'"),
        (lambda file: (file["net"].__delitem__("layers"), file["net"].create_group("layers")), "a Group where"),
        (lambda file: (file["net"].__delitem__("layers"), file["net"].create_dataset("layers", data=[1.0])), "a cell"),
        (lambda file: file["net/layers"].__setitem__((2, 0), file["#refs#/filters4"].ref), "no 'type'"),
        (lambda file: file["net/layers"].__setitem__((3, 0), file["#refs#/layer1"].ref), "the layers SubP, concat"),
        (lambda file: file["#refs#/layer3/type"].__setitem__((..., 0), list(b"bnrm")), "bnrm"),
        (lambda file: file["#refs#/layer2/weights"].__setitem__((0, 0), file["#refs#/filters4"].ref), "20 to 12"),
        (lambda file: file["#refs#/layer4/weights"].__setitem__((1, 0), file["#refs#/filters6"].ref), "a convolution"),
        (lambda file: file["#refs#/layer4/weights"].__setitem__((1, 0), file["net/layers"].ref), "values of object"),
        (lambda file: file["net/layers"].__setitem__((3, 0), h5py.Reference()), "damaged"),
    ],
)
def test_files_that_are_no_ffdnet_say_what_they_hold(released, edit, sentence):
    with pytest.raises(CheckpointError, match=sentence) as caught:
        read_matconvnet(edited(released, edit))
    assert "\n" not in str(caught.value)


def test_networks_of_the_same_kind_with_other_inputs_are_refused(tmp_path):
    path = write_matlab(tmp_path / "net.mat", layers(levels=6))
    with pytest.raises(CheckpointError, match="from 18 to 12 channels"):
        read_matconvnet(path)


def canary(folder: Path) -> Path:
    """A good file that must not be opened through another one."""
    return write_matlab(folder / "elsewhere.mat", layers())


def relink(name: str, link):
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return edit


@pytest.mark.parametrize("name", ["net", "net/layers", "#refs#/layer2/weights", "#refs#/layer2/type"])
@pytest.mark.parametrize("outside", [True, False])
def test_links_are_never_followed(tmp_path, released, name, outside):
    link = h5py.ExternalLink(str(canary(tmp_path)), name) if outside else h5py.SoftLink("/elsewhere")
    with pytest.raises(UnsafeCheckpointError, match="link to elsewhere"):
        read_matconvnet(edited(released, relink(name, link)))


@pytest.mark.parametrize("name", ["filters4", "biases4"])
@pytest.mark.parametrize("kind", ["external", "virtual"])
def test_data_in_other_files_is_never_read(tmp_path, released, name, kind):
    other = canary(tmp_path)

    def edit(file: h5py.File) -> None:
        references, shape = file["#refs#"], file["#refs#"][name].shape
        del references[name]
        if kind == "external":
            moved = references.create_dataset(name, shape, "f4", external=[(str(other), 0, h5py.h5f.UNLIMITED)])
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[...] = h5py.VirtualSource(str(other), f"#refs#/{name}", shape)
            moved = references.create_virtual_dataset(name, layout)
        references["layer4/weights"][int(name == "biases4"), 0] = moved.ref

    with pytest.raises(UnsafeCheckpointError, match="another file"):
        read_matconvnet(edited(released, edit))


@pytest.mark.parametrize(
    ("shape", "blocks"),
    [
        ((2**20, 2**20, 3, 3), None),
        ((2**20, 2**20, 3, 3), (1, 1, 3, 3)),
        ((20, 20, 3, 3), (2**11, 2**11, 3, 3)),
        ((2**13, 2**9, 3, 3), None),
    ],
)
def test_absurd_sizes_are_refused_before_they_are_allocated(released, shape, blocks):
    def edit(file: h5py.File) -> None:
        empty = file.create_dataset("empty", shape, "f4", chunks=blocks, maxshape=(None,) * 4 if blocks else None)
        file["#refs#/layer4/weights"][0, 0] = empty.ref

    with pytest.raises(UnsafeCheckpointError, match="unpacks to more than"):
        read_matconvnet(edited(released, edit))


def test_many_layers_that_share_one_large_array_are_refused(tmp_path):
    stack = layers(features=8, convolutions=40)
    path = write_matlab(tmp_path / "net.mat", stack)

    def edit(file: h5py.File) -> None:
        shared = file.create_dataset("shared", (2**8, 2**8, 3, 3), "f4")
        biases = file.create_dataset("biases", (1, 2**8), "f4")
        for layer in file["#refs#"].values():
            if isinstance(layer, h5py.Group) and layer["weights"].dtype.kind == "O":
                layer["weights"][:, 0] = [shared.ref, biases.ref]

    with pytest.raises(UnsafeCheckpointError, match="unpacks to more than"):
        read_matconvnet(edited(path, edit))


@pytest.mark.parametrize("unpacked", [100, 2**24, 2**26])
def test_a_block_that_unpacks_to_another_size_is_refused_without_unpacking_it(released, unpacked):
    packed = zlib.compress(bytes(unpacked), 9)
    edited(released, lambda file: file["#refs#/filters4"].id.write_direct_chunk((0, 0, 0, 0), packed))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="damaged"):
            read_matconvnet(released)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_other_filters_are_refused(released):
    def edit(file: h5py.File) -> None:
        packed = file.create_dataset("packed", data=np.zeros((20, 20, 3, 3), np.float32), compression="lzf")
        file["#refs#/layer4/weights"][0, 0] = packed.ref

    with pytest.raises(CheckpointError, match="deflate was expected"):
        read_matconvnet(edited(released, edit))


def test_without_h5py_the_error_names_the_extra(released, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert is_matconvnet(released)
    with pytest.raises(MissingExtraError, match=r"Reading MATLAB files needs .*'h5py'.*dp-ir\[mat\]"):
        read_matconvnet(released)
