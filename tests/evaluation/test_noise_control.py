"""The noise control: the search, the noise, and both together on a metric whose best strength is known."""

import math

import pytest
import torch

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.noise_control import DEFAULT_GRID, add_noise, minimise, noise_control


@pytest.mark.parametrize("best", [0.0, 0.0011, 0.0123, 0.0274, 0.04])
def test_minimum_of_a_known_function(best):
    argument, value = minimise(lambda x: (x - best) ** 2 + 3.0, tolerance=1e-5)
    assert argument == pytest.approx(best, abs=1e-5)
    assert value == (argument - best) ** 2 + 3.0


def test_grid_leads_to_the_deeper_of_two_valleys():
    def two_valleys(x):
        return min((x - 0.005) ** 2, (x - 0.03) ** 2 - 1e-6)

    assert minimise(two_valleys, tolerance=1e-5)[0] == pytest.approx(0.03, abs=1e-5)


def test_search_evaluates_no_point_twice_and_stays_inside():
    seen = []

    def function(x):
        seen.append(x)
        return -x

    assert minimise(function)[0] == max(DEFAULT_GRID)
    assert len(seen) == len(set(seen))
    assert min(seen) >= 0
    assert max(seen) <= max(DEFAULT_GRID)


def test_a_grid_of_two_points_is_refused():
    with pytest.raises(DataError, match="at least 3"):
        minimise(lambda x: x, [0.0, 1.0])


def test_noise_has_its_strength_and_belongs_to_its_image():
    images = [torch.full((1, 3, 128, 128), 0.5) for _ in range(3)]
    noisy = add_noise(images, 0.02, seed=5)
    for image in noisy:
        assert (image - 0.5).std().item() == pytest.approx(0.02, rel=0.02)
        assert abs((image - 0.5).mean().item()) < 5e-4
    assert not torch.equal(noisy[0], noisy[1])
    torch.testing.assert_close(add_noise(images[:1], 0.02, seed=5)[0], noisy[0])
    torch.testing.assert_close(add_noise(images[:1], 0.01, seed=5)[0] - 0.5, (noisy[0] - 0.5) / 2)


class ContrastGap:
    """Distance of standard deviations: a metric that, like LPIPS, is best at one strength of noise."""

    name = "gap"
    protocol = "gap"
    higher_is_better = False

    def __call__(self, output, target):
        return (output.std(dim=(1, 2, 3)) - target.std(dim=(1, 2, 3))).abs().double()


class NegativeGap(ContrastGap):
    higher_is_better = True

    def __call__(self, output, target):
        return -super().__call__(output, target)


@pytest.mark.parametrize("metric", [ContrastGap(), NegativeGap()])
def test_finds_the_strength_that_restores_the_contrast(metric):
    targets = add_noise([torch.full((1, 3, 96, 96), 0.5)] * 2, 0.017, seed=100)
    restored = [torch.full((1, 3, 96, 96), 0.5)] * 2
    control = noise_control(restored, targets, metric, seed=0)
    assert control.std == pytest.approx(0.017, rel=0.03)
    assert control.tuned_on == "gap"
    for image, expected in zip(control.images, add_noise(restored, control.std, seed=0), strict=True):
        assert torch.equal(image, expected)


def test_never_worse_than_the_restorer_itself():
    targets = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))]
    control = noise_control(targets, targets, ContrastGap())
    assert control.std == 0.0
    assert math.isclose(ContrastGap()(control.images[0], targets[0]).item(), 0.0)


def test_unpaired_images_are_refused():
    image = torch.zeros(1, 3, 8, 8)
    with pytest.raises(DataError, match="2 and 1"):
        noise_control([image, image], [image], ContrastGap())
