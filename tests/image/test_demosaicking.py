"""Bilinear demosaicking against its definition, pixel by pixel, and on images that it must reproduce."""

import numpy as np
import torch

from dp_ir.image.raw.burst import pack
from dp_ir.image.raw.demosaicking import demosaick_bilinear

COLOURS = {(0, 0): 0, (0, 1): 1, (1, 0): 1, (1, 1): 2}


def mean_of_nearest(mosaic, colour, row, column):
    """The pixel itself where it has the colour; else the mean of those among its eight neighbours that are nearest."""
    height, width = mosaic.shape
    found = {}
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            y, x = row + down, column + right
            if 0 <= y < height and 0 <= x < width and COLOURS[y % 2, x % 2] == colour:
                found.setdefault(down**2 + right**2, []).append(mosaic[y, x])
    return np.mean(found[min(found)])


def test_every_pixel_by_the_definition():
    mosaic = np.random.default_rng(0).random((6, 8))
    result = demosaick_bilinear(pack(torch.from_numpy(mosaic))[None])[0].numpy()
    for colour in range(3):
        expected = [[mean_of_nearest(mosaic, colour, row, column) for column in range(8)] for row in range(6)]
        np.testing.assert_allclose(result[colour], expected, atol=1e-12)


def test_a_slope_stays_a_slope_and_images_of_a_batch_stay_apart():
    down, right = torch.meshgrid(torch.arange(10.0), torch.arange(12.0), indexing="ij")
    slopes = torch.stack([0.01 * down + 0.03 * right, 0.5 - 0.02 * down])
    result = demosaick_bilinear(pack(slopes))
    assert result.shape == (2, 3, 10, 12)
    torch.testing.assert_close(result[..., 1:-1, 1:-1], slopes[:, None, 1:-1, 1:-1].expand(-1, 3, -1, -1))
