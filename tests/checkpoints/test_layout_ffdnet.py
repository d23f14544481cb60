"""Telling an FFDNet from its state dict."""

import itertools

import pytest
from torch import nn

from dp_ir.networks.ffdnet.detect import DETECTOR
from dp_ir.networks.ffdnet.model import FFDNet


def plain_stack(*channels: int) -> dict:
    """A state dict with FFDNet's names: what DnCNN and IRCNN of the same authors look like."""
    layers: list[nn.Module] = []
    for entering, leaving in itertools.pairwise(channels):
        layers += [nn.Conv2d(entering, leaving, 3), nn.ReLU()]
    return {f"model.{name}": value for name, value in nn.Sequential(*layers[:-1]).state_dict().items()}


@pytest.mark.parametrize(
    "config", [{"nc": 8, "nb": 2}, {"channels": 1, "nc": 16, "nb": 5}, {"channels": 2, "nc": 4, "nb": 12}]
)
def test_the_hyper_parameters_come_from_the_state_dict(config):
    network = FFDNet(**config)
    assert DETECTOR.matches(DETECTOR.rename(network.state_dict()))
    assert DETECTOR.config(network.state_dict()) == network.config


@pytest.mark.parametrize("channels", [(1, 8, 8, 1), (3, 8, 8, 3), (4, 8, 8, 4), (18, 8, 12), (15, 8, 12)])
def test_other_stacks_with_the_same_names_are_not_taken_for_one(channels):
    assert not DETECTOR.matches(plain_stack(*channels))


def test_incomplete_or_foreign_state_dicts_do_not_match():
    state = FFDNet(nc=4, nb=4).state_dict()
    assert DETECTOR.matches(state)
    for name in state:
        assert not DETECTOR.matches({key: value for key, value in state.items() if key != name})
    assert not DETECTOR.matches({})
    assert not DETECTOR.matches({**state, "model.0.weight": state["model.0.bias"]})
    assert not DETECTOR.matches({**state, "model.1.running_mean": state["model.0.bias"]})
