"""Weight files as they come from others: mislabelled, bloated, damaged or hostile."""

import contextlib
import json
import os
import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from weight_files import ADAM, OTHER, STATE, ZIP_AND_LEGACY, assert_state, prefixed, refusal, rewrite_zip, save

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.network_file import load_network, save_network
from dp_ir.checkpoints.weights import read_metadata, read_state_dict
from dp_ir.errors import CheckpointError, UnsafeCheckpointError

# What is no state dict


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (torch.ones(3), "a Tensor"),
        ([STATE], "a list"),
        ("x", "a str"),
        ({}, "nothing"),
        ({"state_dict": {}}, "nothing under state_dict"),
        ({"state_dict": {"lr": 1}, "epoch": 1}, "the keys lr under state_dict"),
        ({**STATE, "epoch": 3, "note": "x"}, r"among its tensors also epoch, note \(int, str\)"),
        ({"params": {**STATE, "extra": [1]}}, r"among its tensors under params also extra \(list\)"),
        ({"enhancer": STATE, "detector": OTHER}, r"several state dicts \(enhancer, detector\)"),
        ({"x" * 1000 + "\n": 1}, "the keys x{60}:"),
        ({f"key{n}": n for n in range(100)}, "key4 and 95 more"),
        ({("a", "b"): torch.ones(1), None: torch.ones(1)}, "the keys|among its tensors"),
        ({"a": {"b": {"c": {"d": STATE}}}}, "the keys a"),
    ],
)
@ZIP_AND_LEGACY
def test_what_a_file_holds_instead_is_said(tmp_path, content, sentence, zipped):
    message = refusal(save(tmp_path / "w.pth", content, zipped))
    with pytest.raises(CheckpointError, match=sentence):
        raise CheckpointError(message)
    assert "expected a state dict" in message
    assert len(message) < 400


def test_the_state_of_an_optimizer_is_no_network(tmp_path):
    assert "the keys state, param_groups" in refusal(save(tmp_path / "w.pth", ADAM))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse_coo"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse_csr"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized"),
        (lambda: torch.ones(3, device="meta"), r"empty \(meta\)"),
        (lambda: torch.ones(3).to(torch.float8_e4m3fn), "float8_e4m3fn"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(tmp_path, tensor, kind):
    path = save(tmp_path / "w.pth", {**STATE, "odd": tensor()})
    with pytest.raises(CheckpointError, match=f"odd .*{kind}"):
        read_state_dict(path)


def test_float8_in_safetensors_is_refused(tmp_path):
    save_file({"odd": torch.ones(3).to(torch.float8_e5m2)}, tmp_path / "w.safetensors")
    assert "odd as float8_e5m2" in refusal(tmp_path / "w.safetensors")


# Names that lie


def test_the_content_decides_and_the_name_does_not(tmp_path):
    for zipped in (True, False):
        assert_state(save(tmp_path / "w.safetensors", STATE, zipped))
    save_file(STATE, tmp_path / "w.pth")
    assert set(read_state_dict(tmp_path / "w.pth")) == set(STATE)


def test_a_name_that_lies_is_mentioned_where_something_is_wrong(tmp_path):
    path = save(tmp_path / "w.safetensors", {"lr": 1}, zipped=False)
    assert "(in truth a file of torch.save) holds the keys lr" in refusal(path)
    path = save(tmp_path / "v.safetensors", {"x": Path("x")})
    assert "(in truth a file of torch.save) asks to run pathlib" in refusal(path, UnsafeCheckpointError)
    with pytest.raises(CheckpointError, match="torch-zip file, which has no metadata"):
        read_metadata(path)
    save_file(STATE, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:-1])
    assert "(in truth a safetensors file) is truncated" in refusal(tmp_path / "w.pth")
    save_file(STATE, tmp_path / "u.safetensors")
    (tmp_path / "u.safetensors").write_bytes((tmp_path / "u.safetensors").read_bytes()[:-1])
    assert "in truth" not in refusal(tmp_path / "u.safetensors")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\n  <!DOCTYPE html><html>", "a web page"),
        (b"<html><head>", "a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "HDF5 file, as MATLAB"),
        (b"MATLAB 5.0 MAT-file, Platform: x", "old MATLAB"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"GGUF\x03", "GGUF"),
        (b"\x1f\x8b\x08", "gzip"),
        (bytes(257) + b"ustar" + bytes(300), "tar archive"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"\x08\x07\x12\x07pytorch", "not a weight file"),  # ONNX
        (bytes(1000), "not a weight file"),
    ],
)
def test_other_files_are_called_by_their_name(tmp_path, content, sentence):
    (tmp_path / "w.pth").write_bytes(content)
    assert sentence in refusal(tmp_path / "w.pth")


def test_other_archives_say_what_they_hold(tmp_path):
    np.savez(tmp_path / "w.npz", first=np.ones(3), second=np.ones(2))
    assert "it holds first.npy, second.npy" in refusal(tmp_path / "w.npz")


