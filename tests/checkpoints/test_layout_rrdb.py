"""RRDBNet's hyper-parameters read off its state dicts, in the three namings it is released in."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from spandrel.architectures.ESRGAN import ESRGAN
from torch import Tensor

from dp_ir.networks.rrdb.detect import DETECTOR
from dp_ir.networks.rrdb.model import RRDBNet

SMALL: dict[str, Any] = {"num_feat": 6, "num_block": 2, "num_grow_ch": 4}
VARIANTS: dict[str, dict[str, Any]] = {
    "x4": {},
    "x1": {"scale": 1},
    "x2": {"scale": 2, "num_in_ch": 1, "num_out_ch": 1},
    "x8": {"scale": 8, "num_block": 12},
    "x2 unshuffled": {"scale": 2, "unshuffle": 2},
    "x1 unshuffled": {"scale": 1, "unshuffle": 4},
    "grey to colour": {"num_in_ch": 1},
    "plus": {"plus": True, "num_block": 1},
}


def _second_naming(state: dict[str, Tensor]) -> dict[str, Tensor]:
    pairs = (("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), (".rdb", ".RDB"), ("conv_up", "upconv"))
    return _replaced(state, (*pairs, ("conv_hr", "HRconv")))


def _third_naming(state: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    blocks, doublings = config["num_block"], (config["scale"] * config["unshuffle"]).bit_length() - 1
    pairs = [("conv_first", "model.0"), ("conv_body", f"model.1.sub.{blocks}"), ("body.", "model.1.sub.")]
    pairs += [(".rdb", ".RDB"), ("conv_hr", f"model.{3 * doublings + 2}"), ("conv_last", f"model.{3 * doublings + 4}")]
    pairs += [(f"conv_up{number}", f"model.{3 * number}") for number in range(1, doublings + 1)]
    return {re.sub(r"(RDB\d\.conv\d)\.", r"\1.0.", name): v for name, v in _replaced(state, tuple(pairs)).items()}


def _replaced(state: dict[str, Tensor], pairs: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        for old, new in pairs:
            name = name.replace(old, new)
        renamed[name] = value
    return renamed


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_config_and_weights_are_read_in_every_naming(variant: str) -> None:
    network = RRDBNet(**{**SMALL, **VARIANTS[variant]})
    state = network.state_dict()
    for naming in (state, _second_naming(state), _third_naming(state, network.config)):
        renamed = DETECTOR.rename(naming)
        assert DETECTOR.matches(renamed)
        assert DETECTOR.config(renamed) == network.config
        assert renamed.keys() == state.keys()
        assert all(renamed[name] is state[name] for name in state)


@pytest.mark.parametrize(("scale", "plus"), [(1, False), (4, True), (8, False)])
def test_third_naming_is_that_of_an_independent_implementation(scale: int, plus: bool) -> None:
    theirs = ESRGAN(num_filters=6, num_blocks=1, scale=scale, plus=plus).state_dict()
    ours = RRDBNet(num_feat=6, num_block=1, num_grow_ch=32, scale=scale, plus=plus)
    assert _third_naming(ours.state_dict(), ours.config).keys() == theirs.keys()
    assert DETECTOR.config(DETECTOR.rename(theirs)) == ours.config


def test_other_families_are_left_alone() -> None:
    network = RRDBNet(**SMALL)
    longer = {**_third_naming(network.state_dict(), network.config), "f_block.0.weight": torch.ones(1)}
    for foreign in (longer, {"conv_first.weight": torch.ones(1), "body.0.weight": torch.ones(1)}, {}):
        renamed = DETECTOR.rename(foreign)
        assert renamed is foreign
        assert not DETECTOR.matches(renamed)
