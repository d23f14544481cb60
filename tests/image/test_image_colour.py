"""Colour profiles: Pillow's ImageCms (its own build of Little CMS) and the textbook formulas are the references."""

import io

import numpy as np
import pytest
import tifffile
from image_profiles import WIDE_PRIMARIES, cmyk_profile, grey_profile, rgb_profile
from PIL import Image, ImageCms

from dp_ir.image import from_array, from_pil, read_image, to_pil, with_pixels, write_image
from dp_ir.image.picture.colour import (
    adobe_rgb_profile,
    from_srgb,
    is_srgb,
    srgb_decode,
    srgb_encode,
    srgb_profile,
    to_srgb,
)


def pastel(height, width, seed=0):
    """Colours well inside every gamut."""
    return np.random.default_rng(seed).integers(90, 170, (height, width, 3), dtype=np.uint8)


def saturated(height, width, seed=0):
    return np.random.default_rng(seed).choice(np.array([0, 20, 128, 255], np.uint8), (height, width, 3))


def cms(image, profile, mode="RGB", **options):
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    return np.asarray(ImageCms.profileToProfile(image, source, target, intent, outputMode=mode, **options))


def test_srgb_curve():
    assert srgb_encode(np.float32(0.0)) == 0
    np.testing.assert_allclose(
        srgb_encode(np.array([0.0031308, 0.214041, 1.0], np.float32)), [0.04045, 0.5, 1], atol=1e-5
    )
    values = np.linspace(-2, 3, 1001, dtype=np.float32)
    np.testing.assert_allclose(srgb_decode(srgb_encode(values)), values, atol=2e-6)
    np.testing.assert_array_equal(srgb_encode(-values), -srgb_encode(values))


@pytest.mark.parametrize("profile", [rgb_profile(), rgb_profile(WIDE_PRIMARIES, 1.8), adobe_rgb_profile()])
def test_pixels_are_converted_to_srgb_as_imagecms_does(tmp_path, profile):
    image = Image.fromarray(pastel(12, 10))
    image.save(tmp_path / "image.png", icc_profile=profile)
    picture = read_image(tmp_path / "image.png")
    np.testing.assert_allclose(picture.pixels * 255, cms(image, profile), atol=1.01)
    assert np.abs(picture.pixels * 255 - np.asarray(image)).max() > 3  # it did something
    assert picture.icc_profile == profile


def test_adobe_rgb_profile_has_the_published_primaries():
    image = Image.fromarray(pastel(8, 8))
    linear = (np.asarray(image) / 255) ** (563 / 256)
    # Adobe RGB (1998) specification, section 4.3.5: linear values to XYZ (D65); then IEC 61966-2-1's XYZ to linear sRGB
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_linear = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    expected = linear @ np.transpose(to_xyz) @ np.transpose(to_linear)
    values, _ = to_srgb((np.asarray(image) / 255).astype(np.float32), adobe_rgb_profile())
    np.testing.assert_allclose(srgb_decode(values), expected, atol=2e-3)


