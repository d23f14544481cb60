"""`dp-ir restore` of images that are large for the memory that may be used."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from conftest import listing

COMMON = ("--device", "cpu", "--precision", "float32")


@pytest.fixture
def photo(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (14, 20, 3), dtype=np.uint8)
    Image.fromarray(values).resize((60, 42), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_tiles_and_too_little_memory_give_what_is_given_without(dp_ir, bundle, photo, tmp_path):
    pictures = []
    for name, options in {"whole": (), "tiles": ("--tile", 128), "disk": ("--tile", 128, "--memory", 0.001)}.items():
        folder = tmp_path / name
        result = dp_ir("restore", photo, "-o", folder / "a.tif", "-b", bundle, *COMMON, *options)
        assert result.exit_code == 0, result.stderr
        assert ("from disk to disk" in result.stderr) == (name == "disk")
        assert listing(folder) == ["a.tif"]
        pictures.append(tifffile.imread(folder / "a.tif").astype(int))
    assert pictures[0].shape == (168, 240, 3)
    assert np.array_equal(pictures[1], pictures[2])
    assert abs(pictures[0] - pictures[1]).max() <= 1
    with tifffile.TiffFile(tmp_path / "disk" / "a.tif") as file:
        assert file.pages[0].is_tiled


@pytest.mark.parametrize("options", [("--tile", 63), ("--memory", -1)])
def test_what_cannot_be_is_refused(dp_ir, bundle, photo, tmp_path, options):
    result = dp_ir("restore", photo, "-o", tmp_path / "a.png", "-b", bundle, *options)
    assert result.exit_code == 2
    assert options[0] in result.stderr
