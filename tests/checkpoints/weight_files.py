"""Weight files for tests: written in several ways, read back, refused."""

import zipfile

import pytest
import torch

from dp_ir.checkpoints.weights import read_state_dict
from dp_ir.errors import CheckpointError

STATE = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.tensor([1.5, -2.0])}
ADAM = {
    "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3), "exp_avg_sq": torch.ones(3)}},
    "param_groups": [{"lr": 0.001, "betas": (0.9, 0.999), "params": [0, 1]}],
}
OTHER = {name: -value for name, value in STATE.items()}
ZIP_AND_LEGACY = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(path, content, zipped=True):
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def prefixed(prefix, state=STATE):
    return {prefix + name: value for name, value in state.items()}


def assert_state(path, expected=STATE):
    found = read_state_dict(path)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not any(value.requires_grad for value in found.values())


def refusal(path, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "weights_only" not in message  # torch advises to switch it off
    assert "Weights only" not in message
    return message


def rewrite_zip(path, change, compression=zipfile.ZIP_STORED):
    """Write a zip file again, each member through `change(name, data)`."""
    with zipfile.ZipFile(path) as source:
        members = [(name, change(name, source.read(name))) for name in source.namelist()]
    with zipfile.ZipFile(path, "w", compression) as target:
        for name, data in members:
            target.writestr(name, data)
    return path
