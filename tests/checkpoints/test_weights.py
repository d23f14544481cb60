"""Weight files: what is read, what is refused, and that nothing in them ever runs."""

import hashlib
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dp_ir.checkpoints.weights import read_metadata, read_state_dict, sha256, weight_format, write_safetensors
from dp_ir.errors import CheckpointError, UnsafeCheckpointError

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}


class Canary:
    """Unpickling it with the ordinary unpickler makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_torch_files_are_read(tmp_path, zipped):
    path = tmp_path / "weights.pth"
    torch.save(OrderedDict(STATE), path, _use_new_zipfile_serialization=zipped)
    assert weight_format(path) == ("torch-zip" if zipped else "torch-legacy")
    assert_equal(read_state_dict(path), STATE)


def test_wrapping_and_data_parallel_prefix_are_removed_and_averages_preferred(tmp_path):
    path = tmp_path / "weights.ckpt"
    other = {name: value * 0 for name, value in STATE.items()}
    prefixed = {f"module.{name}": value for name, value in STATE.items()}
    torch.save({"params": other, "params_ema": prefixed, "epoch": 3}, path)
    assert_equal(read_state_dict(path), STATE)


def test_the_suffix_does_not_matter(tmp_path):
    path = tmp_path / "weights.pth"
    save_file(STATE, path)
    assert weight_format(path) == "safetensors"
    read = read_state_dict(path)
    assert_equal({name: read[name] for name in STATE}, STATE)


def test_written_files_are_read_by_the_reference_reader(tmp_path):
    path = tmp_path / "deep" / "weights.safetensors"
    base = torch.arange(8.0)
    tensors = {
        "whole": base,
        "same": base,
        "part": base[2:5],
        "strided": torch.arange(6.0).reshape(2, 3).t(),
        "picture": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "parameter": nn.Parameter(torch.ones(2)),
        "none": torch.empty(0, 3),
    }
    write_safetensors(path, tensors, {"note": "ä\n"})
    read = load_file(path)
    assert set(read) == set(tensors)
    assert all(torch.equal(read[name], value) for name, value in tensors.items())
    assert read_metadata(path) == {"note": "ä\n"}
    assert [entry.name for entry in path.parent.iterdir()] == ["weights.safetensors"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * 2**20 + 17))
    assert sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrap", [lambda canary: canary, lambda canary: {**STATE, "extra": canary}])
def test_a_pickle_that_runs_code_is_refused_by_name_and_never_runs(tmp_path, zipped, wrap):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    torch.save(wrap(Canary(canary)), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeCheckpointError, match=r"system.*nothing was executed"):
        read_state_dict(path)
    assert not canary.exists()
    # The canary is alive: the ordinary unpickler does run it.
    torch.load(path, weights_only=False)
    assert canary.exists()


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_a_bare_pickle_never_runs(tmp_path, protocol):
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Canary(canary), protocol=protocol))
    with pytest.raises(CheckpointError):
        read_state_dict(path)
    assert not canary.exists()


def test_every_unsafe_name_is_listed(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": STATE, "path": Path("x"), "module": nn.Linear(1, 1)}, path)
    with pytest.raises(UnsafeCheckpointError, match=r"pathlib\S*.*torch\.nn\.modules\.linear\.Linear"):
        read_state_dict(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_refused_before_torch_touches_it(tmp_path, monkeypatch):
    path = tmp_path / "script.pt"
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), path)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was reached"))
    with pytest.raises(UnsafeCheckpointError, match="TorchScript"):
        read_state_dict(path)


def test_a_zip_bomb_is_refused(tmp_path):
    plain, bomb = tmp_path / "plain.pth", tmp_path / "bomb.pth"
    torch.save({"w": torch.zeros(2**20)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    assert bomb.stat().st_size < 2**16
    with pytest.raises(UnsafeCheckpointError, match="compressed"):
        read_state_dict(bomb)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("keep", [1, 9, 60, 0.5, 0.99])
def test_truncated_files_are_named_errors(tmp_path, kind, keep):
    path = tmp_path / "weights"
    state = {"w": torch.rand(64, 64)}
    save_file(state, path) if kind == "safetensors" else torch.save(
        state, path, _use_new_zipfile_serialization=kind == "zip"
    )
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    with pytest.raises(CheckpointError, match=str(path)):
        read_state_dict(path)


def test_bit_flips_never_escape_as_foreign_errors(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("safetensors", "zip", "legacy"):
        path = tmp_path / kind
        state = {"w": torch.rand(4, 4), "b": torch.rand(4)}
        save_file(state, path) if kind == "safetensors" else torch.save(
            state, path, _use_new_zipfile_serialization=kind == "zip"
        )
        data = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            mangled = data.copy()
            mangled[rng.integers(len(data), size=4)] ^= rng.integers(1, 256, 4, dtype=np.uint8)
            path.write_bytes(mangled.tobytes())
            try:
                read_state_dict(path)
            except CheckpointError as error:
                assert "\n" not in str(error)  # noqa: PT017 - many files pass, those that fail must fail like this


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"GIF89a and so on", "not a weight file"),
        (b"PK\x03\x04 but not a zip file at all", "damaged"),
    ],
)
def test_other_files_are_named_errors(tmp_path, content, sentence):
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        read_state_dict(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [([1, 2], "a list"), ({"epoch": 3, "lr": 0.1}, "epoch, lr"), ({"model": {"layer": {}}}, "layer"), ({}, "expected")],
)
def test_files_without_a_state_dict_say_what_they_hold(tmp_path, content, sentence):
    path = tmp_path / "file.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=sentence):
        read_state_dict(path)


def test_missing_files_and_folders_are_named_errors(tmp_path):
    with pytest.raises(CheckpointError, match="no weight file"):
        read_state_dict(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="folder"):
        read_state_dict(tmp_path)
    torch.save(STATE, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="no metadata"):
        read_metadata(tmp_path / "w.pth")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, STATE, {})
    before = path.read_bytes()

    def half(self, data):
        with self.open("wb") as handle:
            handle.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(CheckpointError, match="No space left"):
        write_safetensors(path, {"other": torch.ones(3)}, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_place_is_a_named_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_safetensors(tmp_path / "file" / "w.safetensors", STATE, {})
