"""BSRT's size and names, its alignment where the answer is known, and what must hold for every burst."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.networks.bsrt.alignment import FlowGuidedAlignment, GuidedDeformConv
from dp_ir.networks.bsrt.model import BSRT

TINY: dict[str, Any] = {
    "burst_size": 3,
    "embed_dim": 12,
    "depths": (2, 2, 1),
    "num_heads": (2, 3, 2),
    "window_size": 4,
    "mlp_ratio": 1.5,
    "n_feats": 8,
    "deform_groups": 2,
}
LARGE: dict[str, Any] = {"embed_dim": 180, "depths": (6, *[8] * 6), "num_heads": (6,) * 7}


def _randomised(network: Any) -> Any:
    """Weights for which flows and offsets are several pixels and every layer matters."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() > 1:
            parameter.data = noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = float("norm" in name and name.endswith("weight")) + 0.1 * noise
    return network.eval()


def _burst(frames: int = 3, height: int = 8, width: int = 12, batch: int = 1) -> Tensor:
    return torch.rand(batch, frames, 4, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def network() -> BSRT:
    return _randomised(BSRT(**TINY)).requires_grad_(False)


@pytest.mark.parametrize(
    ("config", "parameters", "entries"), [({}, 4_915_665, 572), (LARGE, 20_713_905, 912)], ids=["small", "large"]
)
def test_sizes_are_the_released_ones(config: dict[str, Any], parameters: int, entries: int) -> None:
    with torch.device("meta"):
        network = BSRT(**config)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(network.state_dict()) == entries
    assert (network.scale, network.channels, network.multiple_of) == (8, 4, 8)


def test_the_state_dict_has_the_released_names() -> None:
    names = BSRT(**TINY).state_dict().keys()
    assert list(names)[:2] == ["spynet.mean", "spynet.std"]
    assert not [name for name in names if "mask" in name.split(".")[-1] or "seams" in name]
    assert {
        "spynet.basic_module.0.basic_module.8.bias",
        "conv_flow.weight",
        "patch_embed.norm.weight",
        "pre_layers.1.attn.relative_position_index",
        "pre_norm.weight",
        "align.L3_dcnpack.conv_offset_mask.weight",
        "align.L1_fea_conv.bias",
        "align.cas_dcnpack.weight",
        "layers.0.residual_group.blocks.1.mlp.fc2.weight",
        "layers.1.conv.weight",
        "skipup2.bias",
    } <= names


def test_config_rebuilds_the_network(network: BSRT) -> None:
    rebuilt = BSRT(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config
    assert torch.equal(rebuilt.eval().requires_grad_(False)(_burst()), network(_burst()))


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 20), (16, 4)])
def test_bursts_of_a_batch_do_not_see_each_other(network: BSRT, height: int, width: int) -> None:
    burst = _burst(height=height, width=width, batch=2)
    together = network(burst)
    assert together.shape == (2, 3, 8 * height, 8 * width)
    torch.testing.assert_close(together, torch.cat([network(one[None]) for one in burst]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_short_burst_is_the_one_whose_frames_come_again(network: BSRT, frames: int) -> None:
    burst = _burst(frames)
    again = torch.cat([burst] * 3, dim=1)[:, :3]
    torch.testing.assert_close(network(burst), network(again), rtol=1e-4, atol=1e-5)


def test_of_a_long_burst_the_first_frames_are_used(network: BSRT) -> None:
    burst = _burst(5)
    torch.testing.assert_close(network(burst), network(burst[:, :3]))


def test_the_other_frames_may_change_places_with_their_weights(network: BSRT) -> None:
    burst = _burst()
    expected = network(burst)
    swapped = BSRT(**TINY).eval()
    swapped.load_state_dict(network.state_dict())
    order = [0, 2, 1]
    swapped.fusion.weight.data = network.fusion.weight.unflatten(1, (3, -1))[:, order].flatten(1, 2)
    torch.testing.assert_close(swapped(burst[:, order]), expected, rtol=1e-4, atol=1e-5)
    assert (network(burst[:, order]) - expected).abs().max() > 1e-3
    assert (network(burst[:, [1, 0, 2]]) - expected).abs().max() > 1e-3


def test_without_its_last_layer_it_enlarges_the_first_frame_alone(network: BSRT) -> None:
    cut = BSRT(**TINY).eval()
    cut.load_state_dict(network.state_dict())
    cut.conv_last.weight.data.zero_()
    cut.conv_last.bias.data.zero_()
    burst = _burst()
    mosaic = torch.empty(1, 1, 16, 24)
    mosaic[..., 0::2, 0::2], mosaic[..., 0::2, 1::2] = burst[:, 0, 0:1], burst[:, 0, 1:2]  # R, G
    mosaic[..., 1::2, 0::2], mosaic[..., 1::2, 1::2] = burst[:, 0, 2:3], burst[:, 0, 3:4]  # G, B
    hidden = F.leaky_relu(F.pixel_shuffle(cut.skipup1(mosaic), 2), 0.1)
    torch.testing.assert_close(cut(burst), F.pixel_shuffle(cut.skipup2(hidden), 2))


def test_both_operators_give_the_same_image(network: BSRT) -> None:
    images = []
    for operator in ("torch", "torchvision"):
        with mock.patch("dp_ir.networks.bsrt.deform_conv.preferred_operator", return_value=operator):
            images.append(network(_burst()))
    assert (images[0] - images[1]).abs().max() / images[1].abs().max() < 1e-5


def test_every_parameter_and_every_frame_gets_a_gradient() -> None:
    network = _randomised(BSRT(**TINY))
    burst = _burst().requires_grad_()
    network(burst).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert burst.grad is not None
    assert (burst.grad.abs().sum(dim=(0, 2, 3, 4)) > 0).all()


@pytest.mark.parametrize("shape", [(1, 0, 4, 8, 8), (1, 3, 3, 8, 8), (1, 3, 4, 6, 8), (3, 4, 8, 8)])
def test_bursts_of_other_shapes_are_refused(network: BSRT, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        network(torch.zeros(shape))


def test_stages_without_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="num_heads"):
        BSRT(depths=(1, 1), num_heads=(2,))


def test_untrained_alignment_is_half_a_convolution_of_what_the_flow_points_to() -> None:
    layer = GuidedDeformConv(4, groups=2)
    features, guide = torch.randn(2, 2, 4, 9, 10, generator=torch.Generator().manual_seed(2))
    flow = torch.tensor([3.0, -2.0])[None, :, None, None].expand(2, -1, 9, 10)
    moved = F.pad(features, (5, 5, 5, 5))[..., 2:13, 7:19]  # two rows up, three columns to the right, and a border
    torch.testing.assert_close(layer(features, guide, flow), 0.5 * F.conv2d(moved, layer.weight))
    torch.testing.assert_close(layer(features, guide), 0.5 * F.conv2d(features, layer.weight, padding=1))


def test_taps_stay_within_ten_pixels_of_the_flow_and_are_free_without_one() -> None:
    layer = GuidedDeformConv(2, groups=1)
    bias = layer.conv_offset_mask.bias
    assert bias is not None
    bias.data[:18:2], bias.data[1:18:2], bias.data[18:] = 12.0, 0.0, 100.0  # rows, columns, mask
    features = torch.randn(1, 2, 30, 6, generator=torch.Generator().manual_seed(3))
    flow = torch.tensor([0.0, 1.0])[None, :, None, None].expand(1, -1, 30, 6)
    for rows, aligned in ((11, layer(features, features, flow)), (12, layer(features, features))):
        moved = F.pad(features, (1, 1, 0, 14))[:, :, rows - 1 : rows + 31]
        torch.testing.assert_close(aligned, F.conv2d(moved, layer.weight), rtol=1e-4, atol=1e-4)


def test_a_translated_frame_is_brought_into_register() -> None:
    align = _randomised(FlowGuidedAlignment(8, groups=2)).requires_grad_(False)
    for name, parameter in align.named_parameters():
        if "conv_offset_mask" in name:
            parameter.data *= 0.1  # offsets of a pixel or so, which keep the border out of the middle
        if name.endswith("offset_conv1.weight") and not name.startswith("cas"):
            parameter.data[:, -2:] = 0.0  # the flow itself is the one input that the translation changes
    generator = torch.Generator().manual_seed(4)
    reference = [torch.randn(1, 8, 80 // 2**level, 96 // 2**level, generator=generator) for level in range(3)]
    rows, columns = 4, -8
    frame = [
        level.roll((rows // 2**number, columns // 2**number), dims=(2, 3)) for number, level in enumerate(reference)
    ]
    still = [torch.zeros(1, 2, *level.shape[2:]) for level in reference]
    flows = [
        flow + torch.tensor([float(columns), float(rows)])[:, None, None] / 2**number
        for number, flow in enumerate(still)
    ]
    middle = (..., slice(32, -32), slice(36, -36))
    expected = align(reference, reference, still)[middle]
    torch.testing.assert_close(align(frame, reference, flows)[middle], expected, rtol=1e-4, atol=1e-4)
    assert (align(frame, reference, still)[middle] - expected).abs().max() > 0.1
