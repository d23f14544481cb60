"""Optical flow where its value is known in closed form."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.networks.bsrt.spynet import SpyNet, flow_warp


def _network(*, flows: int = 1, bias: float | None = None) -> SpyNet:
    """A network of zero weights; with `bias`, every level adds that many pixels to the flow."""
    network = SpyNet(flows=flows).eval()
    for parameter in network.parameters():
        parameter.data.zero_()
    if bias is not None:
        for level in network.basic_module:
            level.basic_module[-1].bias.data.copy_(torch.tensor([bias, -bias]))
    return network


def _images(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(batch, 3, height, width, generator=generator) for _ in range(2))


def _flow(column: float, row: float, height: int, width: int) -> Tensor:
    return torch.tensor([float(column), float(row)])[None, :, None, None].expand(1, 2, height, width)


@pytest.mark.parametrize(("column", "row"), [(0, 0), (3, 0), (0, -2), (-4, 5)])
def test_whole_flows_translate(column: int, row: int) -> None:
    image, _ = _images(9, 11)
    warped = flow_warp(image, _flow(column, row, 9, 11))
    wide = F.pad(image, (5, 5, 5, 5))
    torch.testing.assert_close(warped, wide[..., 5 + row : 14 + row, 5 + column : 16 + column])
    bordered = flow_warp(image, _flow(column, row, 9, 11), padding_mode="border")
    wide = F.pad(image, (5, 5, 5, 5), mode="replicate")
    torch.testing.assert_close(bordered, wide[..., 5 + row : 14 + row, 5 + column : 16 + column])


def test_fractional_flows_move_a_ramp_by_their_length() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing="ij")
    ramp = (7 * rows + columns)[None, None]
    warped = flow_warp(ramp, _flow(0.75, -0.5, 8, 10))
    torch.testing.assert_close(warped[..., 1:, :-1], (ramp + 0.75 - 3.5)[..., 1:, :-1])


def test_the_flow_that_varies_is_followed_pixel_by_pixel() -> None:
    image, _ = _images(6, 6)
    columns = torch.arange(6.0).expand(6, 6)
    mirror = torch.stack((5 - 2 * columns, torch.zeros(6, 6)))[None]
    torch.testing.assert_close(flow_warp(image, mirror), image.flip(-1))


def test_maps_one_pixel_wide_are_warped_too() -> None:
    image, _ = _images(1, 4)
    assert torch.equal(flow_warp(image, _flow(0.0, 2.0, 1, 4)), torch.zeros_like(image))
    torch.testing.assert_close(flow_warp(image, _flow(1.0, 0.0, 1, 4))[..., :-1], image[..., 1:])


@pytest.mark.parametrize(("height", "width"), [(32, 64), (40, 72), (16, 4)])
def test_zero_weights_find_no_flow_at_any_size(height: int, width: int) -> None:
    flows = _network(flows=3)(*_images(height, width, batch=2))
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, height // 2**i, width // 2**i) for i in range(3)]
    assert all(torch.equal(flow, torch.zeros_like(flow)) for flow in flows)


def test_what_the_levels_add_is_doubled_from_one_to_the_next() -> None:
    # After L levels that each add one pixel, the flow is 2 ** L - 1 pixels.
    for flow, pixels in zip(_network(flows=3, bias=1.0)(*_images(64, 32)), (63, 31, 15), strict=True):
        torch.testing.assert_close(flow, _flow(pixels, -pixels, *flow.shape[-2:]))


def test_flows_are_scaled_back_to_the_size_of_the_images() -> None:
    # 48 x 40 is enlarged to 64 x 64 before; pixels of the flow shrink by 48 / 64 and 40 / 64 after.
    flow = _network(bias=1.0)(*_images(40, 48))[0]
    torch.testing.assert_close(flow, _flow(63 * 48 / 64, -63 * 40 / 64, 40, 48))


def test_a_network_that_compares_finds_where_a_ramp_moved() -> None:
    # One level at full resolution answers with what the flow so far leaves between the images: on a ramp of one unit
    # (of the normalised image) per pixel, that is the displacement itself.
    network = _network()
    finest = network.basic_module[-1].basic_module
    for layer in finest[::2]:
        layer.weight.data[0, 0, 3, 3] = layer.weight.data[1, 1, 3, 3] = 1.0  # hand two channels on; ReLU keeps both > 0
    finest[0].weight.data.zero_()
    finest[0].weight.data[0, 0, 3, 3], finest[0].weight.data[0, 3, 3, 3] = 1.0, -1.0  # reference - other, if positive
    finest[0].weight.data[1, 0, 3, 3], finest[0].weight.data[1, 3, 3, 3] = -1.0, 1.0
    finest[-1].weight.data.zero_()
    finest[-1].weight.data[0, 0, 3, 3], finest[-1].weight.data[0, 1, 3, 3] = 1.0, -1.0
    ramp = network.std * torch.arange(32.0).expand(1, 3, 32, 32) + network.mean
    (flow,) = network(ramp, ramp - 2.5 * network.std)
    torch.testing.assert_close(flow, _flow(2.5, 0.0, 32, 32), rtol=1e-4, atol=1e-4)


def test_names_and_size_are_the_released_ones() -> None:
    with torch.device("meta"):
        network = SpyNet()
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_440_300
    assert {"mean", "std", "basic_module.5.basic_module.8.weight"} <= network.state_dict().keys()
