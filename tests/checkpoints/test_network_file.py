"""Network files: a network comes back bit-equal, and what does not fit is said."""

import json

import pytest
import torch
from small_networks import SMALL
from torch import nn

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.network_file import describe, load_network, read_record, save_network
from dp_ir.checkpoints.weights import read_metadata, read_state_dict, write_safetensors
from dp_ir.errors import CheckpointError
from dp_ir.networks import ARCHITECTURES


def small(name, seed=0):
    torch.manual_seed(seed)
    module = build(name, SMALL[name])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    return module


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.safetensors"
    save_network(path, small("fast-sr"), kind="restorer")
    return path


def rewrite(path, change):
    """Change the tensors and the description of a network file."""
    tensors, entry = read_state_dict(path), json.loads(read_metadata(path)["dp_ir"])
    change(tensors, entry)
    write_safetensors(path, tensors, {"dp_ir": json.dumps(entry)})


@pytest.mark.parametrize("name", SMALL)
def test_a_network_comes_back_bit_equal(tmp_path, name):
    module = small(name)
    card = {"data": "photos", "steps": 100, "quality": {"psnr": 31.6}}
    record = save_network(tmp_path / "net.safetensors", module, kind="denoiser", card=card)
    loaded, found = load_network(tmp_path / "net.safetensors")
    assert found == record
    assert (found.architecture, found.kind, found.card) == (name, "denoiser", card)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert type(loaded) is type(module)
    assert loaded.config == module.config
    assert not loaded.training
    for key, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_every_architecture_states_the_configuration_that_rebuilds_it():
    for name in ARCHITECTURES:
        module = small(name)
        again = build(name, json.loads(json.dumps(module.config)))
        again.load_state_dict(module.state_dict())
        assert describe(again, kind="denoiser").sha256 == describe(module, kind="denoiser").sha256


def test_identity_changes_with_the_network_and_with_nothing_else():
    module = small("fast-sr")
    identity = describe(module, kind="restorer").sha256
    assert describe(small("fast-sr"), kind="restorer", card={"note": "x"}).sha256 == identity
    assert describe(small("fast-sr").to(memory_format=torch.channels_last), kind="restorer").sha256 == identity
    assert describe(small("fast-sr", seed=1), kind="restorer").sha256 != identity
    half = small("fast-sr").half()
    assert describe(half, kind="restorer").sha256 == describe(half.float(), kind="restorer").sha256
    with torch.no_grad():
        module.stem.bias[0] += 1e-6
    assert describe(module, kind="restorer").sha256 != identity
    denoiser = small("unet-denoiser")
    identity = describe(denoiser, kind="denoiser").sha256
    denoiser.config["sigma_range"] = [0.01, 1.0]
    assert describe(denoiser, kind="denoiser").sha256 != identity


def test_half_precision_weights_are_read_as_float32(saved):
    rewrite(saved, lambda tensors, _: tensors.update({key: value.half() for key, value in tensors.items()}))
    module, _ = load_network(saved)
    assert {value.dtype for value in module.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t, e: t.pop("stem.bias"), r"1 is missing \(stem.bias\)"),
        (lambda t, e: t.update(extra=torch.ones(1)), r"1 is unknown \(extra\)"),
        (
            lambda t, e: t.update({"stem.bais": t.pop("stem.bias")}),
            r"missing \(stem.bias \(nearest: stem.bais\)\).*unknown \(stem.bais",
        ),
        (
            lambda t, e: t.update({"head.bias": torch.ones(27)}),
            r"1 is of another shape \(head.bias: found \(27,\), expected \(48,\)\)",
        ),
        (lambda t, e: e["config"].update(channels=16), "of another shape"),
        (lambda t, e: t["stem.bias"].fill_(float("nan")), "stem.bias holds NaN"),
        (lambda t, e: e.update(architecture="fast-st"), r"nearest: fast-sr"),
        (lambda t, e: e["config"].update(width=3), "hyper-parameters .*width"),
        (lambda t, e: e["config"].update(channels=-1), "hyper-parameters"),
        (lambda t, e: e.update(kind="upscaler"), "upscaler.*restorer, denoiser, fusion"),
        (lambda t, e: e.pop("config"), "cannot be read"),
        (lambda t, e: e.update(card="good"), "cannot be read"),
    ],
)
def test_what_does_not_fit_is_said(saved, change, sentence):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match=sentence):
        load_network(saved)


def test_weights_without_a_description_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    write_safetensors(path, {"w": torch.ones(1)}, {})
    with pytest.raises(CheckpointError, match="does not say of what network"):
        load_network(path)
    write_safetensors(path, {"w": torch.ones(1)}, {"dp_ir": "[1"})
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_record(path)


def test_what_cannot_be_saved_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="Linear"):
        save_network(tmp_path / "net.safetensors", nn.Linear(1, 1), kind="denoiser")
    with pytest.raises(CheckpointError, match="safetensors"):
        save_network(tmp_path / "net.pth", small("fast-sr"), kind="restorer")
    with pytest.raises(CheckpointError, match="JSON"):
        save_network(tmp_path / "net.safetensors", small("fast-sr"), kind="restorer", card={"loss": float("nan")})
    with pytest.raises(CheckpointError, match="upscaler"):
        save_network(tmp_path / "net.safetensors", small("fast-sr"), kind="upscaler")
    assert not list(tmp_path.iterdir())


def test_a_description_cannot_ask_for_a_network_far_larger_than_its_weights(saved):
    rewrite(saved, lambda tensors, entry: entry["config"].update(channels=10**9))
    with pytest.raises(CheckpointError, match=r"number 1000000000, but no side of its tensors is longer than 48"):
        load_network(saved)
