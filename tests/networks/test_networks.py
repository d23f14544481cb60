"""Properties that hold for every architecture, with random weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dp_ir.networks import (
    FastFusion,
    FastSR,
    Fusion3CA,
    InverseVarianceFusion,
    MIRNet,
    UNetBridge,
    UNetDenoiser,
    mirnet_s,
)
from dp_ir.networks.fusion_3ca.model import COMBINATIONS
from dp_ir.networks.layers.blocks import NoiseEmbedding, pad_to_multiple


def _randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight a random value: the zeros that training starts from would hide what a layer does."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 4
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5
    return network.eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "unet-denoiser": lambda: UNetDenoiser(channels=(16, 16), blocks=(1, 1)),
    "mirnet": lambda: MIRNet(n_feat=8, n_rrg=1, n_msrb=1, height=3, width=3, sigma_map=True),
    "unet-bridge": lambda: UNetBridge(channels=(16, 16), blocks=(1, 1)),
    "fusion-3ca": lambda: Fusion3CA(channels=16, blocks=1),
    "fusion-scalar": lambda: Fusion3CA(channels=16, blocks=1, combination="scalar"),
    "fusion-addition": lambda: Fusion3CA(channels=16, blocks=1, combination="addition"),
    "fusion-concatenation": lambda: Fusion3CA(channels=16, blocks=1, combination="concatenation"),
    "fast-fusion": lambda: FastFusion(channels=(16, 16), blocks=(1, 1, 1)),
    "fast-sr": lambda: FastSR(channels=16, blocks=1),
}


def _inputs(name: str, batch: int, height: int, width: int, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    images = 3 if "fusion" in name else 1
    tensors = [torch.rand(batch, 3, height, width, generator=generator) for _ in range(images)]
    if name != "fast-sr":
        tensors.append(torch.rand(batch, generator=generator) * 0.5 + 0.01)
    return tuple(tensors)


@pytest.mark.parametrize("name", list(NETWORKS))
@settings(max_examples=12, deadline=None)
@given(height=st.integers(1, 21), width=st.integers(1, 21), batch=st.integers(1, 3))
def test_any_size_and_no_leak_between_the_images_of_a_batch(name: str, height: int, width: int, batch: int) -> None:
    network = _randomised(NETWORKS[name]())
    inputs = _inputs(name, batch, height, width)
    with torch.no_grad():
        together = network(*inputs)
        alone = torch.cat([network(*(value[i : i + 1] for value in inputs)) for i in range(batch)])
    scale = 4 if name == "fast-sr" else 1
    assert together.shape == (batch, 3, scale * height, scale * width)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_parameter_gets_a_gradient_and_every_input_counts(name: str) -> None:
    network = _randomised(NETWORKS[name]())
    inputs = tuple(value.requires_grad_() for value in _inputs(name, 2, 16, 16))
    network(*inputs).square().mean().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    unused = {2} if name.startswith("fusion-") else set()  # the paper's fusion does not look at the noisy image
    for number, value in enumerate(inputs):
        counts = value.grad is not None and bool(value.grad.abs().sum() > 0)
        assert counts != (number in unused), number


@pytest.mark.parametrize("name", list(NETWORKS))
def test_config_rebuilds_the_network(name: str) -> None:
    network = NETWORKS[name]()
    rebuilt = type(network)(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config


def test_sizes_of_the_networks() -> None:
    def parameters(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    # The original's count and number of tensors are those of the released network.
    assert parameters(MIRNet()) == 31_787_419
    assert len(MIRNet().state_dict()) == 797
    assert parameters(mirnet_s()) == pytest.approx(2.0e6, rel=0.02)
    assert parameters(Fusion3CA()) == pytest.approx(0.7e6, rel=0.05)
    assert parameters(FastFusion()) == pytest.approx(0.7e6, rel=0.05)
    assert 2e6 < parameters(UNetDenoiser()) < 3e6
    # The baselines and the forms that are compared have as many parameters as what they are compared with.
    assert parameters(UNetBridge()) == pytest.approx(parameters(UNetDenoiser()) + parameters(FastFusion()), rel=0.005)
    for combination in COMBINATIONS:
        assert parameters(Fusion3CA(combination=combination)) == pytest.approx(parameters(Fusion3CA()), rel=0.01)
    assert parameters(FastSR()) < 1.5e6


def test_released_mirnet_names() -> None:
    names = set(MIRNet().state_dict())
    assert {
        "conv_in.weight",
        "body.0.body.0.blocks.2.1.SA.spatial.conv.weight",
        "body.2.body.1.down.64_4.body.1.top.4.filt",
        "body.1.body.0.up.256_2.body.0.bot.1.weight",
        "body.0.body.1.selective_kernel.1.fcs.2.weight",
        "body.0.body.0.last_up.2.body.1.top.2.weight",
        "body.0.body.2.weight",
    } <= names


def test_mirnet_takes_the_noise_level_exactly_if_it_was_built_for_it() -> None:
    image, sigma = torch.rand(1, 3, 8, 8), torch.tensor([0.1])
    small = {"n_feat": 8, "n_rrg": 1, "n_msrb": 1, "height": 2}
    with pytest.raises(ValueError, match="needs"):
        MIRNet(**small, sigma_map=True)(image)
    with pytest.raises(ValueError, match="takes no"):
        MIRNet(**small)(image, sigma)


def test_untrained_denoiser_is_the_best_linear_one() -> None:
    """With a zero head the preconditioning alone is the exact posterior mean of N(1/2, sigma_data^2)."""
    network = UNetDenoiser(channels=(16, 16), blocks=(1, 1), sigma_data=0.3)
    noisy, sigma = torch.randn(2, 3, 6, 7), torch.tensor([0.1, 0.6])
    weight = (0.3**2 / (0.3**2 + sigma**2))[:, None, None, None]
    torch.testing.assert_close(network(noisy, sigma), 0.5 + weight * (noisy - 0.5))


def test_untrained_bridge_stays_and_its_output_is_scaled_by_time_and_spread() -> None:
    mixed, t = torch.rand(2, 3, 6, 7), torch.tensor([0.25, 1.0])
    assert torch.equal(UNetBridge(channels=(16, 16), blocks=(1, 1))(mixed, t), mixed)
    wide, narrow = (_randomised(UNetBridge(channels=(16, 16), blocks=(1, 1), spread=s)) for s in (0.2, 0.1))
    with torch.no_grad():
        torch.testing.assert_close(wide(mixed, t) - mixed, 2 * (narrow(mixed, t) - mixed), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="expected one of observation, restored"):
        UNetBridge(start="noise")  # type: ignore[arg-type]


def test_scalar_and_3ca_agree_where_all_channels_have_the_same_weight() -> None:
    one, many = _randomised(Fusion3CA(channels=16, blocks=1, combination="scalar")), Fusion3CA(channels=16, blocks=1)
    state = one.state_dict()
    for name in ("weights.mlp.2.weight", "weights.mlp.2.bias"):
        state[name] = state[name].repeat_interleave(16 + 3, dim=0)
    many.load_state_dict(state)
    inputs = _inputs("fusion-3ca", 2, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(one(*inputs), many(*inputs))


def test_inverse_variance_is_the_posterior_mean_of_independent_gaussian_errors() -> None:
    """Restored and denoised as measurements of a flat prior: the regression of the clean image on both."""
    fusion = InverseVarianceFusion(restored_error=0.04, sigmas=[0.1, 0.2, 0.4], denoised_errors=[0.01, 0.02, 0.09])
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(1, 3, 300, 300, generator=generator)
    restored = clean + 0.2 * torch.randn(clean.shape, generator=generator)
    denoised = clean + 0.3 * torch.randn(clean.shape, generator=generator)
    fused = fusion(restored, denoised, restored, torch.tensor([0.4]))
    # The variance of the best combination is the harmonic sum of the two.
    assert (fused - clean).square().mean() == pytest.approx(1 / (1 / 0.04 + 1 / 0.09), rel=0.02)
    weights = fusion.weight(torch.tensor([0.01, 0.1, 0.14142, 0.2, 2.0]))
    expected = torch.tensor([0.01, 0.01, 0.014142, 0.02, 0.09])
    torch.testing.assert_close(weights, expected / (expected + 0.04), rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="must rise"):
        InverseVarianceFusion(restored_error=0.1, sigmas=[0.2, 0.1], denoised_errors=[1, 2])


@pytest.mark.parametrize("network", [Fusion3CA(), FastFusion()], ids=["fusion-3ca", "fast-fusion"])
def test_untrained_fusion_is_a_convex_combination(network: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    restored, denoised, noisy = (torch.rand(2, 3, 9, 11, generator=generator) for _ in range(3))
    fused = network(restored, denoised, noisy, torch.tensor([0.1, 0.4]))
    assert (fused >= torch.minimum(restored, denoised) - 1e-5).all()
    assert (fused <= torch.maximum(restored, denoised) + 1e-5).all()
    same = network(restored, restored, noisy, torch.tensor([0.1, 0.4]))
    torch.testing.assert_close(same, restored)


def test_fast_fusion_can_leave_the_convex_hull_and_returns_to_the_estimates_without_noise() -> None:
    network = _randomised(FastFusion(channels=(16, 16), blocks=(1, 1, 1)))
    restored, denoised, noisy = (torch.full((1, 3, 8, 8), value) for value in (0.4, 0.5, 0.6))
    with torch.no_grad():
        far = network(restored, denoised, noisy, torch.tensor([0.5]))
        near = network(restored, denoised, noisy, torch.tensor([1e-6]))
    assert far.min() < 0.4 or far.max() > 0.5
    assert 0.4 - 1e-4 <= near.min() <= near.max() <= 0.5 + 1e-4


def test_untrained_restorer_is_the_bicubic_enlargement() -> None:
    image = torch.rand(1, 3, 5, 7)
    expected = torch.nn.functional.interpolate(image, scale_factor=4, mode="bicubic")
    torch.testing.assert_close(FastSR(channels=16, blocks=1)(image), expected)


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 30), width=st.integers(1, 30), multiple=st.integers(1, 16))
def test_padding_keeps_the_image_and_reaches_the_next_multiple(height: int, width: int, multiple: int) -> None:
    image = torch.rand(1, 2, height, width)
    padded = pad_to_multiple(image, multiple)
    assert padded.shape[-2] % multiple == padded.shape[-1] % multiple == 0
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
    assert torch.equal(padded[..., :height, :width], image)
    assert set(padded.unique().tolist()) <= set(image.unique().tolist())


def test_encoding_tells_noise_levels_apart() -> None:
    encode = _randomised(NoiseEmbedding(out=16))
    sigma = torch.logspace(-2.3, 0.3, 40)
    with torch.no_grad():
        codes = encode(sigma)
    distances = torch.cdist(codes, codes) + torch.eye(40) * 1e3
    assert distances.min() > 0.02
