"""Weight files as training code writes them: state dicts wrapped in many ways."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from weight_files import ADAM, OTHER, STATE, ZIP_AND_LEGACY, assert_state, prefixed, save

from dp_ir.checkpoints.architectures import build, build_with_weights
from dp_ir.checkpoints.weights import read_state_dict, write_safetensors


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"state_dict": STATE},
        {"model": {"state_dict": STATE}},
        {"state_dict": {"model": STATE}},
        {"state_dict": {"net": {"params": STATE}}},
        {"params": OTHER, "params_ema": STATE},
        {"params-ema": STATE, "params": OTHER},
        {"model": OTHER, "model_ema": STATE},
        {"ema": {"decay": 0.999, "shadow": STATE}, "model": OTHER},
        {"ema": None, "state_dict": STATE},
        {"netG": STATE, "netD": OTHER},
        {"generator": STATE, "discriminator": OTHER, "g_optim": {}},
        {"weights": STATE, "epoch": 3},
        {"params": prefixed("module.")},
        {"state_dict": prefixed("model.")},
        {"state_dict": prefixed("net_g.")},
        {"state_dict": prefixed("netG.")},
        {"state_dict": prefixed("generator.")},
        prefixed("module.model."),
        prefixed("model.module._orig_mod."),
        {name: nn.Parameter(value) for name, value in STATE.items()},
    ],
)
@ZIP_AND_LEGACY
def test_every_usual_wrapping_is_removed(tmp_path, content, zipped):
    assert_state(save(tmp_path / "w.pth", content, zipped))


@pytest.mark.parametrize(
    "state",
    [
        prefixed("model.0."),  # as RRDB and DnCNN number their own layers
        {"model.a": torch.ones(1), "head.a": torch.ones(1)},
        {"module": torch.ones(1)},
        {"modules.a": torch.ones(1)},
        {"module.": torch.ones(1)},
    ],
)
def test_names_that_are_a_network_s_own_stay(tmp_path, state):
    assert_state(save(tmp_path / "w.pth", state), state)
    save_file(state, tmp_path / "w.safetensors")
    assert set(read_state_dict(tmp_path / "w.safetensors")) == set(state)


def test_numbers_after_the_prefix_of_data_parallel_training_do_not_keep_it(tmp_path):
    assert_state(save(tmp_path / "w.pth", prefixed("module.0.")), prefixed("0."))
    assert_state(save(tmp_path / "v.pth", prefixed("module.model.0.")), prefixed("model.0."))


def test_prefixes_in_safetensors_are_removed_but_not_in_our_own_files(tmp_path):
    save_file(prefixed("model."), tmp_path / "other.safetensors")
    assert set(read_state_dict(tmp_path / "other.safetensors")) == set(STATE)
    write_safetensors(tmp_path / "own.safetensors", prefixed("model."), {"dp_ir": "{}"})
    assert set(read_state_dict(tmp_path / "own.safetensors")) == set(prefixed("model."))


@ZIP_AND_LEGACY
def test_a_whole_training_checkpoint_is_read(tmp_path, zipped):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    content = {
        "epoch": 7,
        "global_step": 1234,
        "state_dict": {f"model.net_{name}": value for name, value in module.state_dict().items()},
        "optimizer_states": [ADAM],
        "optimizer": ADAM,
        "lr_schedulers": [{"step_size": 10, "gamma": 0.1, "_last_lr": [0.001]}],
        "rng": torch.get_rng_state(),
        "hyper_parameters": {"lr": 1e-4, "widths": (1, 2), "name": "x", "none": None, "flag": True},
    }
    expected = {f"net_{name}": value for name, value in module.state_dict().items()}
    assert_state(save(tmp_path / "w.ckpt", content, zipped), expected)


@ZIP_AND_LEGACY
def test_weights_saved_on_a_gpu_come_to_the_cpu(tmp_path, monkeypatch, zipped):
    monkeypatch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:1")
    path = save(tmp_path / "w.pth", STATE, zipped)
    monkeypatch.undo()
    assert b"cuda:1" in path.read_bytes()
    assert_state(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_other_precisions_become_float32_when_built(tmp_path, dtype, form):
    config = {"channels": 8, "blocks": 1, "scale": 2}
    state = {name: value.to(dtype) for name, value in build("fast-sr", config).state_dict().items()}
    path = tmp_path / "w"
    save_file(state, path) if form == "safetensors" else save(path, {"params": state}, form == "zip")
    read = read_state_dict(path)
    assert {value.dtype for value in read.values()} == {dtype}
    module = build_with_weights("fast-sr", config, read, str(path))
    assert {value.dtype for value in module.state_dict().values()} == {torch.float32}
    assert all(torch.equal(value, state[name].float()) for name, value in module.state_dict().items())


def test_tied_weights_and_small_expanded_buffers_are_read(tmp_path):
    table = torch.rand(100, 100)
    state = {"in": table, "out": table, "mean": torch.rand(1, 3, 1, 1).expand(1, 3, 50, 50)}
    assert_state(save(tmp_path / "w.pth", state), state)
