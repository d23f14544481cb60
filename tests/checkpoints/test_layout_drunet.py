"""Telling a DRUNet from its state dict."""

import pytest

from dp_ir.networks.drunet.detect import DETECTOR
from dp_ir.networks.drunet.model import DRUNet


@pytest.mark.parametrize(
    "config",
    [
        {"nc": [4, 6, 8, 10], "nb": 1},
        {"channels": 1, "nc": [8, 8, 4, 4], "nb": 12},
        {"channels": 2, "nc": [5, 4, 3, 2]},
    ],
)
def test_the_hyper_parameters_come_from_the_state_dict(config):
    network = DRUNet(**config)
    state = DETECTOR.rename(network.state_dict())
    assert DETECTOR.matches(state)
    assert DETECTOR.config(state) == network.config


def test_other_state_dicts_do_not_match():
    state = DRUNet(nc=[4, 4, 4, 4], nb=1).state_dict()
    assert not DETECTOR.matches({})
    assert not DETECTOR.matches({name: value for name, value in state.items() if name != "m_up3.0.weight"})
