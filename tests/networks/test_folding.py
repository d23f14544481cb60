"""At one noise level the modulation is folded into convolutions: the same numbers as the formula gives."""

import pytest
import torch

from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.layers.blocks import ResidualBlock
from dp_ir.networks.unet_denoiser.model import UNetDenoiser


def random_weights(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.double().eval()


def images(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.rand(1, 3, 24, 20, generator=generator, dtype=torch.float64) for _ in range(count)]


def test_a_block_is_its_formula():
    block = random_weights(ResidualBlock(4, encoding=6))
    features, encoding = torch.randn(1, 4, 9, 7, dtype=torch.float64), torch.randn(1, 6, dtype=torch.float64)
    scale, shift = block.modulation(encoding)[:, :, None, None].chunk(2, dim=1)
    expected = features + block.conv2(torch.relu((1 + scale) * block.conv1(features) + shift))
    with torch.no_grad():
        torch.testing.assert_close(block(features, encoding), expected)


@pytest.mark.parametrize("make", [UNetDenoiser, FastFusion])
def test_one_image_gives_what_it_gives_in_a_batch_of_several_levels(make):
    sizes = {"channels": (8, 16), "blocks": (1, 1, 1) if make is FastFusion else (1, 1), "encoding": 8}
    network = random_weights(make(**sizes))
    count = 3 if make is FastFusion else 1
    first, second = images(count), images(count + 1)[1:]
    both = [torch.cat(pair) for pair in zip(first, second, strict=True)]
    sigma = torch.tensor([0.3, 0.05], dtype=torch.float64)
    with torch.no_grad():
        together = network(*both, sigma)  # never folded
        torch.testing.assert_close(network(*first, sigma[:1]), together[:1])
        torch.testing.assert_close(network(*second, sigma[1:]), together[1:])


def test_gradients_flow_where_they_are_asked_for():
    network = random_weights(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8))
    network(*images(3), torch.tensor([0.3], dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert network.weights.mlp[-1].weight.grad.abs().sum() > 0
