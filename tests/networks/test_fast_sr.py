"""The context of the fast 4x restorer."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_networks import randomised

from dp_ir.checkpoints import load_network, save_network
from dp_ir.networks.fast_sr import FastSR

SMALL = {"channels": 8, "blocks": 1}


def image(height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@settings(max_examples=12, deadline=None)
@given(height=st.integers(1, 13), width=st.integers(1, 13), levels=st.integers(1, 3))
def test_untrained_the_context_changes_nothing_at_any_size(height: int, width: int, levels: int) -> None:
    plain = randomised(FastSR(**SMALL))
    context = FastSR(**SMALL, context=(16, 8, 8)[:levels])
    missing = context.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    assert all(name.startswith("context.") for name in missing)
    with torch.no_grad():
        torch.testing.assert_close(context(image(height, width, 2)), plain(image(height, width, 2)))


def test_the_context_sees_further() -> None:
    reaches = []
    for context in (None, (8, 8, 8)):
        network, observation = randomised(FastSR(**SMALL, context=context)), image(64, 64).requires_grad_()
        network(observation)[0, :, 128, 128].sum().backward()
        assert observation.grad is not None
        reaches.append(int((observation.grad[0, :, 32].abs().sum(0) > 0).sum()))
    assert reaches[0] <= 2 * 8 < 40 < reaches[1]  # five convolutions and the bicubic kernel; without end in a U-Net


def test_a_file_brings_it_back_and_says_how_far_it_sees(tmp_path) -> None:
    network = randomised(FastSR(**SMALL, context=(8, 16)))
    save_network(tmp_path / "restorer.safetensors", network, kind="restorer")
    again, _ = load_network(tmp_path / "restorer.safetensors")
    assert again.config == {**SMALL, "scale": 4, "context": [8, 16]}
    assert again.receptive_field == FastSR(**SMALL).receptive_field + 2 * 2 * 2
    with torch.no_grad():
        torch.testing.assert_close(again(image(9, 7)), network(image(9, 7)))


def test_every_parameter_of_a_context_gets_a_gradient() -> None:
    network = randomised(FastSR(**SMALL, context=(8, 16, 8)))
    network(image(16, 16, 2)).square().mean().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters())
