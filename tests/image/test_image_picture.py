"""Pictures from arrays, PIL images and tensors, and the output pictures made of them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dp_ir.errors import ImageReadError, ImageWriteError
from dp_ir.image import Picture, from_array, from_pil, resize_alpha, to_pil, to_tensor, with_pixels
from dp_ir.image.files.samples import Samples
from dp_ir.image.metadata.metadata import Metadata
from dp_ir.image.picture.lazy_picture import LazyPicture


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.float16, np.float32, ">f4", np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 4), (1, 1, 3)])
def test_from_array(shape, dtype):
    scale = 1 if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    array = (np.random.default_rng(0).random(shape) * scale).astype(dtype)
    picture = from_array(array)
    full = array.astype(np.float64).reshape(*shape[:2], -1) / scale
    alpha = full.shape[2] in (2, 4)
    np.testing.assert_allclose(
        picture.pixels, np.broadcast_to(full[..., :-1] if alpha else full, (*shape[:2], 3)), 1e-6
    )
    assert (picture.alpha is not None) == alpha
    if alpha:
        np.testing.assert_allclose(picture.alpha, full[..., -1], 1e-6)
    assert picture.grey == (full.shape[2] < 3)
    assert picture.bit_depth == {1: 8, 2: 16, 4: 32, 8: 32}[np.dtype(dtype).itemsize] or dtype == np.float16


def test_from_array_accepts_masks_and_a_little_overshoot():
    np.testing.assert_array_equal(from_array(np.array([[True, False]])).pixels[0, :, 0], [1, 0])
    np.testing.assert_array_equal(from_array(np.array([[-0.05, 1.05]])).pixels[0, :, 0], [0, 1])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((3, 20, 30)), "channels first"),
        (np.zeros((2, 20, 30, 3)), "one at a time"),
        (np.zeros((20, 30, 5)), "not an image"),
        (np.zeros(9), "not an image"),
        (np.zeros((0, 4, 3)), "empty"),
        (np.zeros((4, 4), np.int64), "uint8, uint16 or floats"),
        (np.zeros((4, 4), np.complex64), "uint8, uint16 or floats"),
        (np.array([["a"]]), "uint8, uint16 or floats"),
        (np.full((4, 4), np.nan), "16 samples that are NaN"),
        (np.full((4, 4), 200.0), "from 200 to 200"),
        (np.full((4, 4), -1.0), "map \\[-1, 1\\]"),
        ([[0.0]], "list"),
    ],
)
def test_from_array_refuses(array, words):
    with pytest.raises(ImageReadError, match=words):
        from_array(array)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_from_pil_like_pillow(mode):
    source = Image.fromarray(noise(6, 8, 4))
    if mode in ("L", "P", "1", "CMYK", "YCbCr", "HSV", "RGBX"):
        source = source.convert("RGB")
    path = {"La": ["LA", "La"], "PA": ["P", "PA"], "RGBa": ["RGBa"]}.get(mode, [mode])
    for step in path:
        source = source.convert(step)
    picture = from_pil(source)
    assert picture.grey == (mode in ("1", "L", "LA", "La"))
    straight = {"La": "LA", "RGBa": "RGBA"}.get(mode)
    expected = np.asarray((source.convert(straight) if straight else source).convert("RGBA")).astype(int)
    np.testing.assert_allclose(picture.pixels * 255, expected[..., :3], atol=1.01 if mode == "CMYK" else 1e-3)
    if "A" in mode.upper():
        np.testing.assert_allclose(picture.alpha * 255, expected[..., 3], atol=1e-3)
    else:
        assert picture.alpha is None


def test_from_pil_deep_modes():
    deep = noise(4, 5, dtype=np.uint16)
    for image in (Image.fromarray(deep), Image.fromarray(deep.astype(np.int32))):
        picture = from_pil(image)
        assert picture.bit_depth == 16
        np.testing.assert_array_equal(np.rint(picture.pixels[..., 0] * 65535), deep)
    picture = from_pil(Image.fromarray(deep.astype(np.float32) / 65535))
    assert picture.bit_depth == 32
    np.testing.assert_allclose(picture.pixels[..., 0], deep / 65535, atol=1e-7)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (Image.new("RGB", (0, 4)), "0x4"),
        (Image.new("LAB", (4, 4)), "mode LAB"),
        (Image.fromarray(np.full((2, 2), 70000, np.int32)), "70000"),
        (Image.fromarray(np.full((2, 2), 255, np.float32)), "from 255 to 255"),
        ("photo.png", "str"),
    ],
)
def test_from_pil_refuses(image, words):
    with pytest.raises(ImageReadError, match=words):
        from_pil(image)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_pil_round_trip(mode):
    source = Image.fromarray(noise(5, 9, 4)).convert(mode)
    result = to_pil(from_pil(source))
    assert result.mode == mode
    np.testing.assert_array_equal(np.asarray(result), np.asarray(source))


def test_to_tensor():
    picture = from_array(noise(5, 9, 3))
    tensor = to_tensor(picture)
    assert tensor.shape == (1, 3, 5, 9)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    np.testing.assert_array_equal(tensor[0].permute(1, 2, 0).numpy(), picture.pixels)
    before = picture.pixels.copy()
    tensor.zero_()
    np.testing.assert_array_equal(picture.pixels, before)
    one = from_array(np.ones((1, 1, 3)))
    to_tensor(one).zero_()
    assert one.pixels.max() == 1


def test_with_pixels_keeps_everything_else():
    plain = from_array(noise(4, 6, 2, dtype=np.uint16))
    source = replace(plain, metadata=Metadata(xmp=b"x"), icc_profile=b"p", format="TIFF")
    tensor = torch.rand(1, 3, 16, 24) * 1.2 - 0.1
    out = with_pixels(source, tensor)
    np.testing.assert_array_equal(out.pixels, tensor[0].permute(1, 2, 0).clamp(0, 1).numpy())
    assert (out.grey, out.bit_depth, out.metadata.xmp, out.icc_profile, out.format) == (True, 16, b"x", b"p", "TIFF")
    np.testing.assert_array_equal(out.alpha, resize_alpha(source.alpha, (16, 24)))
    own = np.zeros((16, 24), np.float32)
    assert with_pixels(source, tensor, own).alpha is own


def test_with_pixels_accepts_arrays_and_low_precision():
    source = from_array(noise(4, 6, 3))
    array = np.random.default_rng(0).random((8, 8, 3))
    np.testing.assert_array_equal(with_pixels(source, array).pixels, array.astype(np.float32))
    tensor = torch.rand(3, 8, 8, requires_grad=True)
    np.testing.assert_array_equal(
        with_pixels(source, tensor.bfloat16()).pixels, tensor.bfloat16().float().detach().permute(1, 2, 0).numpy()
    )


@pytest.mark.parametrize(
    "pixels", [torch.zeros(2, 3, 4, 4), torch.zeros(1, 4, 4), torch.zeros(4, 4), np.zeros((4, 4)), np.zeros((0, 4, 3))]
)
def test_with_pixels_refuses_other_shapes(pixels):
    with pytest.raises(ImageWriteError, match="have shape"):
        with_pixels(from_array(noise(4, 4, 3)), pixels)


def test_with_pixels_refuses_nan():
    pixels = torch.zeros(3, 4, 4)
    pixels[1, 2, 3] = float("nan")
    with pytest.raises(ImageWriteError, match="NaN or infinity"):
        with_pixels(from_array(noise(4, 4, 3)), pixels)


def test_inconsistent_pictures_are_refused():
    pixels = np.zeros((4, 5, 3), np.float32)
    for wrong in ({"alpha": np.zeros((5, 4), np.float32)}, {"alpha": np.zeros((4, 5))}, {"bit_depth": 10}):
        with pytest.raises(ImageReadError):
            Picture(pixels, **wrong)
    for wrong in (pixels[..., 0], pixels.astype(np.float64), pixels[:0]):
        with pytest.raises(ImageReadError):
            Picture(wrong)


def test_grey_result_is_the_luma_of_the_restored_colours():
    out = with_pixels(from_array(noise(1, 1)), np.array([[[0.2, 0.4, 0.8]]]))
    assert np.asarray(to_pil(out))[0, 0] == round(255 * (0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8))


# ------------------------------------------------------------------------------------------------------------ alpha


def test_alpha_keeps_plateaus_and_edges():
    alpha = np.zeros((12, 12), np.float32)
    alpha[:, 6:] = 1
    large = resize_alpha(alpha, (48, 48))
    assert large.shape == (48, 48)
    assert large.dtype == np.float32
    assert large.min() == 0
    assert large.max() == 1
    np.testing.assert_array_equal(large[:, :20], 0)
    np.testing.assert_array_equal(large[:, 28:], 1)
    assert (np.diff(large, axis=1) >= 0).all()
    np.testing.assert_allclose(large.mean(), 0.5, atol=1e-3)
    assert (large[:, 24] > 0.5).all()
    assert (large[:, 23] < 0.5).all()


def test_alpha_shrinks_without_aliasing():
    stripes = np.tile(np.array([0, 1], np.float32), (32, 16))
    np.testing.assert_allclose(resize_alpha(stripes, (8, 8))[:, 1:-1], 0.5, atol=0.02)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (40, 1)])
def test_alpha_constant_stays_constant(size):
    np.testing.assert_allclose(resize_alpha(np.full((5, 6), 0.3, np.float32), size), np.full(size, 0.3), atol=1e-6)


def test_alpha_of_the_same_size_is_untouched():
    alpha = np.random.default_rng(0).random((5, 6)).astype(np.float32)
    np.testing.assert_array_equal(resize_alpha(alpha, (5, 6)), alpha)


def test_importing_the_floor_does_not_import_torch():
    code = "import sys, dp_ir.image; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(place=st.tuples(st.integers(0, 299), st.integers(0, 6), st.integers(0, 2)), step=st.sampled_from([0, 1, 40]))
def test_one_pixel_with_a_colour_makes_a_picture_coloured(place, step):
    """Read at once or part by part; a grey file has none whatever it holds."""
    values = np.repeat(np.random.default_rng(0).integers(0, 200, (300, 7, 1), dtype=np.uint8), 3, axis=2)
    values[place] += step
    parts = LazyPicture(Samples(values, None, 8, "PNG", full_scale=255.0))
    assert from_array(values).colourless == parts.colourless == (step == 0)
    assert from_array(values[..., 0]).colourless
