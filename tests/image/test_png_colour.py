"""What a PNG says of its colours: the closed forms of its specification and of H.273, and Pillow's ImageCms, judge."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_profiles import rgb_profile
from PIL import Image, ImageCms

from dp_ir.errors import ImageReadError
from dp_ir.image import from_pil, read_image, to_pil, write_image
from dp_ir.image.formats.png import decode_png
from dp_ir.image.metadata import icc
from dp_ir.image.picture.colour import is_srgb, srgb_profile

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])
BT709 = ((0.3127, 0.3290), (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.3127, 0.3290), (0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
BT2020 = ((0.3127, 0.3290), (0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
NTSC = ((0.310, 0.316), (0.67, 0.33), (0.21, 0.71), (0.14, 0.08))


def colours(height=12, width=15, seed=0, low=60, high=200):
    return np.random.default_rng(seed).integers(low, high, (height, width, 3), dtype=np.uint8)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def gama(number):
    return chunk(b"gAMA", struct.pack(">I", number))


def chrm(corners):
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for corner in corners for value in corner)))


def cicp(*numbers):
    return chunk(b"cICP", bytes(numbers))


SRGB = chunk(b"sRGB", b"\0")


def iccp(profile):
    return chunk(b"iCCP", b"p\0\0" + zlib.compress(profile))


def write_png(path, pixels, *chunks):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    path.write_bytes(data[:33] + b"".join(chunks) + data[33:])
    return path


def srgb_to_linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0) + 0.055) / 1.055) ** 2.4)


def bt709_to_linear(values):
    return np.where(values < 4.5 * 0.018054, values / 4.5, ((values + 0.099297) / 1.099297) ** (1 / 0.45))


def matrix_to_d50(corners):
    """Linear RGB to XYZ as seen under D50, from the definition: the primaries add up to white."""
    white, *primaries = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in corners]
    columns = np.stack(primaries, 1)
    columns = columns * np.linalg.solve(columns, white)
    cone = (BRADFORD @ D50) / (BRADFORD @ white)
    return np.linalg.inv(BRADFORD) @ np.diag(cone) @ BRADFORD @ columns


def lab(xyz):
    ratio = xyz / D50
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def shown_by_imagecms(image):
    """L*a*b* of an image with a profile, in the floats of its fields."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    image = image.convert("L" if profile.profile.xcolor_space.strip() == "GRAY" else "RGB")
    exactly = ImageCms.Flags.NOOPTIMIZE
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("LAB"), image.mode, "LAB", 1, flags=exactly)
    lightness, a, b = np.moveaxis(np.asarray(ImageCms.applyTransform(image, transform)).astype(float), -1, 0)
    return np.stack([lightness / 2.55, a - 256 * (a > 127), b - 256 * (b > 127)], -1)  # a and b are signed bytes


DESCRIBED = [
    ((gama(100_000),), BT709, lambda v: v),
    ((gama(45_455),), BT709, lambda v: v**2.2),
    ((gama(55_556),), BT709, lambda v: v**1.8),
    ((gama(45_455), chrm(P3)), P3, lambda v: v ** (1 / 0.45455)),
    ((chrm(P3),), P3, srgb_to_linear),
    ((gama(100_000), chrm(NTSC)), NTSC, lambda v: v),
    ((cicp(12, 13, 0, 1),), P3, srgb_to_linear),
    ((cicp(9, 14, 0, 1),), BT2020, bt709_to_linear),
    ((cicp(1, 1, 0, 1),), BT709, bt709_to_linear),
    ((cicp(4, 4, 0, 1),), NTSC, lambda v: v**2.2),
    ((cicp(1, 8, 0, 1),), BT709, lambda v: v),
    # The first in order counts, whatever order they stand in.
    ((SRGB, gama(100_000), chrm(NTSC)), BT709, srgb_to_linear),
    ((gama(100_000), SRGB), BT709, srgb_to_linear),
    ((gama(100_000), iccp(rgb_profile()), chrm(NTSC)), P3, lambda v: v**2.2),
    ((SRGB, gama(45_455), cicp(12, 8, 0, 1), iccp(rgb_profile(gamma=1.8))), P3, lambda v: v),
    # What says nothing, or makes no sense, gives way to the next.
    ((cicp(2, 2, 0, 1), gama(100_000)), BT709, lambda v: v),
]


