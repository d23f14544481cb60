"""The bicubic reduction as a matrix, against the reduction itself and against dense linear algebra."""

import pytest
import torch

from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.reduction import Reduction


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


@pytest.fixture(params=[((5, 7), 4), ((4, 4), 4), ((6, 3), 2), ((1, 9), 3)], ids=str)
def case(request):
    (height, width), scale = request.param
    observation = random(2, 3, height, width)
    return Reduction.of(observation, scale), observation, random(2, 3, scale * height, scale * width), scale


def test_it_is_the_reduction_that_makes_the_observations(case):
    reduction, _, image, scale = case
    torch.testing.assert_close(reduction(image), imresize(image, 1 / scale))


def test_the_adjoint_is_exact(case):
    reduction, observation, image, scale = case
    ours = (image * reduction.adjoint(observation)).sum()
    torch.testing.assert_close((imresize(image, 1 / scale) * observation).sum(), ours)


def test_the_bases_are_orthonormal_and_the_singular_values_those_of_the_whole_matrix(case):
    reduction, observation, image, scale = case
    torch.testing.assert_close(reduction.from_coefficients(reduction.to_coefficients(image)), image)
    torch.testing.assert_close(reduction.to_coefficients(image).norm(), image.norm())
    torch.testing.assert_close(reduction.from_observed(reduction.to_observed(observation)), observation)
    side = image.shape[-2] * image.shape[-1]
    units = torch.eye(side, dtype=torch.float64).view(side, 1, *image.shape[-2:])
    dense = torch.linalg.svdvals(imresize(units, 1 / scale).flatten(1).T)
    own = reduction.singular_values.flatten().sort(descending=True).values
    torch.testing.assert_close(own[: len(dense)], dense)
    assert not own[len(dense) :].any()


def test_the_pseudo_inverse_is_the_smallest_image_with_that_observation(case):
    reduction, observation, image, scale = case
    smallest = reduction.pseudo_inverse(observation)
    torch.testing.assert_close(imresize(smallest, 1 / scale), observation)
    other = reduction.consistent(image, observation)
    torch.testing.assert_close(imresize(other, 1 / scale), observation)
    # The way from one such image to another is orthogonal to the smallest, and the way from `image` to the nearest too.
    assert abs(float((smallest * (other - smallest)).sum())) < 1e-8 * float(smallest.norm() * other.norm())
    assert abs(float(((other - image) * (other - smallest)).sum())) < 1e-8 * float(other.norm() * image.norm())


def test_single_precision_stays_single_and_is_close():
    observation = random(1, 3, 9, 5).float()
    reduction = Reduction.of(observation, 4)
    enlarged = reduction.pseudo_inverse(observation)
    assert enlarged.dtype == torch.float32
    torch.testing.assert_close(reduction(enlarged), observation, rtol=0, atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 14, 4, 8, 8), (3, 8, 8), (1, 1, 8, 8)])
def test_what_is_no_rgb_image_is_refused(shape):
    with pytest.raises(DataError, match=r"need RGB images, \(B, 3, h, w\)"):
        Reduction.of(torch.zeros(shape), 4)
