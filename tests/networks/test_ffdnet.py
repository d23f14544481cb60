"""FFDNet against its definition, written with other operations than the network is, and another implementation."""

from __future__ import annotations

import pytest
import torch
from deepinv.models import FFDNet as OtherFFDNet
from torch import Tensor

from dp_ir.networks.ffdnet.model import FFDNet

PUBLISHED = {"colour": ({}, 852_108, 12), "grey": ({"channels": 1, "nc": 64, "nb": 15}, 485_316, 15)}


def randomised(network: FFDNet) -> FFDNet:
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / max(1, parameter[0].numel()) ** 0.5
    return network.eval()


def defined(state: dict[str, Tensor], noisy: Tensor, sigma: Tensor) -> Tensor:
    """What the paper defines, pixel squares by slicing and convolutions as matrix products; in double precision."""
    height, width = noisy.shape[-2:]
    rows = [min(row, height - 1) for row in range(height + height % 2)]
    columns = [min(column, width - 1) for column in range(width + width % 2)]
    image = noisy.double()[:, :, rows][:, :, :, columns]
    squares = torch.stack([image[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], dim=2).flatten(1, 2)
    features = torch.cat((squares, sigma.double()[:, None, None, None] * torch.ones_like(squares[:, :1])), dim=1)
    numbers = sorted({int(name.split(".")[1]) for name in state})
    for number in numbers:
        weight, bias = state[f"model.{number}.weight"].double(), state[f"model.{number}.bias"].double()
        columns_of = torch.nn.functional.unfold(features, 3, padding=1)
        features = (weight.flatten(1) @ columns_of + bias[:, None]).unflatten(2, features.shape[-2:])
        if number != numbers[-1]:
            features = features.clamp_min(0)
    result = torch.zeros(noisy.shape[0], noisy.shape[1], len(rows), len(columns), dtype=torch.float64)
    for index, (i, j) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        result[:, :, i::2, j::2] = features[:, index::4]
    return result[..., :height, :width]


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (8, 8), (13, 10), (6, 17)])
@pytest.mark.parametrize(
    "config", [{"nc": 16, "nb": 4}, {"channels": 1, "nc": 8, "nb": 2}, {"channels": 2, "nc": 12, "nb": 3}]
)
def test_equals_the_definition(config, size):
    network = randomised(FFDNet(**config))
    noisy, sigma = torch.rand(2, network.channels, *size), torch.tensor([0.05, 0.2])
    with torch.no_grad():
        found = network(noisy, sigma)
    expected = defined(network.state_dict(), noisy, sigma)
    assert found.shape == noisy.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("config", [{"nc": 16, "nb": 4}, {"channels": 1, "nc": 8, "nb": 15}])
def test_equals_the_other_implementation(config):
    network = randomised(FFDNet(**config))
    other = OtherFFDNet(
        n_conv_layers=config["nb"], nf=config["nc"], img_channels=network.channels, pretrained=None, device=None
    ).eval()
    first, *rest = network.state_dict().values()
    # It cuts the map of the noise level into four as well, all of which are the same.
    widened = torch.cat((first[:, :-1], first[:, -1:].expand(-1, 4, -1, -1) / 4), dim=1)
    other.load_state_dict(dict(zip(other.state_dict(), [widened, *rest], strict=True)))
    noisy, sigma = torch.rand(2, network.channels, 14, 10), torch.tensor([0.05, 0.2])
    with torch.no_grad():
        found, expected = network(noisy, sigma), other(noisy, sigma)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_parameters_all_get_gradients_and_both_inputs_count():
    network = randomised(FFDNet(nc=8, nb=4))
    noisy, sigma = torch.rand(2, 3, 9, 8, requires_grad=True), torch.tensor([0.1, 0.2], requires_grad=True)
    network(noisy, sigma).square().mean().backward()
    for name, value in [*network.named_parameters(), ("noisy", noisy), ("sigma", sigma)]:
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", list(PUBLISHED))
def test_size_and_names_of_the_published_networks(kind):
    config, parameters, convolutions = PUBLISHED[kind]
    with torch.device("meta"):
        network = FFDNet(**config)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert list(network.state_dict()) == [
        f"model.{2 * number}.{part}" for number in range(convolutions) for part in ("weight", "bias")
    ]
    assert FFDNet(**network.config).config == network.config


def test_a_single_convolution_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        FFDNet(nb=1)