@pytest.mark.parametrize(("chunks", "corners", "decode"), DESCRIBED)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_the_result_shows_what_the_file_describes(tmp_path, chunks, corners, decode, suffix):
    source = np.kron(colours(3, 4), np.ones((16, 16, 1), np.uint8))
    picture = read_image(write_png(tmp_path / "a.png", source, *chunks))
    expected = lab(decode(source / 255.0) @ matrix_to_d50(corners).T)
    write_image(tmp_path / f"out{suffix}", picture)
    with Image.open(tmp_path / f"out{suffix}") as out:
        error = np.abs(shown_by_imagecms(out) - expected)
        assert suffix == ".webp" or np.abs(np.asarray(out).astype(int) - source).max() <= 1
    assert error.mean() < (2 if suffix == ".webp" else 0.6)  # ImageCms gives whole numbers of a* and b*
    # And the networks see the same colours in sRGB.
    linear = decode(source / 255.0) @ matrix_to_d50(corners).T @ np.linalg.inv(matrix_to_d50(BT709)).T
    seen = picture.pixels if picture.out_of_gamut is None else picture.pixels + picture.out_of_gamut
    inside = (linear >= 0) & (linear <= 1)
    np.testing.assert_allclose(srgb_to_linear(seen)[inside], linear[inside], atol=2e-3)


@pytest.mark.parametrize(
    ("chunks", "decode"),
    [
        ((gama(100_000),), lambda v: v),
        ((gama(100_000), chrm(P3)), lambda v: v),
        ((SRGB,), srgb_to_linear),
        ((cicp(1, 8, 0, 1),), lambda v: v),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_grey(tmp_path, chunks, decode, suffix):
    source = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    picture = read_image(write_png(tmp_path / "a.png", source, *chunks))
    np.testing.assert_allclose(srgb_to_linear(picture.pixels[..., 1]), decode(source / 255.0), atol=1e-4)
    write_image(tmp_path / f"out{suffix}", picture)
    with Image.open(tmp_path / f"out{suffix}") as out:
        assert out.mode == "L"
        np.testing.assert_allclose(np.asarray(out).astype(int), source, atol=2 if suffix == ".jpg" else 0)
        lightness = lab(decode(source / 255.0)[..., None] * D50)[..., 0]
        np.testing.assert_allclose(shown_by_imagecms(out)[..., 0], lightness, atol=0.6 + 0.5 * (suffix == ".jpg"))


@pytest.mark.parametrize(("depth", "alpha"), [(8, False), (8, True), (16, False)])
def test_16_bits_palettes_and_transparency(tmp_path, depth, alpha):
    source = colours()
    if depth == 16:
        import imagecodecs

        wide = (source.astype(np.uint16) << 8) + 77
        data = bytes(imagecodecs.png_encode(wide))
        (tmp_path / "a.png").write_bytes(data[:33] + gama(100_000) + data[33:])
        picture = read_image(tmp_path / "a.png")
        write_image(tmp_path / "out.png", picture)
        back = imagecodecs.png_decode((tmp_path / "out.png").read_bytes())
        np.testing.assert_allclose(back.astype(int), wide, atol=1)
        source = wide / 257.0
    elif alpha:
        picture = read_image(write_png(tmp_path / "a.png", np.dstack([source, source[..., 0]]), gama(100_000)))
        np.testing.assert_allclose(picture.alpha * 255, source[..., 0])  # opacity is no light
    else:
        palette = Image.fromarray(source).quantize(16)
        source = np.asarray(palette.convert("RGB"))
        buffer = io.BytesIO()
        palette.save(buffer, "PNG")
        data = buffer.getvalue()
        (tmp_path / "a.png").write_bytes(data[:33] + gama(100_000) + data[33:])
        picture = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(srgb_to_linear(picture.pixels), source / 255.0, atol=1e-4)


@pytest.mark.parametrize("transfer", [16, 18])
@pytest.mark.parametrize("others", [(), (iccp(rgb_profile()), SRGB)])
def test_high_dynamic_range_is_refused(tmp_path, transfer, others):
    path = write_png(tmp_path / "hdr.png", colours(), cicp(9, transfer, 0, 1), *others)
    with pytest.raises(ImageReadError, match=r"hdr\.png.* high dynamic range \((PQ|HLG), .*: convert it .* first\.$"):
        read_image(path)


def test_narrow_range(tmp_path):
    source = np.array([[[16, 16, 16], [235, 235, 235], [126, 16, 235], [255, 4, 16]]], np.uint8)
    picture = read_image(write_png(tmp_path / "a.png", source, cicp(1, 13, 0, 0)))
    full = (source - 16.0) / 219
    np.testing.assert_allclose(picture.pixels, full.clip(0, 1), atol=1e-4)
    write_image(tmp_path / "out.png", picture)
    with Image.open(tmp_path / "out.png") as out:
        np.testing.assert_allclose(np.asarray(out) / 255, full.clip(0, 1), atol=1 / 255)
        assert is_srgb(out.info["icc_profile"])


@pytest.mark.parametrize(
    ("chunks", "named"),
    [
        ((gama(0),), "gAMA"),
        ((chunk(b"gAMA", b"\0\0"),), "gAMA"),
        ((chrm(((0.3127, 0), *P3[1:])),), "cHRM"),
        ((chrm((P3[0], P3[1], P3[1], P3[1])),), "cHRM"),
        ((chunk(b"cHRM", b"\xff" * 32),), "cHRM"),
        ((cicp(1, 13, 0),), "cICP"),
        ((cicp(1, 99, 0, 1),), "cICP"),
        ((cicp(1, 13, 5, 1),), "cICP"),
        ((chunk(b"iCCP", b"p\0\0junk"),), "iCCP"),
    ],
)
def test_what_makes_no_sense_is_ignored_with_a_warning(tmp_path, chunks, named):
    source = colours()
    with pytest.warns(UserWarning, match=f"The {named} chunk"):
        picture = read_image(write_png(tmp_path / "a.png", source, *chunks))
    np.testing.assert_array_equal(picture.pixels, source / np.float32(255))
    assert picture.icc_profile is None
    if named in ("cICP", "iCCP"):
        with pytest.warns(UserWarning, match=f"The {named} chunk"):
            assert read_image(write_png(tmp_path / "a.png", source, SRGB, *chunks)).icc_profile == srgb_profile()


def test_an_srgb_chunk_leaves_pixels_alone_and_tags_the_result(tmp_path):
    source = colours(low=0, high=256)
    picture = read_image(write_png(tmp_path / "a.png", source, SRGB, gama(45_455)))
    np.testing.assert_array_equal(picture.pixels, source / np.float32(255))
    assert picture.out_of_gamut is None
    assert picture.icc_profile == srgb_profile()


@pytest.mark.parametrize("chunks", [(gama(100_000), chrm(NTSC)), (SRGB,), ()])
def test_pil_images_say_the_same_as_their_files(tmp_path, chunks):
    path = write_png(tmp_path / "a.png", colours(), *chunks)
    with Image.open(path) as image:
        given = from_pil(image)
    read = read_image(path)
    np.testing.assert_allclose(given.pixels, read.pixels, atol=1e-6)
    assert given.icc_profile == read.icc_profile == to_pil(given).info.get("icc_profile")


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"cICP", b"sRGB", b"gAMA", b"cHRM", b"iCCP"]), st.binary(max_size=40)), max_size=4
    ),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8),
)
@pytest.mark.filterwarnings("ignore")
def test_no_chunk_stops_a_png_but_high_dynamic_range(others, gamma, corners):
    buffer = io.BytesIO()
    Image.fromarray(colours(2, 3)).save(buffer, "PNG")
    data = buffer.getvalue()
    own = gama(gamma) + chunk(b"cHRM", struct.pack(">8I", *corners))
    extra = b"".join(chunk(kind, body) for kind, body in others) + own
    try:
        samples = decode_png(data[:33] + extra + data[33:], "a.png")
    except ImageReadError as error:
        assert "high dynamic range" in str(error)  # noqa: PT017
        return
    from dp_ir.image.files.samples import to_picture

    assert np.isfinite(to_pil(to_picture(samples))).all()


