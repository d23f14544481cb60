"""Noise against the variance it is said to have."""

from __future__ import annotations

import pytest
import torch

from dp_ir.degradation.sensor_noise import add_sensor_noise


@pytest.mark.parametrize(("shot", "read"), [(0.01, 0.002), (0.0, 0.05), (0.004, 0.0)])
def test_the_variance_grows_with_the_light(shot: float, read: float) -> None:
    levels = torch.tensor([0.0, 0.1, 0.5, 1.0]).view(4, 1)
    noisy = add_sensor_noise(levels.expand(4, 200_000), shot, read, generator=torch.Generator().manual_seed(0))
    expected = shot * levels[:, 0] + read**2
    torch.testing.assert_close(noisy.var(dim=1), expected, rtol=0.02, atol=0)
    # The mean of n samples is as good as its standard error.
    assert bool(((noisy.mean(dim=1) - levels[:, 0]).abs() <= 5 * (expected / 200_000).sqrt()).all())


def test_it_is_white_and_not_clipped() -> None:
    noisy = add_sensor_noise(torch.zeros(1, 3, 256, 256), 0, 0.1, generator=torch.Generator().manual_seed(1))
    power = torch.fft.fft2(noisy).abs().square().mean(dim=(0, 1)) / 256**2
    quarters = torch.stack([block.mean() for half in power.chunk(4) for block in half.chunk(4, dim=1)])
    torch.testing.assert_close(quarters, torch.full_like(quarters, 0.01), rtol=0.06, atol=0)
    assert noisy.min() < -0.3
    correlation = torch.corrcoef(noisy.view(3, -1)) - torch.eye(3)
    assert correlation.abs().max() < 0.02


def test_negative_light_counts_as_none() -> None:
    dark = torch.full((100_000,), -0.5)
    noisy = add_sensor_noise(dark, 0.1, 0.01, generator=torch.Generator().manual_seed(2))
    assert noisy.std().item() == pytest.approx(0.01, rel=0.02)
    assert noisy.mean().item() == pytest.approx(-0.5, abs=1e-3)


def test_the_generator_decides() -> None:
    light, before = torch.rand(2, 3, 5, 7), torch.random.get_rng_state()
    first, same, other = (
        add_sensor_noise(light, 0.01, 0.01, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