# Pickles that would run code


class Canary:
    """Unpickling it with the ordinary unpickler makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def with_canary_attribute(canary):
    tensor = torch.ones(2)
    tensor.note = canary
    return tensor


POSITIONS = {
    "value": lambda canary: {"params": STATE, "note": canary},
    "key": lambda canary: {"params": STATE, canary: 1},
    "among the tensors": lambda canary: {"params": {**STATE, "b": canary}},
    "deep": lambda canary: {"params": STATE, "optimizer": [{"a": ({"b": [canary]},)}]},
    "ordered": lambda canary: OrderedDict(state_dict=OrderedDict(x=OrderedDict(y=canary))),
    "attribute of a tensor": lambda canary: {"params": {"a": with_canary_attribute(canary)}},
    "list": lambda canary: [canary],
    "alone": lambda canary: canary,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("position", POSITIONS)
@ZIP_AND_LEGACY
def test_a_canary_never_sings_wherever_it_sits(tmp_path, position, zipped):
    canary = tmp_path / "canary"
    path = save(tmp_path / "w.pth", POSITIONS[position](Canary(canary)), zipped)
    assert "system" in refusal(path, UnsafeCheckpointError)
    assert not canary.exists()
    torch.load(path, weights_only=False)  # it is alive
    assert canary.exists()


@pytest.mark.parametrize("position", range(5))
def test_a_canary_never_sings_in_any_pickle_of_a_legacy_file(tmp_path, position):
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    information = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [0x1950A86A20F9469CFC6C, 1001, information, {}, []]
    parts[position] = Canary(canary)
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    assert "system" in refusal(path, UnsafeCheckpointError)
    assert not canary.exists()


RAW = {
    "GLOBAL": b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
    "INST": b"\x80\x02(X\x04\x00\x00\x00trueiposix\nsystem\n.",
    "OBJ": b"\x80\x02(cposix\nsystem\nX\x04\x00\x00\x00trueo.",
    "NEWOBJ": b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85\x81.",
    "BUILD": b"\x80\x02cposix\nsystem\n)\x81}X\x01\x00\x00\x00aK\x01sb.",
    "through torch": b"\x80\x02ctorch.serialization\nos.system\nX\x04\x00\x00\x00true\x85R.",
    "eval": b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.",
}


@pytest.mark.parametrize("way", RAW)
@ZIP_AND_LEGACY
def test_every_way_to_name_a_function_is_refused(tmp_path, monkeypatch, way, zipped):
    path = save(tmp_path / "w.pth", {}, zipped)
    if zipped:
        rewrite_zip(path, lambda name, data: RAW[way] if name.endswith("data.pkl") else data)
    else:
        start = b"".join(pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
        path.write_bytes(start + RAW[way] + pickle.dumps([], protocol=2))
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("it ran"))
    message = refusal(path)
    assert "system" in message or "eval" in message or "damaged" in message
    bare = tmp_path / "bare.pkl"
    bare.write_bytes(RAW[way])
    refusal(bare)


def test_the_reason_comes_without_the_advice_around_it(tmp_path):
    path = tmp_path / "w.pth"
    parts = [(0x1950A86A20F9469CFC6C, 2), (1001, 2), ({}, 2), ({"a": [1.0]}, 0), ([], 2)]
    path.write_bytes(b"".join(pickle.dumps(part, protocol) for part, protocol in parts))
    assert re.search(r"damaged \(Unsupported operand \d+\): fetch", refusal(path))


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"params": STATE, "best": np.float64(30.5)}, ["numpy"]),
        ({"a.weight": np.ones((2, 2))}, ["numpy"]),
        ({"params": STATE, "path": Path("x"), "model": nn.Linear(1, 1)}, ["pathlib", "torch.nn.modules.linear.Linear"]),
    ],
)
@ZIP_AND_LEGACY
def test_what_weights_do_not_need_is_refused_by_name(tmp_path, content, names, zipped):
    message = refusal(save(tmp_path / "w.pth", content, zipped), UnsafeCheckpointError)
    assert all(name in message for name in names)
    assert "nothing was executed" in message


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_of_another_program_says_so(tmp_path, protocol):
    path = tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps({"a": [1.0, 2.0]}, protocol))
    assert "a pickle, but not one of torch.save" in refusal(path)
    path.write_bytes(pickle.dumps({"a": np.ones(3)}, protocol))
    assert "numpy" in refusal(path, UnsafeCheckpointError)


def test_a_second_object_of_the_same_name_never_runs(tmp_path):
    path = save(tmp_path / "w.pth", STATE)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("w/data.pkl", RAW["GLOBAL"].replace(b"true", b"exit"))
    with contextlib.suppress(CheckpointError):  # whichever of the two is read
        assert_state(path)


def test_a_torch_package_is_refused(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/.data/extern_modules", "os")
        archive.writestr("w/data.pkl", pickle.dumps({}))
    assert "torch.package" in refusal(path, UnsafeCheckpointError)


@pytest.mark.filterwarnings("ignore")
def test_torchscript_by_another_name_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), path)
    assert "TorchScript" in refusal(path, UnsafeCheckpointError)


@pytest.mark.parametrize("member", ["constants.pkl", "code/__torch__.py"])
def test_any_sign_of_torchscript_is_enough(tmp_path, member):
    path = save(tmp_path / "w.pth", STATE)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(f"w/{member}", b"")
    assert "TorchScript" in refusal(path, UnsafeCheckpointError)


# Sizes that are not there


@pytest.fixture
def memory():
    """Fails where the process has grown by more than 256 MiB."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18


