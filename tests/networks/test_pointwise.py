"""The fast forms of linear maps and of convolutions of enlarged features, against the plain ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dp_ir.networks.layers.doubling import conv_of_doubled
from dp_ir.networks.layers.pointwise import PixelLinear, pointwise


@pytest.mark.parametrize("shape", [(1, 5, 7, 6), (20, 3, 6), (4, 6), (2, 3, 2, 5, 6)])
@pytest.mark.parametrize("bias", [True, False])
def test_pointwise_is_a_linear_map_of_channels(shape: tuple[int, ...], bias: bool) -> None:
    layer = PixelLinear(6, 4, bias=bias)
    tokens = torch.randn(shape)
    torch.testing.assert_close(layer(tokens), F.linear(tokens, layer.weight, layer.bias))
    assert layer(tokens).is_contiguous()


def test_pointwise_takes_the_weight_of_a_convolution_in_any_layout() -> None:
    convolution = nn.Conv2d(6, 4, 1).to(memory_format=torch.channels_last)
    tokens = torch.randn(2, 5, 7, 6)
    expected = convolution(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(pointwise(tokens, convolution.weight, convolution.bias), expected)


def test_pointwise_takes_tokens_that_are_not_dense() -> None:
    layer = PixelLinear(3, 4)
    tokens = torch.randn(2, 6, 5, 7).transpose(1, 3)[..., :3]
    torch.testing.assert_close(layer(tokens), F.linear(tokens, layer.weight, layer.bias))


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_convolution_of_doubled_features(size: tuple[int, int], layout: torch.memory_format) -> None:
    convolution = nn.Conv2d(5, 3, 3, padding=1)
    features = torch.randn(2, 5, *size).contiguous(memory_format=layout)
    expected = convolution(F.interpolate(features, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(conv_of_doubled(features, convolution), expected, rtol=1e-5, atol=1e-5)


def test_gradients_of_both_forms() -> None:
    convolution = nn.Conv2d(4, 2, 3, padding=1).double()
    linear = PixelLinear(4, 3).double()
    features = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: conv_of_doubled(given, convolution), (features,))
    assert torch.autograd.gradcheck(lambda given: linear(given.permute(0, 2, 3, 1)), (features,))
