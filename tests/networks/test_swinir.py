"""SwinIR against an independent implementation with the same weights, and by its published sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from random_networks import random_image, randomised
from spandrel.architectures.SwinIR import SwinIR as Reference

from dp_ir.networks.layers.swin import attention_mask, relative_position_index
from dp_ir.networks.swinir.model import SwinIR

SMALL: dict[str, Any] = {"img_size": 16, "embed_dim": 16, "depths": [2, 3], "num_heads": [2, 4]}
VARIANTS: dict[str, dict[str, Any]] = {
    "classical": {},
    "classical x3": {"upscale": 3, "qkv_bias": False},
    "lightweight": {"upsampler": "pixelshuffledirect", "upscale": 2, "mlp_ratio": 1.5},
    "real-world": {"upsampler": "nearest+conv", "resi_connection": "3conv"},
    "real-world x2": {"upsampler": "nearest+conv", "upscale": 2, "patch_norm": False},
    "denoising": {"upsampler": "", "upscale": 1, "depths": [3, 1], "num_heads": [4, 2]},
    "grey JPEG": {
        "upsampler": "", "upscale": 1, "in_chans": 1, "window_size": 7, "img_size": 21, "img_range": 255.0,
    },
}  # fmt: skip
SIZES = ((17, 26), (16, 16), (5, 41))


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_equals_an_independent_implementation(variant: str) -> None:
    network = SwinIR(**{**SMALL, **VARIANTS[variant]}).eval()
    reference = randomised(Reference(**network.config))
    network.load_state_dict(reference.state_dict())
    for height, width in SIZES:
        image = random_image(network.channels, height, width)
        with torch.no_grad():
            ours, theirs = network(image), reference(image)
        assert ours.shape == theirs.shape == (2, network.channels, network.scale * height, network.scale * width)
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_gradients_equal_those_of_an_independent_implementation() -> None:
    network = SwinIR(**SMALL)
    reference = randomised(Reference(**network.config))
    network.load_state_dict(reference.state_dict())
    image = random_image(3, 15, 17)
    for module in (network.eval(), reference):
        module(image).square().mean().backward()
    expected = dict(reference.named_parameters())
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_buffers_are_those_of_the_released_files() -> None:
    expected = Reference(**SwinIR(**SMALL).config).state_dict()
    stored = SwinIR(**SMALL).state_dict()
    assert stored.keys() == expected.keys()
    for name, value in stored.items():
        if name.endswith(("attn_mask", "relative_position_index")):
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("hyper_parameters", "parameters", "tensors"),
    [
        ({}, 11_900_199, 550),
        ({"depths": [6] * 4, "embed_dim": 60, "num_heads": [6] * 4, "upsampler": "pixelshuffledirect"}, 929_628, 366),
        ({"img_size": 128, "upscale": 1, "upsampler": ""}, 11_504_163, None),
    ],
    ids=["M x4", "S x4", "colour denoising"],
)
def test_published_sizes(hyper_parameters: dict[str, Any], parameters: int, tensors: int | None) -> None:
    with torch.device("meta"):
        network = SwinIR(**hyper_parameters)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert tensors is None or len(network.state_dict()) == tensors


@pytest.mark.parametrize("variant", [*VARIANTS, "position embedding"])
def test_every_parameter_gets_a_gradient_and_config_rebuilds_the_network(variant: str) -> None:
    extra = VARIANTS.get(variant, {"ape": True, "depths": [2], "num_heads": [4]})
    network = randomised(SwinIR(**{**SMALL, **extra}))
    network(random_image(network.channels, 16, 30)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    rebuilt = SwinIR(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 20), (8, 8)])
def test_images_smaller_than_a_window(size: tuple[int, int]) -> None:
    network = randomised(SwinIR(**{**SMALL, "ape": True}))
    image = random_image(3, *size)
    with torch.no_grad():
        together = network(image)
        alone = torch.cat([network(image[:1]), network(image[1:])])
    assert together.shape == (2, 3, 4 * size[0], 4 * size[1])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_position_embedding_at_the_training_size() -> None:
    network = SwinIR(**SMALL, ape=True).eval()
    reference = randomised(Reference(**network.config))
    network.load_state_dict(reference.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(
            network(random_image(3, 16, 16)), reference(random_image(3, 16, 16)), rtol=1e-4, atol=1e-5
        )


def test_stored_masks_keep_apart_what_the_roll_brought_together() -> None:
    """Two pixels of a window see each other exactly if they were less than a window apart before the roll."""
    window, size = 4, 12
    rolled = torch.arange(size).roll(-window // 2)
    row, column = (
        axis.view(3, window, 3, window).transpose(1, 2).reshape(9, -1)
        for axis in torch.meshgrid(rolled, rolled, indexing="ij")
    )
    apart = [(at[:, :, None] - at[:, None, :]).abs() >= window for at in (row, column)]
    assert torch.equal(attention_mask(size, window) < 0, apart[0] | apart[1])


def test_relative_positions_share_an_entry_exactly_if_their_offsets_are_equal() -> None:
    index = relative_position_index(3)
    at = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    offsets = (at[:, None] - at[None, :]).flatten(0, 1)
    entries = index.flatten()
    assert torch.equal((offsets[:, None] == offsets[None, :]).all(-1), entries[:, None] == entries[None, :])
    assert sorted(set(entries.tolist())) == list(range(25))


def test_bfloat16_stays_near() -> None:
    network = randomised(SwinIR(**{**SMALL, **VARIANTS["denoising"]}))
    network.conv_last.weight.data *= 0.1
    image = random_image(3, 16, 24)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = network(image)
    with torch.no_grad():
        torch.testing.assert_close(low, network(image), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        {"upsampler": "", "upscale": 2},
        {"upsampler": "pixelshuffle", "upscale": 5},
        {"upsampler": "nearest+conv", "upscale": 1},
        {"upsampler": "bicubic"},
        {"upscale": 0},
        {"resi_connection": "2conv"},
        {"img_size": 20},
        {"img_size": 8},
        {"num_heads": [2]},
        {"num_heads": [2, 3]},
    ],
    ids=str,
)
def test_contradictory_hyper_parameters_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"upsampler|resi_connection|img_size|num_heads"):
        SwinIR(**{**SMALL, **wrong})
