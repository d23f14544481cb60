"""FFTformer against an independent implementation."""

from __future__ import annotations

import pytest
import torch
from spandrel.architectures.FFTformer import FFTformer as OtherFFTformer
from torch import nn

from dp_ir.networks.fftformer.model import FFTformer

CONFIGS = [
    {"dim": 8, "num_blocks": [1, 2, 1], "num_refinement_blocks": 1},
    {"channels": 1, "dim": 6, "num_blocks": [2, 1, 1], "num_refinement_blocks": 2, "ffn_expansion_factor": 2.66},
    {"dim": 4, "num_blocks": [1, 1, 2], "num_refinement_blocks": 1, "ffn_expansion_factor": 1.5, "bias": True},
]
UNUSED = {"reduce_chan_level2.weight", "reduce_chan_level2.bias"}


def randomised(network: nn.Module) -> nn.Module:
    """Ones and zeros, which training starts from, would hide what the learned filters and the norms do."""
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        spread = 1.0 if parameter.ndim in (1, 5) else parameter[0].numel() ** -0.5
        parameter.data = spread * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def other(network: FFTformer) -> OtherFFTformer:
    config = dict(network.config)
    channels = config.pop("channels")
    return OtherFFTformer(inp_channels=channels, out_channels=channels, **config).eval()


@pytest.mark.parametrize("size", [(32, 32), (32, 96), (64, 32)])
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_the_other_implementation(config, size, layout):
    network = randomised(FFTformer(**config))
    reference = other(network)
    reference.load_state_dict(network.state_dict())
    image = torch.rand(2, network.channels, *size)
    with torch.no_grad():
        found, expected = network(image.contiguous(memory_format=layout)), reference(image)
    assert found.shape == image.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("bias", [False, True])
def test_every_parameter_but_the_unused_ones_gets_a_gradient(bias):
    network = randomised(FFTformer(dim=4, num_blocks=(1, 1, 1), num_refinement_blocks=1, bias=bias))
    network(torch.rand(1, 3, 32, 32)).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is None) == (name in UNUSED), name
        assert parameter.grad is None or parameter.grad.abs().sum() > 0, name


def test_size_and_names_of_the_published_network():
    with torch.device("meta"):
        network, reference = FFTformer(), OtherFFTformer()
    assert sum(parameter.numel() for parameter in network.parameters()) == 16_560_474
    assert len(network.state_dict()) == 535
    shapes = {name: value.shape for name, value in reference.state_dict().items()}
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes


def test_runs_in_bfloat16_autocast_with_its_transforms_in_float32():
    network = randomised(FFTformer(dim=8, num_blocks=(1, 1, 1), num_refinement_blocks=1))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image)
    assert half.isfinite().all()
    assert (half - exact).norm() < 0.05 * exact.norm()


def test_config_rebuilds_the_network():
    network = FFTformer(dim=4, num_blocks=(1, 1, 1), num_refinement_blocks=1, ffn_expansion_factor=2)
    rebuilt = FFTformer(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config
    with pytest.raises(ValueError, match="has 3"):
        FFTformer(num_blocks=(6, 6, 12, 8))
