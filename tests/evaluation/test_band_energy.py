"""Energy of bands: against numbers known in advance, and where there is no energy."""

import math

import numpy as np
import pytest
import torch

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.band_energy import BandEnergy

BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16


def gains(size=256):
    """Energy of white noise of variance 1 in the two finest bands, from frequency responses: no convolution."""
    blur = np.zeros((size, size))
    blur[:5, :5] = np.outer(BINOMIAL, BINOMIAL)
    response = np.real(np.fft.fft2(np.roll(blur, (-2, -2), (0, 1))))
    first = np.mean((1 - response) ** 2)
    # The blurred noise has the spectrum response ** 2; every second place folds its four quarters onto each other.
    half = size // 2
    power = response**2
    folded = sum(power[i : i + half, j : j + half] for i in (0, half) for j in (0, half)) / 4
    second = np.mean((1 - response[::2, ::2]) ** 2 * folded)
    return first, second


def noise(seed, std, size=512):
    return 0.5 + std * torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("band", [1, 2])
@pytest.mark.parametrize("factor", [0.25, 0.5, 1.0, 1.7])
def test_scaled_image_has_the_square_of_the_factor(band, factor):
    target = torch.rand(2, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    value = BandEnergy(band)(factor * target, target)
    assert value.shape == (2,)
    assert value.dtype == torch.float64
    assert torch.allclose(value, torch.full((2,), 2 * math.log2(factor), dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize("band", [1, 2])
def test_white_noise_has_the_energy_that_the_filter_lets_through(band):
    target, std = noise(0, 0.05), 0.1
    added = std * torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    # Independent noise adds its energy: 1 + (0.1 / 0.05)^2 of it, in every band.
    assert float(BandEnergy(band)(target + added, target)) == pytest.approx(math.log2(5), abs=0.02)
    # On an image that has a known energy in a band, the gain of the band itself shows.
    gain = gains()[band - 1]
    step = 2 ** (band - 1)
    texture = torch.zeros(1, 3, 512, 512)
    texture[..., :: 2 * step, :] = 0.2  # rows: of all frequencies, those of the band among them
    clean = BandEnergy(band)(texture, torch.full_like(texture, 0.5))  # over the floor
    energy = 2 ** float(clean) * gain / 12 / 255**2
    expected = math.log2((energy + gain * std**2) / energy)
    assert float(BandEnergy(band)(texture + added, texture)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("band", [1, 2])
def test_noise_of_colour_alone_and_of_grey_alone_are_told_apart(band):
    target = noise(2, 0.05)
    one = torch.randn(1, 1, 512, 512, generator=torch.Generator().manual_seed(3))
    grey = 0.1 * one.expand(-1, 3, -1, -1)
    of_one_luma = 0.1 * torch.tensor([0.0, -0.114 / 0.587, 1.0]).view(3, 1, 1) * one
    assert float(BandEnergy(band, colour=True)(target + grey, target)) == pytest.approx(0, abs=0.01)
    assert float(BandEnergy(band)(target + grey, target)) == pytest.approx(math.log2(5), abs=0.05)
    # White noise in R, G and B of deviation 1 has variances of Cb and Cr that are the sums of their squared weights.
    weights = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    added = ((weights @ [0.0, -0.114 / 0.587, 1.0]) ** 2).sum() * 0.1**2
    expected = math.log2(1 + added / ((weights**2).sum() * 0.05**2))
    assert float(BandEnergy(band, colour=True)(target + of_one_luma, target)) == pytest.approx(expected, abs=0.05)


def test_gains_are_those_of_the_taps():
    blur = np.outer(BINOMIAL, BINOMIAL)
    delta = np.zeros((5, 5))
    delta[2, 2] = 1
    assert gains()[0] == pytest.approx(((delta - blur) ** 2).sum())
    # What one place of the second band is made of: (delta - blur) on every second place, of the blurred noise.
    spread = np.zeros((9, 9))
    spread[::2, ::2] = delta - blur
    whole = np.real(np.fft.ifft2(np.fft.fft2(spread, (16, 16)) * np.fft.fft2(blur, (16, 16))))
    assert gains()[1] == pytest.approx((whole**2).sum())


def test_brightness_order_and_flips_change_nothing():
    target = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    output = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) / 3
    value = BandEnergy(1)(output, target)
    assert torch.allclose(BandEnergy(1)(output + 0.3, target), value, atol=1e-5)
    assert torch.allclose(BandEnergy(1)(output.flip(1, 2, 3), target.flip(1, 2, 3)), value, atol=1e-5)
    assert torch.allclose(BandEnergy(1)(target, output), -value, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2), (31, 17)])
def test_flat_images_have_a_value(size):
    flat, rough = torch.full((1, 3, *size), 0.3), torch.rand(1, 3, *size)
    for band in (1, 2):
        metric = BandEnergy(band)
        assert metric(flat, flat).tolist() == [0.0]
        assert math.isfinite(metric(flat, rough))
        assert math.isfinite(metric(rough, flat))
        assert metric(rough, rough).tolist() == [0.0]


def test_energy_below_that_of_rounding_counts_as_that():
    tiny = 0.5 + 1e-5 * torch.randn(1, 3, 64, 64)
    assert BandEnergy(1)(tiny, torch.full_like(tiny, 0.5)).tolist() == [0.0]


def test_unequal_shapes_are_refused():
    with pytest.raises(DataError, match="must be"):
        BandEnergy(1)(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 9))
