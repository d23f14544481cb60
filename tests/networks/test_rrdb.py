"""RRDBNet against an independent implementation with the same weights, and by its published size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from random_networks import random_image, randomised
from spandrel.architectures.ESRGAN import ESRGAN
from torch import nn

from dp_ir.networks.rrdb.detect import DETECTOR
from dp_ir.networks.rrdb.model import RRDBNet

SMALL: dict[str, Any] = {"num_feat": 8, "num_block": 2}
VARIANTS: dict[str, dict[str, Any]] = {
    "x4": {},
    "x2": {"scale": 2, "num_block": 1},
    "x8": {"scale": 8, "num_block": 1, "num_out_ch": 1},
    "x1": {"scale": 1, "num_in_ch": 1, "num_out_ch": 1},
    "x2 unshuffled": {"scale": 2, "unshuffle": 2},
    "x1 unshuffled": {"scale": 1, "unshuffle": 4},
    "plus": {"plus": True},
}


def _reference(config: dict[str, Any]) -> nn.Module:
    unshuffle = config["unshuffle"]
    return ESRGAN(
        in_nc=config["num_in_ch"] * unshuffle**2,
        out_nc=config["num_out_ch"],
        num_filters=config["num_feat"],
        num_blocks=config["num_block"],
        scale=config["scale"] * unshuffle,
        plus=config["plus"],
        shuffle_factor=unshuffle if unshuffle > 1 else None,
    )


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_equals_an_independent_implementation(variant: str) -> None:
    network = RRDBNet(**{**SMALL, **VARIANTS[variant]}).eval()
    reference = randomised(_reference(network.config))
    network.load_state_dict(DETECTOR.rename(reference.state_dict()))
    for height, width in ((7, 10), (5, 5), (4, 13)):
        image = random_image(network.channels, height, width)
        with torch.no_grad():
            ours, theirs = network(image), reference(image)
        assert ours.shape[-2:] == (network.scale * height, network.scale * width)
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_parameter_gets_a_gradient_and_config_rebuilds_the_network(variant: str) -> None:
    network = RRDBNet(**{**SMALL, **VARIANTS[variant], "num_grow_ch": 4})
    network(random_image(network.channels, 6, 5)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    rebuilt = RRDBNet(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (3, 2)])
def test_tiny_images(size: tuple[int, int]) -> None:
    network = randomised(RRDBNet(**SMALL, scale=1, unshuffle=4, num_grow_ch=4))
    image = random_image(3, *size)
    with torch.no_grad():
        together = network(image)
        alone = torch.cat([network(image[:1]), network(image[1:])])
    assert together.shape == image.shape
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_published_size() -> None:
    with torch.device("meta"):
        network = RRDBNet()
    assert sum(parameter.numel() for parameter in network.parameters()) == 16_697_987
    assert network.scale == 4


def test_bfloat16_stays_near() -> None:
    network = randomised(RRDBNet(**SMALL, num_grow_ch=8))
    with torch.no_grad():
        full = network(random_image(3, 9, 8))
        with torch.autocast("cpu", torch.bfloat16):
            low = network(random_image(3, 9, 8))
    assert (low - full).abs().max() <= 0.03 * full.abs().max()


@pytest.mark.parametrize("wrong", [{"scale": 3}, {"scale": 0}, {"unshuffle": 3, "scale": 1}], ids=str)
def test_scales_that_doubling_does_not_reach_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="power of 2"):
        RRDBNet(**SMALL, **wrong)
