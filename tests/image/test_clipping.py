"""Values below 0 and above 1 of float files: kept where the result can hold them, else clipped with a note."""

import warnings

import numpy as np
import pytest
import tifffile
from image_profiles import rgb_profile
from PIL import Image

from dp_ir.image import read_image, write_image
from dp_ir.image.files.streamed import stream_image
from dp_ir.image.metadata.metadata import MetadataNote
from dp_ir.image.picture.crop import crop_picture

WIDE = np.linspace(-0.5, 3, 8 * 9 * 3, dtype=np.float32).reshape(8, 9, 3)


def wide_file(path, values=WIDE, **options):
    tifffile.imwrite(path, values, photometric="rgb", **options)
    return read_image(path)


def streamed(path, picture):
    with stream_image(path, picture.size, picture.bit_depth) as stream:
        for row in range(picture.size[0]):
            stream.write(crop_picture(picture, (0, row, picture.size[1], 1)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("streams", [False, True])
def test_clipping_is_said_once_with_the_file(tmp_path, suffix, streams):
    picture = wide_file(tmp_path / "a.tif")
    write = streamed if streams else write_image
    with pytest.warns(UserWarning, match="below 0 or above 1") as notes:
        write(tmp_path / f"out{suffix}", picture)
    (note,) = [note for note in notes if not issubclass(note.category, MetadataNote)]
    assert f"out{suffix}" in str(note.message)
    assert "a .tif file keeps them" in str(note.message)


@pytest.mark.parametrize("options", [{}, {"iccprofile": rgb_profile()}])
def test_a_tiff_keeps_them(tmp_path, options):
    picture = wide_file(tmp_path / "a.tif", **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_image(tmp_path / "out.tif", picture)
    if not options:
        np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), WIDE, atol=1e-5)


def test_nothing_is_said_where_nothing_is_lost(tmp_path):
    inside = wide_file(tmp_path / "a.tif", WIDE.clip(0, 1))
    blocks = np.random.default_rng(0).choice(np.array([0, 128, 255], np.uint8), (8, 8, 3))
    Image.fromarray(blocks).save(tmp_path / "p3.png", icc_profile=rgb_profile())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_image(tmp_path / "out.png", inside)
        write_image(tmp_path / "out.jpg", read_image(tmp_path / "p3.png"))
    with pytest.warns(UserWarning, match="below 0 or above 1"):  # this format has no profiles
        write_image(tmp_path / "out.bmp", read_image(tmp_path / "p3.png"))


def test_premultiplied_highlights(tmp_path):
    alpha = np.full((4, 5, 1), 0.5, np.float32)
    straight = np.linspace(-0.4, 2, 60, dtype=np.float32).reshape(4, 5, 3)
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.concatenate([straight * alpha, alpha], -1),
        photometric="rgb",
        extrasamples=["assocalpha"],
    )
    picture = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(picture.pixels + picture.out_of_gamut, straight, atol=1e-6)
