"""The dial of the shipped bundles, on pieces of the demonstration photo, which no network was trained on."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from dp_ir import Restoration
from dp_ir.image import read_image, to_tensor
from dp_ir.image.bands import laplacian_bands
from dp_ir.tasks import get_task

PHOTO = Path(__file__).parents[2] / "docs" / "demo" / "original.png"
SIDE = 128


@pytest.fixture(scope="module")
def restore():
    return Restoration.from_pretrained("sr4", device="cpu", precision="float32")


@pytest.fixture(scope="module")
def pieces():
    photo = to_tensor(read_image(PHOTO))
    places = [(top, left) for top in range(0, 512, SIDE) for left in range(0, 512, SIDE)][::2]
    return [photo[..., top : top + SIDE, left : left + SIDE] for top, left in places]


def test_along_the_dial_error_and_fine_detail_rise_on_every_image(restore, pieces):
    dial = (0.0, 0.2, 0.4, 0.7, 1.0)
    for number, clean in enumerate(pieces):
        observation = get_task("sr4").degrade(clean)
        results = [restore(observation, seed=number, detail=detail).image for detail in dial]
        errors = [float((result - clean).square().mean()) for result in results]
        energies = [float(laplacian_bands(result, 1)[0].square().mean()) for result in results]
        assert all(one < other for one, other in pairwise(errors)), number
        assert all(one < other for one, other in pairwise(energies)), number


def test_samples_that_ship_need_one_call_of_each_network(restore, pieces):
    result = restore(get_task("sr4").degrade(pieces[0]), num_samples=2)
    assert result.nfe == {"restorer": 1, "denoiser": 2, "fusion": 2}
    assert not torch.equal(result.samples[0], result.samples[1])


def test_the_mean_of_samples_is_nearer_to_the_truth_than_a_sample(restore, pieces):
    for number, clean in enumerate(pieces[:4]):
        result = restore(get_task("sr4").degrade(clean), seed=number, detail=1, num_samples=6)
        of_mean, of_one = ((image - clean).square().mean() for image in (result.mean, result.image))
        assert of_mean < of_one
