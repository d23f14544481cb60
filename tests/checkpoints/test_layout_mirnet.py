"""Hyper-parameters of MIRNet from its state dict."""

from __future__ import annotations

import json

import pytest
import torch

from dp_ir.networks import MIRNet, mirnet_s
from dp_ir.networks.mirnet.detect import DETECTOR


@pytest.mark.parametrize(
    "config",
    [
        {"n_feat": 8, "n_rrg": 1, "n_msrb": 1, "height": 1, "width": 1},
        {"n_feat": 16, "n_rrg": 2, "n_msrb": 3, "height": 2, "width": 4, "bias": True},
        {"n_feat": 12, "n_rrg": 3, "n_msrb": 1, "height": 3, "width": 2, "kernel_size": 5, "channels": 1},
        {"n_feat": 8, "n_rrg": 1, "n_msrb": 2, "height": 4, "width": 3, "sigma_map": True},
        {"n_feat": 8, "n_rrg": 1, "n_msrb": 1, "height": 2, "width": 1, "channels": 1, "sigma_map": True},
    ],
)
def test_hyper_parameters_are_found(config):
    network = MIRNet(**config)
    state = DETECTOR.rename(network.state_dict())
    assert DETECTOR.matches(state)
    found = DETECTOR.config(state)
    assert json.loads(json.dumps(found)) == found
    rebuilt = MIRNet(**found)
    assert rebuilt.config == network.config
    rebuilt.load_state_dict(state)


def test_released_and_small_forms_are_told_apart():
    released, small = MIRNet(), mirnet_s()
    assert MIRNet(**DETECTOR.config(released.state_dict())).config == released.config
    assert DETECTOR.config(small.state_dict())["sigma_map"] is True


def test_other_channels_are_refused():
    state = dict(MIRNet(n_feat=8, n_rrg=1, n_msrb=1, height=1).state_dict())
    state["conv_in.weight"] = torch.zeros(8, 7, 3, 3)
    with pytest.raises(ValueError, match="7 channels to 3"):
        DETECTOR.config(state)


def test_other_families_are_left_alone():
    state = {"conv_in.weight": torch.zeros(4, 3, 3, 3), "conv_out.weight": torch.zeros(3, 4, 3, 3)}
    assert DETECTOR.rename(state) == state
    assert not DETECTOR.matches(state)
