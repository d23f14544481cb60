"""Weight files that hold more than one network: the one that is known is used, and what is left aside is named."""

import warnings

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.loading import read_network
from dp_ir.errors import CheckpointError

CONFIG = {"channels": 8, "attention_channels": 4, "blocks": 1, "scale": 2}
NETWORK = build("rlfn", CONFIG)
STATE = NETWORK.state_dict()
AVERAGED = {name: value + 0.5 for name, value in STATE.items()}
OTHER = {"features.0.weight": torch.ones(4, 3, 3, 3), "features.0.bias": torch.ones(4)}


def under(prefix, state):
    return {f"{prefix}.{name}": value for name, value in state.items()}


def profiled(state):
    """As thop leaves it: two counters in the network and in each of its modules."""
    modules = {"", *(f"{name.rpartition('.')[0]}." for name in state)}
    counters = {
        f"{module}{name}": torch.zeros(1).double() for module in modules for name in ("total_ops", "total_params")
    }
    return {**state, **counters}


def flattened(state):
    """As some averaging keeps it, under names without their dots."""
    return {"model_ema." + name.replace(".", ""): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("content", "aside"),
    [
        (AveragedModel(NETWORK).state_dict(), ["n_averaged"]),
        ({"state_dict": {**under("module", STATE), "n_averaged": torch.tensor(7)}}, ["state_dict.n_averaged"]),
        (profiled(STATE), ["block_1.c1_r.total_ops", "total_ops", "total_params"]),
        (profiled(under("module", STATE)), ["total_ops"]),
        ({**under("generator", STATE), **under("discriminator", OTHER)}, ["discriminator"]),
        ({**under("net_g", STATE), **under("net_d", OTHER)}, ["net_d"]),
        ({**STATE, **under("vgg", OTHER)}, ["vgg"]),
        ({"state_dict": {**under("model", STATE), **under("loss_fn.lpips", OTHER)}}, ["state_dict.loss_fn"]),
        ({**under("module.model", STATE), **under("module.perceptual", OTHER)}, ["module.perceptual"]),
        ({**under("net_g", STATE), **under("upscaling_teacher", OTHER)}, ["upscaling_teacher"]),
        ({**under("model", STATE), **flattened(AVERAGED), "model_ema.decay": torch.tensor(0.9)}, ["model_ema"]),
        ({"model_ema": OTHER, "model": STATE}, ["model_ema"]),
        ({"params_ema": {name: value * torch.nan for name, value in STATE.items()}, "params": STATE}, ["params_ema"]),
        ({"model_ema": under("module", {"x": torch.ones(1)}), "model": {"state_dict": STATE}}, ["model_ema"]),
        ({"ema": {"x": torch.eye(3).to_sparse()}, "net": STATE}, ["ema"]),
        ({"enhancer": STATE, "detector": OTHER}, ["detector"]),
        ({**STATE, "step": torch.tensor(4), "best_psnr": torch.tensor(30.0)}, ["step", "best_psnr"]),
        ({"checkpoint": {"weights": {"state_dict": under("module", STATE)}, "epoch": 3}}, []),
        ({**STATE, "epoch": 3, "note": "x"}, []),
    ],
)
@pytest.mark.filterwarnings("ignore:.*Sparse")
def test_the_network_that_is_known_is_used_and_the_rest_is_named(tmp_path, content, aside):
    torch.save(content, tmp_path / "w.pth")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        network, record = read_network(tmp_path / "w.pth")
    assert all(torch.equal(value, STATE[name]) for name, value in network.state_dict().items())
    notes = [str(warning.message) for warning in caught if "left aside" in str(warning.message)]
    assert len(notes) == bool(aside)
    assert set(aside) <= set(record.card["origin"].get("left_aside", []))
    if len(aside) == 1 and len(record.card["origin"]["left_aside"]) == 1:
        assert notes[0].endswith(f"left aside: {aside[0]}.")


def test_the_average_is_taken_where_both_can_be_used(tmp_path):
    for content in (
        {"params": STATE, "params_ema": AVERAGED},
        {**under("model", STATE), **under("ema_model", AVERAGED)},
    ):
        torch.save(content, tmp_path / "w.pth")
        with pytest.warns(UserWarning, match="left aside: (params|model)"):
            network, _ = read_network(tmp_path / "w.pth")
        assert torch.equal(network.state_dict()["conv_1.weight"], AVERAGED["conv_1.weight"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"first": STATE, "second": AVERAGED}, "holds several networks"),
        ({"model_ema": OTHER, "model": {k: v for k, v in STATE.items() if k != "conv_2.bias"}}, "conv_2.bias"),
        ({**under("model", OTHER), **under("other", STATE)}, "No network matches"),  # a part of some larger network
        ({"enhancer": OTHER, "detector": OTHER}, "several state dicts"),
        ({"epoch": 3}, "the keys epoch"),
        ({**STATE, "block_1.c9.weight": torch.zeros(1)}, "1 is unknown"),
    ],
)
def test_what_is_no_single_known_network_is_refused(tmp_path, content, sentence):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=sentence):
        read_network(tmp_path / "w.pth")
