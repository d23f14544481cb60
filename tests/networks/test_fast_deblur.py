"""The fast restorer of images that keep their size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import randomised

from dp_ir.checkpoints.contract import info_of
from dp_ir.networks.fast_deblur import FastDeblur


def small() -> FastDeblur:
    return FastDeblur(channels=(16, 16, 16), blocks=(1, 1, 1))


def image(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_it_is_small_and_says_what_it_is() -> None:
    assert sum(parameter.numel() for parameter in FastDeblur().parameters()) <= 3.1e6
    info = info_of(FastDeblur())
    assert (info.scale, info.channels, info.value_range, info.half_safe) == (1, 3, (0.0, 1.0), True)


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
