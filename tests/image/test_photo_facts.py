"""Facts about photos, on pictures whose noise, compression and detail are known."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter

from dp_ir.image import Picture, from_array
from dp_ir.image.picture.photo_facts import photo_facts


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def picture(brightness):
    return Picture(np.repeat(brightness[..., None], 3, axis=2).astype(np.float32).clip(0, 1))


def scene(rng, size=(160, 200)):
    """A soft scene with an edge, half of it without detail."""
    plane = gaussian_filter(rng.random(size), 6)
    plane = 0.3 + 0.4 * (plane - plane.min()) / np.ptp(plane)
    plane[:, : size[1] // 2] = 0.5
    return plane


@pytest.mark.parametrize("sigma", [1 / 255, 4 / 255, 12 / 255])
def test_noise_is_its_standard_deviation(sigma, rng):
    noisy = scene(rng, (400, 400)) + sigma * rng.normal(size=(400, 400))
    assert photo_facts(picture(noisy)).noise == pytest.approx(sigma, rel=0.12)


def test_colour_noise_counts_as_that_of_the_brightness(rng):
    sigma, weights = 0.02, np.array([0.299, 0.587, 0.114])
    pixels = 0.5 + sigma * rng.normal(size=(400, 400, 3))
    expected = sigma * np.sqrt(np.square(weights).sum())
    assert photo_facts(Picture(pixels.astype(np.float32))).noise == pytest.approx(expected, rel=0.12)


def test_texture_elsewhere_is_no_noise(rng):
    plane = scene(rng, (256, 256))
    plane[:128] = rng.random((128, 256))  # half of the photo is gravel
    assert photo_facts(picture(plane)).noise < 1 / 255


def compressed(plane, quality):
    file = io.BytesIO()
    Image.fromarray((plane * 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


def test_blocks_are_found_wherever_they_begin(rng):
    plane = np.clip(gaussian_filter(rng.random((200, 240)), 1.5) * 4 - 1.5, 0, 1)
    before = photo_facts(picture(plane)).blockiness
    qualities = [photo_facts(picture(compressed(plane, quality))).blockiness for quality in (90, 60, 30)]
    assert before < qualities[0] < qualities[1] < qualities[2]
    assert qualities[1] > 0.4 / 255 > before
    moved = photo_facts(picture(compressed(plane, 30)[3:, 5:])).blockiness
    assert moved == pytest.approx(qualities[2], rel=0.1)


def test_blockiness_is_the_height_of_the_steps():
    # Blocks of equal brightness, each 0.05 above or below its neighbours, in both directions.
    rows, columns = np.meshgrid(np.arange(12), np.arange(16), indexing="ij")
    plane = np.kron(0.5 + 0.05 * ((rows + columns) % 2), np.ones((8, 8)))
    assert photo_facts(picture(plane)).blockiness == pytest.approx(0.05, rel=1e-5)


def test_an_enlarged_photo_has_no_blocks(rng):
    small = Image.fromarray((gaussian_filter(rng.random((100, 120)), 1) * 255).astype(np.uint8))
    for factor in (2, 4):
        large = np.asarray(small.resize((120 * factor, 100 * factor), Image.BICUBIC)) / 255
        assert photo_facts(picture(large)).blockiness < 0.4 / 255


def test_fineness_of_white_noise_and_of_soft_images(rng):
    assert photo_facts(picture(rng.random((300, 300)))).fineness == pytest.approx(1, abs=0.03)
    soft = [photo_facts(picture(gaussian_filter(rng.random((300, 300)), width))).fineness for width in (0.5, 1, 2, 4)]
    assert soft == sorted(soft, reverse=True)
    # Neighbours of a noise blurred by s correlate as exp(-d^2 / 4 s^2).
    assert soft[2] == pytest.approx((1 - np.exp(-1 / 16)) / (1 - np.exp(-4 / 16)), rel=0.05)
    assert 0.25 < soft[3] < 0.27


@given(height=st.integers(1, 40), width=st.integers(1, 40), level=st.integers(0, 255))
def test_flat_pictures_of_any_size_have_nothing(height, width, level):
    facts = photo_facts(from_array(np.full((height, width, 3), level, np.uint8)))
    assert (facts.width, facts.height) == (width, height)
    assert (facts.noise, facts.blockiness) == pytest.approx((0, 0), abs=1e-6)


def test_the_central_part_stands_for_a_large_photo(rng):
    large = np.full((1500, 1600), 0.5)
    large[238:1262, 288:1312] += 0.02 * rng.normal(size=(1024, 1024))
    assert photo_facts(picture(large)).noise == pytest.approx(0.02, rel=0.05)
