"""The size that is asked for: what it comes to, and what resizing to it leaves as it was."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dp_ir.errors import ImageWriteError
from dp_ir.image import from_array
from dp_ir.image.picture.output_size import OutputSize, resized
from dp_ir.image.picture.resize import source_rows

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("asked", "size"),
    [
        ({"scale": 1.5}, (45, 62)),  # 30 x 41: 61.5 is rounded up
        ({"scale": 0.01}, (1, 1)),
        ({"scale": 4}, (120, 164)),
        ({"width": 100}, (73, 100)),  # 73.17
        ({"long_edge": 50}, (37, 50)),  # 36.59
        ({}, (120, 164)),
    ],
)
def test_the_size_is_exactly_what_was_asked_for(asked, size):
    assert OutputSize(**asked).of((30, 41), (120, 164)) == size


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 5000))
def test_the_side_that_is_named_is_met_whatever_the_photo(height, width, side):
    whole = (100_000_000, 100_000_000)
    assert OutputSize(width=side).of((height, width), whole)[1] == side
    assert max(OutputSize(long_edge=side).of((height, width), whole)) == side


@given(
    st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 2, 3, 4]), st.floats(0.1, 20), st.integers(1, 2000)
)
def test_what_a_restorer_starts_from_is_just_enough(height, width, scale, factor, side):
    source = (height, width)
    for asked in (OutputSize(scale=factor), OutputSize(width=side), OutputSize(long_edge=side), OutputSize()):
        start = asked.start(source, scale)
        whole = tuple(scale * own for own in start)
        try:
            wanted = asked.of(source, whole)
        except ImageWriteError:
            assert start == (scale * height, scale * width) or scale == 1
            continue
        if start == source:
            assert all(made <= scale * own for made, own in zip(wanted, source, strict=True))
        else:
            assert any(made > scale * own for made, own in zip(wanted, source, strict=True))
            assert all(0 <= more - made < scale for more, made in zip(whole, wanted, strict=True))


@pytest.mark.parametrize("asked", [{"scale": 4.1}, {"width": 165}, {"long_edge": 200}])
def test_more_than_is_restored_is_refused_with_the_largest(asked):
    with pytest.raises(ImageWriteError, match=r"at most the 164x120 .* \(--scale 4 is the largest\)"):
        OutputSize(**asked).of((30, 41), (120, 164))


def test_a_scale_above_the_task_is_refused_before_any_photo():
    with pytest.raises(ImageWriteError, match="expected at most 4"):
        OutputSize(scale=6).check_factor(4)
    OutputSize(scale=4).check_factor(4)
    OutputSize(width=9999).check_factor(4)


@pytest.mark.parametrize(
    "asked", [{"scale": 0}, {"scale": -1}, {"scale": float("nan")}, {"scale": float("inf")}, {"width": 0}]
)
def test_what_is_no_size_is_refused(asked):
    with pytest.raises(ImageWriteError, match="expected a finite number above 0"):
        OutputSize(**asked)


def test_two_sizes_are_refused():
    with pytest.raises(ImageWriteError, match="A scale and a width were asked for together"):
        OutputSize(scale=2, width=100)


def test_the_size_that_it_has_changes_nothing():
    picture = from_array(RANDOM.integers(0, 256, (12, 9, 4), dtype=np.uint8))
    assert resized(picture, (12, 9)) is picture


def test_stripes_as_fine_as_pixels_become_their_mean():
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resized(from_array(stripes), (10, 10)).pixels
    np.testing.assert_allclose(small[:, 2:-2], 0.5, atol=0.02)


def test_hidden_colours_do_not_bleed():
    """A red disc on transparent green: whatever is seen of it afterwards is red."""
    y, x = np.mgrid[0:64, 0:64]
    inside = (y - 31.5) ** 2 + (x - 31.5) ** 2 < 20**2
    image = np.where(inside[..., None], [255, 0, 0, 255], [0, 255, 0, 0]).astype(np.uint8)
    small = resized(from_array(image), (19, 23))
    seen = small.alpha > 0.002
    assert seen.any()
    assert not seen.all()
    np.testing.assert_allclose(small.pixels[seen], np.broadcast_to([1, 0, 0], (seen.sum(), 3)), atol=2e-3)
    np.testing.assert_allclose(small.pixels[0, 0], [0, 1, 0], atol=1e-6)  # and what is hidden stays what it was


def test_it_is_what_pillow_makes_of_premultiplied_samples():
    blocks = 64 + np.random.default_rng(1).integers(0, 128, (8, 9, 4), dtype=np.uint8)  # no overshoot is clipped
    image = np.repeat(np.repeat(blocks, 6, 0), 6, 1)
    theirs = Image.fromarray(image).convert("RGBa").resize((25, 20), Image.Resampling.BICUBIC).convert("RGBA")
    ours = resized(from_array(image), (20, 25))
    colours, alpha = np.asarray(theirs)[..., :3] / 255, np.asarray(theirs)[..., 3:] / 255
    np.testing.assert_allclose(ours.alpha, alpha[..., 0], atol=2 / 255)  # theirs are rounded to 8 bits on the way
    np.testing.assert_allclose(ours.pixels * ours.alpha[..., None], colours * alpha, atol=3 / 255)


def test_grey_stays_grey_and_colours_outside_srgb_stay():
    grey = resized(from_array(RANDOM.integers(0, 256, (16, 16), dtype=np.uint8)), (7, 5))
    assert grey.grey
    assert np.ptp(grey.pixels, axis=-1).max() == 0
    wide = replace(from_array(np.ones((16, 16, 3), np.float32)), out_of_gamut=np.full((16, 16, 3), 0.2, np.float32))
    np.testing.assert_allclose(resized(wide, (5, 7)).out_of_gamut, 0.2, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 31), (57, 40), (7, 90), (1, 1)])
def test_band_by_band_it_is_the_same(size):
    picture = from_array(RANDOM.integers(0, 256, (61, 45, 4), dtype=np.uint8))
    whole = resized(picture, size)
    parts = []
    for top in range(0, size[0], 6):
        rows = top, min(top + 6, size[0])
        first, last = source_rows(61, size[0], rows)
        given = replace(picture, pixels=picture.pixels[first:last], alpha=picture.alpha[first:last])
        parts.append(resized(given, size, rows, (first, 61)))
    np.testing.assert_allclose(np.concatenate([part.alpha for part in parts]), whole.alpha, atol=1e-6)
    visible = whole.alpha > 0.01
    pixels = np.concatenate([part.pixels for part in parts])
    np.testing.assert_allclose(pixels[visible], whole.pixels[visible], atol=1e-4)