@ZIP_AND_LEGACY
def test_a_tensor_of_one_number_and_many_names_is_refused(tmp_path, memory, zipped):
    path = save(tmp_path / "w.pth", {"a.weight": torch.ones(1).expand(10**5, 10**5)}, zipped)
    assert "claims 40000000000 bytes" in refusal(path)
    many = {f"a{n}": torch.ones(1000).expand(200, 1000) for n in range(50)}
    assert "claims 40000000 bytes" in refusal(save(tmp_path / "v.pth", many, zipped))


def header(path, entries, data=b"", length=None):
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]},
        {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 20]},
        {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]},
        {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]},
        {"dtype": "F33", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4]},
        [],
    ],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, memory, entry):
    path = header(tmp_path / "w.safetensors", {"a": entry}, bytes(16))
    assert "truncated or damaged" in refusal(path)


def test_a_safetensors_header_of_absurd_length_is_refused(tmp_path, memory):
    good = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    for length in (10**6, 2**40, 2**64 - 1, 0, 3):
        assert "truncated or damaged" in refusal(header(tmp_path / "w.safetensors", good, bytes(16), length))


def test_overlapping_tensors_in_safetensors_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    assert "damaged" in refusal(header(tmp_path / "w.safetensors", {"a": entry, "b": entry}, bytes(16)))


@pytest.mark.parametrize("declared", [None, 100, 2**32 - 2])
def test_a_zip_bomb_is_refused_whatever_size_it_declares(tmp_path, memory, declared):
    path = save(tmp_path / "w.pth", {"a": torch.zeros(64)})
    bomb = bytes(2**26)
    rewrite_zip(path, lambda name, data: bomb if name.endswith("data.pkl") else data, zipfile.ZIP_DEFLATED)
    if declared is not None:
        size = struct.pack("<I", declared)
        path.write_bytes(path.read_bytes().replace(struct.pack("<I", 2**26), size))
    assert path.stat().st_size < 2**17
    refusal(path)


def test_a_storage_that_claims_more_than_its_record_has_is_refused(tmp_path):
    path = save(tmp_path / "w.pth", {"a": torch.zeros(4)})
    four, thousands = b"K\x04t", b"J\x10\x27\x00\x00t"

    def claim(name, data):
        assert not name.endswith("data.pkl") or four in data
        return data.replace(four, thousands).replace(b"K\x04\x85", b"J\x10\x27\x00\x00\x85")

    refusal(rewrite_zip(path, claim))


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_spliced_files_never_escape_as_foreign_errors(tmp_path, form):
    rng = np.random.default_rng(1)
    path = tmp_path / "w"
    content = {"state_dict": prefixed("module."), "optimizer": {"state": {0: {"m": torch.rand(3)}}}, "epoch": 1}
    save_file(STATE, path) if form == "safetensors" else save(path, content, form == "zip")
    data = path.read_bytes()
    for _ in range(60):
        first, second = sorted(rng.integers(len(data), size=2))
        path.write_bytes(data[:first] + data[second:] if rng.integers(2) else data[:second] + data[first:])
        try:
            read_state_dict(path)
        except CheckpointError as error:
            # a few files pass, those that fail must fail with one sentence
            assert len(str(error)) < 700  # noqa: PT017
            assert not re.search(r"\n|weights_only|documentation", str(error))  # noqa: PT017


def test_a_file_of_ours_with_a_flipped_bit_is_refused_or_is_another_network(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    record = save_network(path, build("fast-sr", {"channels": 8, "blocks": 1, "scale": 2}), kind="restorer")
    data = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(2)
    refused = 0
    for _ in range(60):
        flipped = data.copy()
        flipped[rng.integers(3000 if rng.integers(2) else len(data))] ^= np.uint8(1 << rng.integers(8))
        path.write_bytes(flipped.tobytes())
        try:
            _, found = load_network(path)
        except CheckpointError:
            refused += 1
        else:
            # A bit of the card or of white space does not matter; everything else must show in the identity.
            assert found.sha256 != record.sha256 or found == record or found.card != record.card
    assert refused > 10


def test_tensors_without_a_number_are_refused(tmp_path):
    path = save(tmp_path / "w.pth", {**STATE, "huge": torch.empty(0, 10**9)})
    assert "huge of shape (0, 1000000000), without a number" in refusal(path)
