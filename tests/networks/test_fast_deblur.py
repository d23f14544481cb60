"""The fast restorer of images that keep their size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import randomised

from dp_ir.checkpoints.contract import info_of
from dp_ir.networks.fast_deblur.model import FastDeblur
from dp_ir.networks.unet_denoiser.model import UNetDenoiser


def small() -> FastDeblur:
    return FastDeblur(channels=(16, 16, 16), blocks=(1, 1, 1))


def image(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_it_is_small_and_says_what_it_is() -> None:
    assert sum(parameter.numel() for parameter in FastDeblur().parameters()) <= 3.1e6
    info = info_of(FastDeblur())
    assert (info.scale, info.channels, info.value_range, info.supports_bfloat16) == (1, 3, (0.0, 1.0), True)


@settings(max_examples=12, deadline=None)
@given(height=st.integers(1, 21), width=st.integers(1, 21), batch=st.integers(1, 3))
def test_any_size_and_no_leak_between_the_images_of_a_batch(height: int, width: int, batch: int) -> None:
    network, blurred = randomised(small()), image(batch, height, width)
    with torch.no_grad():
        together = network(blurred)
        alone = torch.cat([network(blurred[number : number + 1]) for number in range(batch)])
    assert together.shape == blurred.shape
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_untrained_it_leaves_the_image_as_it_is() -> None:
    torch.testing.assert_close(small()(image(1, 12, 20)), image(1, 12, 20))


def test_every_parameter_gets_a_gradient() -> None:
    network, blurred = randomised(small()), image(2, 16, 16).requires_grad_()
    network(blurred).square().mean().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters())
    assert blurred.grad is not None
    assert bool(blurred.grad.any())


def test_it_sees_as_far_as_a_stroke_of_blur_is_long() -> None:
    """What it makes of a pixel depends on pixels 60 further, in every direction."""
    network = randomised(FastDeblur(channels=(16, 16, 16, 16), blocks=(1, 1, 1, 1)))
    blurred = image(1, 160, 160).requires_grad_()
    network(blurred)[0, :, 80, 80].sum().backward()
    assert blurred.grad is not None
    reach = blurred.grad[0].abs().sum(0) > 0
    assert bool(reach[20, 80] & reach[140, 80] & reach[80, 20] & reach[80, 140])


def test_config_rebuilds_the_network() -> None:
    network = small()
    rebuilt = FastDeblur(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config
    with pytest.raises(ValueError, match="give both per level"):
        FastDeblur(channels=(16, 16), blocks=(1,))


@pytest.mark.parametrize("sigma", [0.01, 0.3])
def test_it_can_begin_as_a_denoiser_for_one_noise_level(sigma: float) -> None:
    """It gives what the denoiser gives, and that part of the centred image which the denoiser's skip takes away."""
    denoiser = randomised(UNetDenoiser(channels=(16, 32), blocks=(1, 2), encoding=16, sigma_data=0.2)).double()
    restorer = FastDeblur.from_denoiser(denoiser, sigma)
    assert restorer.config == {"channels": [16, 32], "blocks": [1, 2]}
    noisy = image(2, 20, 28).double()
    taken = sigma**2 / (sigma**2 + 0.2**2)
    with torch.no_grad():
        expected = denoiser(noisy, torch.full((2,), sigma, dtype=torch.float64)) + taken * (noisy - 0.5)
        torch.testing.assert_close(restorer.double()(noisy), expected, rtol=0, atol=1e-5)  # encodings are float32
        assert bool((expected - noisy).abs().max() > 1e-3)
