"""Tiles put together again are the image, at every level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dp_ir.interfaces.web.tiles import APRON, TILE, part_of, tile_name, write_tiles
from dp_ir.interfaces.web.work import overlay


def smooth(height, width, channels):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([128 + 100 * np.sin(x / 40 + k) * np.cos(y / 50) for k in range(channels)], -1).astype(np.uint8)


def put_together(folder, level, height, width, channels):
    image = np.zeros((height, width, channels), np.uint8)
    for row in range(-(-height // TILE)):
        for column in range(-(-width // TILE)):
            name = folder / tile_name(level, row, column)
            tile = np.asarray(Image.open(name.with_suffix(".png" if channels == 4 else ".jpg")))
            top, left = (APRON if row else 0), (APRON if column else 0)
            part = image[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            part[:] = tile[top : top + part.shape[0], left : left + part.shape[1]]
    return image


@pytest.mark.parametrize("channels", [3, 4])
@given(height=st.integers(1, 1300), width=st.integers(1, 1300))
@settings(max_examples=6, deadline=None)
def test_tiles_are_the_image_at_every_level(tmp_path_factory, channels, height, width):
    folder = tmp_path_factory.mktemp("tiles")
    image = smooth(height, width, channels)
    levels = write_tiles(folder, (height, width), part_of(image))
    expected = Image.fromarray(image)
    for level in range(levels):
        found = put_together(folder, level, expected.height, expected.width, channels).astype(int)
        assert np.abs(found - np.asarray(expected).astype(int)).max() <= (2 if channels == 4 else 12)
        last = expected.width <= TILE and expected.height <= TILE
        expected = expected.reduce(2)
    assert last
    assert not (folder / str(levels)).exists()


def test_neighbours_show_the_same_pixels_around_their_border(tmp_path):
    write_tiles(tmp_path, (40, TILE + 30), part_of(smooth(40, TILE + 30, 4)))
    left, right = (np.asarray(Image.open((tmp_path / tile_name(0, 0, n)).with_suffix(".png"))) for n in (0, 1))
    assert left.shape[1] == TILE + APRON
    np.testing.assert_array_equal(left[:, -2 * APRON :], right[:, : 2 * APRON])


@given(height=st.integers(1, 40), width=st.integers(1, 40), low=st.floats(0, 0.2), high=st.floats(0, 0.2))
@settings(max_examples=30, deadline=None)
def test_the_overlay_grows_with_the_deviation_and_shows_nothing_where_samples_agree(height, width, low, high):
    low, high = sorted((low, high))
    one, other = (overlay(np.full((height, width, 3), value), (2 * height, width)) for value in (low, high))
    assert one.shape == (2 * height, width, 4)
    assert (one[..., 3] <= other[..., 3]).all()
    assert not overlay(np.zeros((height, width, 3)), (height, width))[..., 3].any()
    assert overlay(np.full((height, width, 3), 0.5), (height, width))[..., 3].all()
