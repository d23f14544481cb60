"""Sliced Wasserstein distance: zero, growth, closed forms, and what it must not see."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.distribution import SlicedWasserstein, laplacian_bands

SWD = SlicedWasserstein(patches=512, directions=64)


def textures(count: int = 3, seed: int = 0, size: int = 96) -> list[torch.Tensor]:
    """Images with a spectrum that falls as natural ones do."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.fft.fftfreq(size)[:, None]
    columns = torch.fft.rfftfreq(size)[None]
    amplitude = 1 / (rows**2 + columns**2).sqrt().clamp_min(1 / size)
    images = []
    for _ in range(count):
        noise = torch.fft.rfft2(torch.randn(1, 3, size, size, generator=generator))
        image = torch.fft.irfft2(noise * amplitude, s=(size, size))
        images.append((0.5 + 0.12 * image / image.std()).clamp(0, 1))
    return images


def blurred(images: list[torch.Tensor], sigma: float) -> list[torch.Tensor]:
    x = torch.arange(-6, 7, dtype=torch.float32)
    line = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = torch.outer(line, line) / line.sum() ** 2
    return [
        F.conv2d(F.pad(image, (6, 6, 6, 6), mode="reflect"), kernel.expand(3, 1, 13, 13), groups=3) for image in images
    ]


def noisy(images: list[torch.Tensor], std: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [image + std * torch.randn(image.shape, generator=generator) for image in images]


def test_zero_for_equal_sets():
    images = textures()
    assert SWD.per_band(images, images) == [0.0, 0.0, 0.0]


def test_grows_with_blur_and_with_noise():
    images = textures()
    by_blur = [SWD(blurred(images, sigma), images) for sigma in (0.5, 1.0, 2.0)]
    by_noise = [SWD(noisy(images, std), images) for std in (0.01, 0.03, 0.09)]
    assert 0 < by_blur[0] < by_blur[1] < by_blur[2]
    assert 0 < by_noise[0] < by_noise[1] < by_noise[2]


def test_noise_that_replaces_lost_detail_brings_the_distributions_closer():
    flat = [torch.full((1, 3, 96, 96), 0.5)] * 3
    grain = noisy(flat, 0.05)
    assert SWD(noisy(flat, 0.04), grain) < 0.4 * SWD(flat, grain)


def test_white_noise_reports_mostly_in_the_finest_band():
    images = textures()
    fine, middle, coarse = SWD.per_band(noisy(images, 0.05), images)
    assert fine > 1.5 * middle > 1.5 * coarse


def test_exchanged_images_are_the_same_distribution():
    first, second = textures(2)
    exchanged = SlicedWasserstein(patches=4096, directions=64)
    apart = exchanged([first, second], [second, first])
    assert apart < 0.15 * exchanged(blurred([first, second], 1.0), [first, second])


def test_same_number_every_time_and_another_seed_agrees():
    images = textures()
    damaged = blurred(images, 1.0)
    assert SWD(damaged, images) == SWD(damaged, images)
    other = SlicedWasserstein(patches=512, directions=64, seed=1)(damaged, images)
    assert other != SWD(damaged, images)
    assert other == pytest.approx(SWD(damaged, images), rel=0.1)


def test_distance_of_gaussians_has_a_closed_form():
    # In the finest band white noise of strength s projects on a direction as a Gaussian; between two strengths the
    # 1-Wasserstein distance is |s1 - s2| E|z| times the direction's gain, so ratios of strengths give ratios exactly.
    flat = [torch.full((1, 3, 128, 128), 0.5)]
    weak, strong = noisy(flat, 0.02), noisy(flat, 0.04)
    metric = SlicedWasserstein(bands=1, patches=4096, directions=128)
    assert metric(strong, flat) == pytest.approx(2 * metric(weak, flat), rel=1e-4)
    # White noise through I - L L^T keeps most of its variance: E|z| = sqrt(2/pi) per unit of band deviation.
    deviation = laplacian_bands(weak[0], 1)[0].std().item()
    assert metric(weak, flat) == pytest.approx(1000 * deviation * np.sqrt(2 / np.pi), rel=0.1)


@pytest.mark.parametrize("size", [(32, 32), (33, 46)])
def test_pyramid_bands(size):
    flat = torch.full((1, 3, *size), 0.7)
    for band in laplacian_bands(flat, 3):
        torch.testing.assert_close(band, torch.zeros_like(band), atol=1e-6, rtol=0)
    bands = laplacian_bands(torch.rand(1, 3, *size), 3)
    heights = [size[0], -(-size[0] // 2), -(-size[0] // 4)]
    assert [band.shape[-2] for band in bands] == heights


def test_sizes_may_differ_between_images():
    images = [textures(1, size=64)[0], textures(1, seed=2, size=96)[0][..., :70, :]]
    assert SWD(images, images) == 0


def test_bad_input():
    images = textures(2)
    with pytest.raises(DataError, match="1 and 2"):
        SWD(images[:1], images)
    with pytest.raises(DataError, match="at least one"):
        SWD([], [])
    with pytest.raises(DataError, match="28x28"):
        SWD([torch.zeros(1, 3, 27, 90)], [torch.zeros(1, 3, 27, 90)])
