"""Telling an FFTformer from its state dict."""

import pytest

from dp_ir.networks.fftformer.detect import DETECTOR
from dp_ir.networks.fftformer.model import FFTformer


@pytest.mark.parametrize("factor", [3, 2.66, 2, 1.5, 2.05])
@pytest.mark.parametrize(
    "config",
    [
        {"dim": 4, "num_blocks": [1, 2, 3], "num_refinement_blocks": 2},
        {"channels": 1, "dim": 6, "num_blocks": [2, 1, 1], "num_refinement_blocks": 1, "bias": True},
        {"dim": 48, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1},
    ],
)
def test_the_hyper_parameters_come_from_the_state_dict(config, factor):
    network = FFTformer(**config, ffn_expansion_factor=factor)
    state = DETECTOR.rename(network.state_dict())
    assert DETECTOR.matches(state)
    inferred = DETECTOR.config(state)
    rebuilt = FFTformer(**inferred).state_dict()
    assert {name: value.shape for name, value in rebuilt.items()} == {name: v.shape for name, v in state.items()}
    # Few channels do not tell every factor apart: 2.66 and 2.65 may have the same hidden channels everywhere.
    exact = inferred["ffn_expansion_factor"] == factor
    assert exact or (config["dim"] < 48 and abs(inferred["ffn_expansion_factor"] - factor) < 1 / config["dim"])
    assert {**inferred, "ffn_expansion_factor": factor} == network.config


def test_other_state_dicts_do_not_match():
    state = FFTformer(dim=4, num_blocks=[1, 1, 1], num_refinement_blocks=1).state_dict()
    assert not DETECTOR.matches({})
    assert not DETECTOR.matches({name: value for name, value in state.items() if name != "encoder_level1.0.ffn.fft"})
