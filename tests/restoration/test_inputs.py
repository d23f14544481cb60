"""Images of every kind go in, and come out as the same kind with what belongs to them."""

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.errors import ImageReadError
from dp_ir.image import from_array
from dp_ir.image.picture.picture import Picture
from dp_ir.restoration.pipeline import Restoration


def enlarge(observation):
    return observation.repeat_interleave(2, 2).repeat_interleave(2, 3)


def noisy_colours(observation):
    """A restorer that leaves a colour cast, which a grey picture must not show."""
    cast = torch.tensor([0.02, 0.0, -0.02])[:, None, None]
    return enlarge(observation) + cast


@pytest.fixture
def restore():
    return Restoration.from_parts(
        restorer=enlarge, denoiser=lambda n, s: n, fusion=lambda r, d, n, s: r, device="cpu", steps=2
    )


def twice(array):
    return array.repeat(2, 0).repeat(2, 1)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "array",
    [
        RNG.integers(0, 256, (3, 5, 3), np.uint8),
        RNG.integers(0, 256, (3, 5), np.uint8),
        RNG.integers(0, 256, (3, 5, 1), np.uint8),
        RNG.integers(0, 65536, (3, 5, 3), np.uint16),
        RNG.random((3, 5, 3), np.float32),
        RNG.random((3, 5, 3)),
    ],
    ids=lambda array: f"{array.dtype}-{array.shape}",
)
def test_arrays_keep_type_and_dimensions(restore, array):
    result = restore(array)
    for found in (result.image, result.restored):
        assert found.dtype == array.dtype
        np.testing.assert_allclose(found, twice(array), atol=1e-6 if array.dtype.kind == "f" else 0)


def test_several_samples_of_arrays(restore):
    array = RNG.integers(0, 256, (3, 5, 3), np.uint8)
    result = restore(array, num_samples=3)
    assert result.samples.shape == (3, 6, 10, 3)
    assert result.samples.dtype == np.uint8
    np.testing.assert_array_equal(result.mean, twice(array))
    assert result.std.shape == (6, 10, 3)
    assert result.std.dtype == np.float32
    assert result.std.max() < 1e-6


def test_pictures_carry_alpha_depth_profile_and_format(restore):
    alpha = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)
    picture = Picture(RNG.random((4, 4, 3), np.float32), alpha=alpha, bit_depth=16, format="TIFF")
    result = restore(picture, num_samples=2)
    found = result.image
    assert isinstance(found, Picture)
    np.testing.assert_allclose(found.pixels, twice(picture.pixels), atol=1e-6)
    assert found.alpha.shape == (8, 8)
    assert abs(found.alpha.mean() - alpha.mean()) < 0.02
    assert (found.bit_depth, found.format, found.grey) == (16, "TIFF", False)
    assert isinstance(result.samples, tuple)
    assert len(result.samples) == 2
    assert isinstance(result.mean, Picture)
    assert result.std.shape == (8, 8, 3)


def test_grey_pictures_stay_grey():
    restore = Restoration.restorer_only(noisy_colours, device="cpu")
    grey = np.full((3, 4), 100, np.uint8)
    np.testing.assert_array_equal(restore(grey).image, np.full((6, 8), 100, np.uint8))
    image = restore(from_array(grey)).image
    assert image.grey
    np.testing.assert_array_equal(image.pixels[..., 0], image.pixels[..., 2])
    assert restore(Image.fromarray(grey)).image.mode == "L"


def test_paths_give_pictures(restore, tmp_path):
    array = RNG.integers(0, 256, (3, 5, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(array).save(path)
    for image in (path, str(path)):
        found = restore(image).image
        assert isinstance(found, Picture)
        np.testing.assert_allclose(found.pixels * 255, twice(array), atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_tensors_keep_type_and_dimensions(restore, dtype):
    image = torch.rand(3, 4, 5).to(dtype)
    assert restore(image).image.dtype == dtype
    assert torch.equal(restore(image).image, enlarge(image[None])[0])
    assert restore(image, num_samples=2).samples.shape == (2, 3, 8, 10)
    assert restore(image[None]).image.shape == (1, 3, 8, 10)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (torch.rand(1, 4, 4, 4), r"\(1, 4, 4, 4\)"),
        (torch.rand(4, 4), r"\(4, 4\)"),
        (torch.rand(1, 3, 0, 4), "no side of 0"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "uint8"),
        (torch.full((1, 3, 4, 4), 200.0), r"to 200, expected \[0, 1\]"),
        (torch.full((1, 3, 4, 4), -1.0), r"from -1"),
        (torch.full((1, 3, 4, 4), float("nan")), "NaN"),
        (np.zeros((2, 4, 4, 3), np.uint8), "one at a time"),
        (["photo.png"], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_image_is_named(restore, image, sentence):
    with pytest.raises(ImageReadError, match=sentence):
        restore(image)


@pytest.mark.parametrize(("mode", "kind"), [("RGB", Image.Image), ("L", Image.Image), ("RGBA", Image.Image)])
def test_a_pil_image_comes_back_as_one_in_its_mode(tmp_path, mode, kind):
    restore = Restoration.restorer_only(lambda image: image, device="cpu")
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    given = Image.fromarray(values).convert(mode)
    result = restore(given).image
    assert isinstance(result, kind)
    assert result.mode == mode
    assert np.abs(np.asarray(result).astype(int) - np.asarray(given).astype(int)).max() <= 1
    result.save(tmp_path / "a.png")


def test_more_than_8_bits_come_back_as_a_picture_that_keeps_them_and_saves_itself(tmp_path):
    restore = Restoration.restorer_only(lambda image: image, device="cpu")
    values = np.random.default_rng(0).integers(0, 65536, (5, 6), dtype=np.uint16)
    result = restore(Image.fromarray(values)).image
    assert result.bit_depth == 16
    result.save(tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")).astype(np.uint16), values)
