"""DRUNet against an independent implementation."""

from __future__ import annotations

import pytest
import torch
from spandrel.architectures.DRUNet import DRUNet as OtherDRUNet

from dp_ir.networks.drunet.model import DRUNet


@pytest.mark.parametrize("size", [(8, 8), (24, 40), (56, 8)])
@pytest.mark.parametrize(
    "config",
    [
        {"nc": [8, 12, 16, 24], "nb": 2},
        {"channels": 1, "nc": [4, 8, 8, 12], "nb": 3},
        {"channels": 2, "nc": [6, 4, 10, 8], "nb": 4},
    ],
)
def test_equals_the_other_implementation(config, size):
    network = DRUNet(**config).eval()
    other = OtherDRUNet(in_nc=network.channels + 1, out_nc=network.channels, nc=config["nc"], nb=config["nb"]).eval()
    other.load_state_dict(network.state_dict())
    image = torch.rand(2, network.channels + 1, *size)
    with torch.no_grad():
        found, expected = network(image), other(image)
    assert found.shape == (2, network.channels, *size)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_scaling_the_input_scales_the_result():
    network = DRUNet(nc=[8, 8, 8, 8], nb=2)
    image = torch.rand(1, 4, 16, 16)
    torch.testing.assert_close(network(2 * image), 2 * network(image))


def test_every_parameter_gets_a_gradient_and_the_noise_level_counts():
    network = DRUNet(nc=[8, 8, 8, 8], nb=2)
    image = torch.rand(1, 4, 16, 16, requires_grad=True)
    network(image).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    assert image.grad is not None
    assert (image.grad.abs().sum(dim=(0, 2, 3)) > 0).all()


@pytest.mark.parametrize(("channels", "parameters"), [(3, 32_640_960), (1, 32_638_656)])
def test_size_and_names_of_the_published_networks(channels, parameters):
    with torch.device("meta"):
        network = DRUNet(channels=channels)
        other = OtherDRUNet(in_nc=channels + 1, out_nc=channels)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    shapes = {name: value.shape for name, value in other.state_dict().items()}
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes


def test_config_rebuilds_the_network():
    network = DRUNet(channels=1, nc=(4, 8, 12, 16), nb=1)
    rebuilt = DRUNet(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config
    with pytest.raises(ValueError, match="has 4"):
        DRUNet(nc=(4, 8))
