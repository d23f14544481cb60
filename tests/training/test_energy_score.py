"""The energy score against closed forms: what it prefers, what its expectation is, and its gradients."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dp_ir.training.energy_score import Term, band_term, energy_score, spread_weight

RED = Term(lambda image: [image[:, :1]])
"""The first channel itself, so that with images of one pixel the features are plain numbers."""


def _numbers(*values: float) -> Tensor:
    """Images (B, 3, 1, 1) with these numbers in the first channel."""
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1) * torch.ones(1, 3, 1, 1)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, 3, 1, 1, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("weight", [0.5, 0.765, 0.9, 1.0])
def test_the_best_gaussian_has_the_variance_of_the_closed_form(weight: float) -> None:
    # Truth N(0, 1), samples N(0, D): the score is c (sqrt(1 + D) - w sqrt(2 D) / 2), least at D = w^2 / (2 - w^2).
    generator = torch.Generator().manual_seed(0)
    truth, noise = _normal(generator, 200_000), _normal(generator, 2, 200_000)
    variances = np.linspace(0.02, 1.6, 80)
    scores = [float(energy_score(math.sqrt(d) * noise, truth, [RED], weight).mean()) for d in variances]
    best = weight**2 / (2 - weight**2)
    assert variances[int(np.argmin(scores))] == pytest.approx(best, abs=0.08)
    for variance, score in zip(variances, scores, strict=True):
        closed = math.sqrt(2 / math.pi) * (math.sqrt(1 + variance) - weight / 2 * math.sqrt(2 * variance))
        assert score == pytest.approx(closed, abs=0.006)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
@pytest.mark.parametrize("detail", [0.1, 0.4, 0.7, 1.0])
def test_the_dial_is_the_share_of_the_posterior_deviation(detail: float, exponent: float) -> None:
    # E|N(0, v)|^b is proportional to v^(b / 2), so the score of samples N(0, D) is (1 + D)^(b/2) - w / 2 (2 D)^(b/2).
    weight = float(spread_weight(torch.tensor(detail, dtype=torch.float64), exponent))
    deviations = np.linspace(0.01, 1.5, 1491)
    score = (1 + deviations**2) ** (exponent / 2) - weight / 2 * (2 * deviations**2) ** (exponent / 2)
    assert deviations[np.argmin(score)] == pytest.approx(detail, abs=1e-3)


def test_the_ends_of_the_dial() -> None:
    torch.testing.assert_close(spread_weight(torch.tensor([0.0, 1.0])), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("draws", [2, 3, 6])
def test_the_expectation_does_not_depend_on_the_number_of_draws(draws: int) -> None:
    generator = torch.Generator().manual_seed(draws)
    score = energy_score(0.8 * _normal(generator, draws, 100_000), _normal(generator, 100_000), [RED])
    closed = math.sqrt(2 / math.pi) * (math.sqrt(1.64) - math.sqrt(2 * 0.64) / 2)
    assert float(score.mean()) == pytest.approx(closed, abs=4 * float(score.std()) / math.sqrt(len(score)))


@pytest.mark.parametrize("truth", [0.2, 0.5, 0.9])
def test_of_two_point_distributions_the_true_one_is_best(truth: float) -> None:
    def expected(share: float) -> float:
        """Exact: over all outcomes of two samples that are 1 with probability `share`, and of the truth."""
        total = 0.0
        for first, second, real in itertools.product((0.0, 1.0), repeat=3):
            chance = math.prod(p if value else 1 - p for value, p in ((first, share), (second, share), (real, truth)))
            samples = torch.stack((_numbers(first), _numbers(second)))
            total += chance * float(energy_score(samples, _numbers(real), [RED]))
        return total

    shares = np.linspace(0, 1, 51)
    scores = [expected(share) for share in shares]
    assert shares[int(np.argmin(scores))] == pytest.approx(truth)
    # By hand: p - 2 p q + q^2.
    np.testing.assert_allclose(scores, truth - 2 * truth * shares + shares**2, atol=1e-5)


def test_each_observation_has_its_own_spread_weight() -> None:
    samples, target = torch.rand(3, 2, 3, 12, 12), torch.rand(2, 3, 12, 12)
    both = energy_score(samples, target, [band_term()], torch.tensor([0.0, 0.7]))
    for i, weight in enumerate((0.0, 0.7)):
        alone = energy_score(samples[:, i : i + 1], target[i : i + 1], [band_term()], weight)
        torch.testing.assert_close(both[i], alone[0])


@pytest.mark.parametrize(("exponent", "size", "draws"), [(1.0, (9, 13), 2), (0.7, (6, 5), 3), (1.4, (3, 2), 4)])
def test_patches_and_pairs_as_loops_have_them(exponent: float, size: tuple[int, int], draws: int) -> None:
    generator = torch.Generator().manual_seed(1)
    samples = torch.rand(draws, 1, 3, *size, generator=generator, dtype=torch.float64)
    target = torch.rand(1, 3, *size, generator=generator, dtype=torch.float64)
    term = Term(lambda image: [image], weight=2.0, patch=5, stride=2)

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        side_y, side_x = min(5, size[0], size[1]), min(5, size[0], size[1])
        norms = []
        for y in range(0, size[0] - side_y + 1, 2):
            for x in range(0, size[1] - side_x + 1, 2):
                difference = (a - b)[:, y : y + side_y, x : x + side_x]
                norms.append((np.sum(difference**2) / (side_y * side_x)) ** (exponent / 2))
        return float(np.mean(norms))

    drawn, truth = samples[:, 0].numpy(), target[0].numpy()
    error = np.mean([distance(one, truth) for one in drawn])
    pairs = [distance(a, b) for (i, a), (j, b) in itertools.product(enumerate(drawn), repeat=2) if i != j]
    expected = 2.0 * (error - 0.6 / (2 * draws * (draws - 1)) * np.sum(pairs))
    score = energy_score(samples, target, [term], 0.6, exponent)
    assert float(score) == pytest.approx(expected, rel=1e-6)


def test_terms_add_up_and_maps_are_averaged() -> None:
    samples, target = torch.rand(2, 2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    one, other = Term(lambda image: [image]), Term(lambda image: [image[..., ::2, ::2]])
    both = Term(lambda image: [image, image[..., ::2, ::2]], weight=3.0)
    parts = [energy_score(samples, target, [term]) for term in (one, other)]
    torch.testing.assert_close(energy_score(samples, target, [one, other]), parts[0] + parts[1])
    torch.testing.assert_close(energy_score(samples, target, [both]), 1.5 * (parts[0] + parts[1]))


def test_luma_and_colour_differences_are_those_of_jpeg_files() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (6, 3), dtype=np.uint8)
    planes = np.asarray(Image.fromarray(levels[None]).convert("YCbCr"), dtype=np.float64)[0] - [0, 128, 128]
    flat = torch.from_numpy(levels / 255.0)[:, :, None, None].expand(-1, -1, 16, 16)
    maps = band_term().features(flat)
    for band in (*maps[:3], *maps[4:7]):
        torch.testing.assert_close(band, torch.zeros_like(band))
    luma, colour = maps[3], maps[7]
    np.testing.assert_allclose(luma[..., 0, 0] * 0.15 * 255, planes[:, :1], atol=1)
    np.testing.assert_allclose(colour[..., 0, 0] * 0.03 * math.sqrt(2) * 255, planes[:, 1:], atol=1)


def test_noise_of_colour_alone_is_seen_beside_larger_errors_of_luma() -> None:
    # In one norm over R, G and B this noise would change the score by a hundredth.
    generator = torch.Generator().manual_seed(3)

    def noise(deviation: float) -> Tensor:
        return deviation * torch.randn(2, 4, 1, 32, 32, generator=generator)

    truth = torch.full((4, 3, 32, 32), 0.5)
    samples = truth + noise(0.08)
    colour = torch.tensor([0.0, -0.114 / 0.587, 1.0]).view(3, 1, 1) * noise(0.02)
    torch.testing.assert_close(band_term().features(colour[0])[0], torch.zeros(4, 1, 32, 32), atol=1e-5, rtol=0)
    plain, coloured = (float(energy_score(s, truth, [band_term()], 0.3).mean()) for s in (samples, samples + colour))
    assert coloured > 1.15 * plain


@pytest.mark.parametrize("exponent", [1.0, 1.5])
def test_gradients_are_those_of_finite_differences(exponent: float) -> None:
    generator = torch.Generator().manual_seed(2)
    samples = torch.rand(2, 1, 3, 7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.rand(1, 3, 7, 6, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda drawn: energy_score(drawn, target, [band_term()], 0.5, exponent), (samples,), eps=1e-6, atol=1e-6
    )


def test_samples_that_are_the_same_have_finite_gradients() -> None:
    samples = torch.full((2, 1, 3, 8, 8), 0.5, requires_grad=True)
    energy_score(samples, torch.full((1, 3, 8, 8), 0.5), [band_term()]).sum().backward()
    assert samples.grad is not None
    assert bool(samples.grad.isfinite().all())