@pytest.mark.parametrize(
    "profile",
    [srgb_profile(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()],
)
def test_srgb_is_identity(tmp_path, profile):
    source = saturated(9, 9)
    Image.fromarray(source).save(tmp_path / "image.png", icc_profile=profile)
    picture = read_image(tmp_path / "image.png")
    np.testing.assert_array_equal(picture.pixels, source.astype(np.float32) / np.float32(255))
    assert picture.icc_profile == profile
    assert picture.out_of_gamut is None
    assert is_srgb(profile)
    assert not is_srgb(rgb_profile())


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("profile", [rgb_profile(), rgb_profile(WIDE_PRIMARIES, 1.8)])
def test_wide_gamut_colours_and_profile_come_back(tmp_path, suffix, profile):
    blocks = np.kron(saturated(3, 4), np.ones((16, 16, 1), np.uint8))
    Image.fromarray(blocks).save(tmp_path / "image.png", icc_profile=profile)
    picture = read_image(tmp_path / "image.png")
    assert picture.out_of_gamut is not None
    assert picture.pixels.min() >= 0
    assert picture.pixels.max() <= 1
    write_image(tmp_path / f"out{suffix}", picture)
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.info["icc_profile"] == profile
        error = np.abs(np.asarray(image.convert("RGB")).astype(int) - blocks)
    if suffix in (".png", ".tif"):
        assert error.max() <= 1
        assert np.mean(error > 0) < 0.02
    else:
        assert error.mean() < 6


def test_16_bit_wide_gamut_comes_back_in_16_bits(tmp_path):
    profile, rng = rgb_profile(), np.random.default_rng(1)
    source = rng.integers(0, 65536, (32, 32, 3), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "image.tif", source, photometric="rgb", iccprofile=profile)
    write_image(tmp_path / "out.tif", read_image(tmp_path / "image.tif"))
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.pages[0].iccprofile == profile
        error = np.abs(tiff.asarray().astype(int) - source)
    assert np.percentile(error, 99) < 32  # an eighth of an 8-bit level
    assert error.max() < 128


def test_wide_gamut_survives_a_change_of_resolution():
    green = np.zeros((8, 8, 3), np.uint8)
    green[..., 1] = 255
    image = Image.fromarray(green)
    image.info["icc_profile"] = rgb_profile()
    picture = from_pil(image)
    restored = np.repeat(np.repeat(picture.pixels, 4, axis=0), 4, axis=1) + np.float32(0.01)
    out = np.asarray(to_pil(with_pixels(picture, restored)))
    assert np.abs(out.astype(int) - [0, 255, 0]).max() < 40  # plain sRGB green would be (117, 251, 76)


def test_no_fringe_where_the_network_moves_an_edge():
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[..., 1] = 255
    pixels[:, 8:] = 128
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = rgb_profile()
    picture = from_pil(image)
    moved = np.roll(picture.pixels, -2, axis=1)  # grey where the source is out of gamut
    out = np.asarray(to_pil(with_pixels(picture, moved))).astype(int)
    assert np.abs(out[:, 6:8] - 128).max() <= 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_grey_profile(tmp_path, suffix):
    profile = grey_profile(1.8)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    image = Image.fromarray(ramp)
    image.save(tmp_path / "image.png", icc_profile=profile)
    picture = read_image(tmp_path / "image.png")
    assert picture.grey
    np.testing.assert_allclose(srgb_decode(picture.pixels[..., 0]), (ramp / 255.0) ** 1.8, atol=1e-4)
    write_image(tmp_path / f"out{suffix}", picture)
    with Image.open(tmp_path / f"out{suffix}") as out:
        assert out.mode == "L"
        assert out.info["icc_profile"] == profile
        assert np.abs(np.asarray(out).astype(int) - ramp).max() <= (2 if suffix == ".jpg" else 0)
    write_image(tmp_path / "out.webp", picture)  # which has no grey: a grey profile would be wrong there
    with Image.open(tmp_path / "out.webp") as out:
        assert is_srgb(out.info["icc_profile"])


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_through_its_profile(tmp_path, suffix):
    profile = cmyk_profile()
    inks = np.kron(np.random.default_rng(2).integers(0, 256, (2, 3, 4), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    Image.fromarray(inks, mode="CMYK").save(tmp_path / f"ink{suffix}", icc_profile=profile)
    with Image.open(tmp_path / f"ink{suffix}") as image:
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        expected = cms(image, profile, flags=flags).astype(int)
        naive = np.asarray(image.convert("RGB")).astype(int)
    picture = read_image(tmp_path / f"ink{suffix}")
    assert np.abs(np.rint(picture.pixels * 255) - expected).max() <= 3
    assert np.abs(expected - naive).max() > 20  # the profile matters
    assert is_srgb(picture.icc_profile)


def test_bmp_holds_srgb(tmp_path):
    image = Image.fromarray(pastel(6, 6))
    image.info["icc_profile"] = rgb_profile()
    write_image(tmp_path / "out.bmp", from_pil(image))
    np.testing.assert_allclose(
        np.asarray(Image.open(tmp_path / "out.bmp")).astype(int), cms(image, rgb_profile()), atol=1
    )


def test_camera_adobe_rgb_without_profile(tmp_path):
    image, exif = Image.fromarray(pastel(8, 8)), Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    image.save(tmp_path / "camera.png", exif=exif.tobytes())
    picture = read_image(tmp_path / "camera.png")
    np.testing.assert_allclose(picture.pixels * 255, cms(image, adobe_rgb_profile()), atol=1.01)
    write_image(tmp_path / "out.jpg", picture)
    assert Image.open(tmp_path / "out.jpg").info["icc_profile"] == adobe_rgb_profile()


@pytest.mark.parametrize("profile", [b"junk", b"\0" * 200, grey_profile(), rgb_profile()[:300]])
def test_broken_or_foreign_profile_is_ignored_with_a_warning(tmp_path, profile):
    source = pastel(4, 4)
    Image.fromarray(source).save(tmp_path / "image.jpg", icc_profile=profile, quality=100, subsampling=0)
    with pytest.warns(UserWarning, match="sRGB is assumed"):
        picture = read_image(tmp_path / "image.jpg")
    assert picture.icc_profile is None
    assert np.abs(picture.pixels * 255 - source).max() < 5


def test_profile_without_a_way_back_becomes_srgb(monkeypatch):
    from dp_ir.image.picture import colour

    values = pastel(4, 4).astype(np.float32) / 255
    monkeypatch.setattr(colour, "from_srgb", lambda pixels, profile: pixels * 0)
    colour._has_way_back.cache_clear()
    converted, profile = to_srgb(values, rgb_profile())
    colour._has_way_back.cache_clear()
    assert profile == srgb_profile()
    assert np.abs(converted - values).max() > 0.01


def test_conversion_is_invertible_over_the_whole_cube():
    values = np.random.default_rng(3).random((40, 40, 3)).astype(np.float32)
    for profile in (rgb_profile(), rgb_profile(WIDE_PRIMARIES, 1.8), adobe_rgb_profile()):
        there, carried = to_srgb(values, profile)
        assert carried == profile
        np.testing.assert_allclose(from_srgb(there, carried), values, atol=1.5e-3)


def test_untagged_stays_untagged(tmp_path):
    write_image(tmp_path / "out.png", from_array(pastel(3, 3)))
    assert "icc_profile" not in Image.open(tmp_path / "out.png").info
