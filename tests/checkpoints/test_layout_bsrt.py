"""BSRT's hyper-parameters read off its state dicts."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dp_ir.networks.bsrt.detect import DETECTOR
from dp_ir.networks.bsrt.model import BSRT

TINY: dict[str, Any] = {"embed_dim": 12, "depths": (1, 2), "num_heads": (2, 3), "n_feats": 8, "deform_groups": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "small": {},
    "large": {"embed_dim": 180, "depths": (6, *[8] * 6), "num_heads": (6,) * 7},
    "tiny": TINY,
    "short burst": {**TINY, "burst_size": 5, "deform_groups": 1},
    "windows and widths": {**TINY, "window_size": 5, "mlp_ratio": 2.5, "n_feats": 16},
    "rounded ratio": {**TINY, "mlp_ratio": 11 / 12},
    "many stages": {**TINY, "depths": (2, 1, 3, 1, *[1] * 8), "num_heads": (4, 3, 2, 1, *[6] * 8)},
    "description alone": {**TINY, "depths": (3,), "num_heads": (1,)},
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_config_is_read_off_names_and_shapes(variant: str) -> None:
    with torch.device("meta"):
        network = BSRT(**VARIANTS[variant])
    state = DETECTOR.rename(network.state_dict())
    assert DETECTOR.matches(state)
    config = DETECTOR.config(state)
    assert config == network.config
    with torch.device("meta"):
        rebuilt = BSRT(**config)
    assert {name: value.shape for name, value in rebuilt.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }


def test_other_families_do_not_match() -> None:
    with torch.device("meta"):
        state = BSRT(**TINY).state_dict()
    flow = {name: value for name, value in state.items() if name.startswith("spynet.")}
    swin = {name: value for name, value in state.items() if name.startswith(("layers.", "conv_first."))}
    for foreign in (flow, swin, {}):
        assert not DETECTOR.matches(DETECTOR.rename(foreign))
