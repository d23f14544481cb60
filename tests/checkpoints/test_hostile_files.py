"""Small files that describe networks, names or settings without end: refused at once, in a sentence of some lines."""

import json
import threading
import time

import pytest
import torch
from safetensors.torch import save_file
from small_networks import SMALL
from torch import nn

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.bundle import read_bundle
from dp_ir.checkpoints.loading import read_network
from dp_ir.checkpoints.size_guard import no_more_parameters_than
from dp_ir.errors import BundleError, CheckpointError, DPIRError, ScheduleError
from dp_ir.restoration.pipeline import Restoration

resource = pytest.importorskip("resource")


def small_bundle(folder):
    parts = {
        kind: build(name, SMALL[name])
        for kind, name in (("restorer", "fast-sr"), ("denoiser", "unet-denoiser"), ("fusion", "fast-fusion"))
    }
    Restoration.from_parts(**parts, tau=300, steps=2, sigma_min=0.05, device="cpu").save_pretrained(folder)


@pytest.fixture(autouse=True)
def _cheap():
    """Fails where a test takes ten seconds or 256 MiB."""
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 2**18


def refusal(path, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        read_network(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert len(message) < 2000
    return message


def described(path, architecture, config):
    """A network file whose header describes a network, and that holds one number."""
    text = config if isinstance(config, str) else json.dumps(config)
    entry = f'{{"architecture": {json.dumps(architecture)}, "config": {text}, "kind": "restorer", "card": {{}}}}'
    save_file({"a": torch.zeros(1)}, path, {"dp_ir": entry})
    return path


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("fast-sr", {"channels": 4096, "blocks": 4096}),
        ("fast-sr", {"channels": 4096, "blocks": 1}),
        ("unet-denoiser", {"channels": [4096] * 3, "blocks": [4096] * 3}),
        ("unet-denoiser", {"channels": [8] * 3000, "blocks": [4096] * 3000}),
        ("rrdb", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4096, "num_block": 4096, "num_grow_ch": 4096}),
        ("swinir", {"upscale": 4, "img_size": 4096, "window_size": 1024, "depths": [2], "embed_dim": 4}),
        ("fast-sr", {"channels": "x" * 10**5, "blocks": 1}),
        ("fast-sr", "[" * 10**5 + "]" * 10**5),
        ("fast-sr", '{"channels": ' + "[" * 900 + "]" * 900 + "}"),
    ],
)
def test_hyper_parameters_never_build_what_the_file_cannot_fill(tmp_path, architecture, config):
    refusal(described(tmp_path / "w.safetensors", architecture, config))


def test_the_hook_that_counts_parameters_goes_and_leaves_other_threads_alone():
    elsewhere = []
    with no_more_parameters_than(1, "x"):
        thread = threading.Thread(target=lambda: elsewhere.append(nn.ModuleList(nn.Linear(1, 1) for _ in range(600))))
        thread.start()
        thread.join()
        with pytest.raises(CheckpointError, match="more than 1002 parameters, but there are 1 tensors"):
            nn.ModuleList(nn.Linear(1, 1) for _ in range(600))
    assert len(elsewhere) == 1
    nn.ModuleList(nn.Linear(1, 1) for _ in range(600))


def saved(path, state):
    torch.save(state, path)
    return path


@pytest.mark.parametrize(
    "name", ["model.999999999.weight", "layers.123456.norm.weight", "99999", "body.0.100000000.rdb1.conv1.weight"]
)
def test_names_that_count_without_end(tmp_path, name):
    state = {"model.1.sub.0.RDB1.conv1.0.weight": torch.ones(2, 2), name: torch.ones(4)}
    message = refusal(saved(tmp_path / "w.pth", state))
    assert name in message


def swinir():
    options = {"upscale": 1, "img_size": 16, "window_size": 8, "depths": [2], "embed_dim": 4, "num_heads": [1]}
    return build("swinir", {**options, "in_chans": 3, "upsampler": ""}).state_dict()


def test_a_window_and_an_image_that_need_a_mask_beyond_any_memory(tmp_path):
    state = {name: value for name, value in swinir().items() if not name.endswith(("mask", "index"))}
    state["layers.0.residual_group.blocks.0.attn.relative_position_bias_table"] = torch.zeros(500_000, 1)
    state["absolute_pos_embed"] = torch.zeros(1, 10**6, 1)
    refusal(saved(tmp_path / "w.pth", state))


def test_a_file_that_holds_itself(tmp_path):
    content = {}
    content |= dict.fromkeys(("params", "state_dict", "model", "net", "network", "ema", "g", "generator"), content)
    refusal(saved(tmp_path / "w.pth", content))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 10**6},
        {"steps": 10**30},
        {"tau": 1e300},
        {"schedule": {"name": "cosine", "T": 10**9}},
        {"schedule": {"name": "cosine", "T": 10**20}},
        {"schedule": {"name": "cosine", "T": 1000, "s": 10**20}},
        {"schedule": {"name": "cosine", "T": 1000, "data_range": 10**400}},
        {"schedule": {"name": "linear", "T": 1000, "beta_end": 10**30}},
        {"networks": {"restorer": {"file": "restorer.safetensors", "sha256": 5, "architecture": []}}},
        {"networks": {"restorer": {"x" * 3000: 1}}},
        {"networks": {"restorer": {"file": "../../x/restorer.safetensors", "sha256": "", "architecture": ""}}},
        {"format_version": "x" * 10**5},
        {"sampler": ["x" * 10**5]},
    ],
)
def test_settings_without_measure(tmp_path, changes):
    folder = tmp_path / "bundle"
    small_bundle(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(DPIRError) as caught:
        Restoration.from_pretrained(folder, device="cpu")(torch.full((1, 3, 8, 8), 0.5))
    assert len(str(caught.value)) < 2000


def test_a_width_that_is_a_huge_whole_number_is_one(tmp_path):
    folder = tmp_path / "bundle"
    small_bundle(folder)
    path = folder / "config.json"
    content = json.loads(path.read_text())
    content["schedule"]["data_range"] = 10**25
    path.write_text(json.dumps(content))
    with pytest.raises((ScheduleError, BundleError, DPIRError)):
        Restoration.from_pretrained(folder, device="cpu")(torch.full((1, 3, 8, 8), 0.5))


def test_a_config_of_brackets_or_of_more_than_it_may_have(tmp_path):
    folder = tmp_path / "bundle"
    small_bundle(folder)
    for text in ("[" * 10**6, '{"a": ' * 10**5, "1" * 10**6, '"' + "x" * 2**21 + '"'):
        (folder / "config.json").write_text(text)
        with pytest.raises(BundleError):
            read_bundle(folder)
