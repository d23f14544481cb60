"""The fast 4x restorer of photos as people have them."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import randomised

from dp_ir.checkpoints import load_network, save_network
from dp_ir.checkpoints.contract import info_of
from dp_ir.networks.fast_photo.model import FastPhoto

SMALL = {"channels": (16, 16), "blocks": (1, 1), "enlarging_channels": 8, "enlarging_blocks": 1}


def image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_it_is_small_and_says_what_it_is() -> None:
    assert sum(parameter.numel() for parameter in FastPhoto().parameters()) <= 3.6e6
    info = info_of(FastPhoto())
    assert (info.scale, info.channels, info.value_range, info.supports_bfloat16) == (4, 3, (0.0, 1.0), True)


@settings(max_examples=12, deadline=None)
@given(height=st.integers(1, 13), width=st.integers(1, 13))
def test_it_enlarges_what_it_has_cleaned_at_any_size(height: int, width: int) -> None:
    network, observation = randomised(FastPhoto(**SMALL)), image(height, width, 2)
    with torch.no_grad():
        result = network(observation)
        cleaned = network.clean(observation)
        torch.testing.assert_close(result, network.enlarge(cleaned))
    assert result.shape == (2, 3, 4 * height, 4 * width)
    assert not torch.allclose(cleaned, observation)


def test_untrained_it_is_the_bicubic_enlargement() -> None:
    expected = torch.nn.functional.interpolate(image(5, 7), scale_factor=4, mode="bicubic")
    torch.testing.assert_close(FastPhoto(**SMALL)(image(5, 7)), expected)


def test_every_parameter_gets_a_gradient() -> None:
    network = randomised(FastPhoto(**SMALL))
    network(image(16, 16, 2)).square().mean().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters())


def test_a_file_brings_it_back(tmp_path) -> None:
    network = randomised(FastPhoto(**SMALL))
    save_network(tmp_path / "restorer.safetensors", network, kind="restorer")
    again, _ = load_network(tmp_path / "restorer.safetensors")
    assert again.config == {**{k: list(v) if isinstance(v, tuple) else v for k, v in SMALL.items()}, "scale": 4}
    with torch.no_grad():
        torch.testing.assert_close(again(image(9, 7)), network(image(9, 7)))
