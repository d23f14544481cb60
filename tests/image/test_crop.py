"""Parts of pictures and bursts are those parts, however the frames are stored."""

import itertools

import numpy as np
import pytest
import torch

from dp_ir.errors import ImageReadError
from dp_ir.image.picture.crop import crop_burst, crop_picture
from dp_ir.image.picture.picture import Picture
from dp_ir.image.raw.burst import Burst, pack, unpack

RNG = np.random.default_rng(0)
MOSAIC = torch.arange(8.0 * 12).reshape(1, 8, 12) / 100


def upright(burst):
    mosaic = unpack(burst.frames)[0]
    return torch.rot90(mosaic.flip(-1) if burst.mirrored else mosaic, burst.turns)


@pytest.mark.parametrize(("turns", "mirrored"), itertools.product(range(4), (False, True)))
@pytest.mark.parametrize("box", [(2, 4, 6, 2), (0, 0, 2, 2), (0, 0, 8, 8), (4, 2, 4, 6)])
def test_a_part_of_a_burst_is_that_part_of_the_upright_photo(turns, mirrored, box):
    burst = Burst(pack(MOSAIC), turns=turns, mirrored=mirrored)
    x, y, width, height = box
    found = crop_burst(burst, box)
    assert torch.equal(upright(found), upright(burst)[y : y + height, x : x + width])
    assert (found.turns, found.mirrored) == (turns, mirrored)


def test_odd_parts_are_widened_to_whole_cells():
    found = unpack(crop_burst(Burst(pack(MOSAIC)), (3, 1, 2, 4)).frames)
    assert torch.equal(found, MOSAIC[:, 0:6, 2:6])


def test_a_part_of_a_picture_keeps_what_belongs_to_it():
    picture = Picture(
        RNG.random((6, 8, 3), np.float32),
        alpha=RNG.random((6, 8), np.float32),
        out_of_gamut=RNG.random((6, 8, 3), np.float32),
        bit_depth=16,
    )
    found = crop_picture(picture, (1, 2, 5, 3))
    for name in ("pixels", "alpha", "out_of_gamut"):
        np.testing.assert_array_equal(getattr(found, name), getattr(picture, name)[2:5, 1:6])
    assert found.bit_depth == 16


@pytest.mark.parametrize("box", [(-1, 0, 2, 2), (0, 0, 0, 2), (10, 0, 3, 2), (0, 7, 2, 2)])
def test_what_lies_outside_is_refused(box):
    picture = Picture(np.zeros((8, 12, 3), np.float32))
    for cut, given in ((crop_picture, picture), (crop_burst, Burst(pack(MOSAIC)))):
        with pytest.raises(ImageReadError, match="photo of 12x8 pixels"):
            cut(given, box)
    with pytest.raises(ImageReadError, match="photo of 8x12 pixels"):
        crop_burst(Burst(pack(MOSAIC), turns=1), (8, 0, 1, 1))