# The profiles themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("curve", [icc.SRGB_CURVE, (1.0,), (2.2,)])
def test_profiles_are_those_of_the_definition(curve):
    profile = icc.rgb_profile("P3 of a test", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06), icc.D65, curve)
    assert profile == icc.rgb_profile("P3 of a test", (0.68, 0.32, 0.265, 0.69, 0.15, 0.06), icc.D65, curve)
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    assert opened.profile_description == "P3 of a test"
    assert int.from_bytes(profile[:4], "big") == len(profile)
    found = np.array([opened.red_colorant[0], opened.green_colorant[0], opened.blue_colorant[0]]).T
    np.testing.assert_allclose(found, matrix_to_d50(P3), atol=3e-5)
    np.testing.assert_allclose(found.sum(1), D50, atol=5e-5)


def test_srgb_is_that_of_little_cms():
    ramp = np.arange(256, dtype=np.uint8)
    image = Image.fromarray(np.stack(np.meshgrid(ramp[::15], ramp[::15], ramp[::15]), -1).reshape(18, -1, 3))
    theirs = ImageCms.createProfile("sRGB")
    ours = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile()))
    out = ImageCms.profileToProfile(image, ours, theirs, renderingIntent=1)
    assert np.abs(np.asarray(out).astype(int) - np.asarray(image)).max() <= 1
