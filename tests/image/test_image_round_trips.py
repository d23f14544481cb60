"""Every format and mode, against Pillow, tifffile and libtiff (imagecodecs) as independent readers and writers."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dp_ir.image import from_array, read_image, to_pil, write_image
from dp_ir.image.files.reading import image_size

LOSSLESS = [".png", ".tif", ".tiff", ".bmp"]


def noise(shape, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 100 * np.sin((a * x + b * y) / 40) for a, b in ((1, 2), (2, 1), (1.5, -1))]
    return np.stack(planes, axis=-1).round().astype(np.uint8)


def samples8(picture):
    """The picture as 8-bit samples, with alpha where it has one."""
    values = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    return np.rint(values * 255).astype(np.uint8)


# ---------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "LA", "RGBA"])
def test_reads_what_pillow_wrote(tmp_path, suffix, mode):
    if suffix == ".bmp":  # has no transparency
        mode = mode.replace("A", "")
    source = Image.fromarray(noise((11, 7, 3 if mode == "P" else 4))).convert(mode)
    path = tmp_path / f"image{suffix}"
    source.save(path)
    picture = read_image(path)
    expected = np.asarray(source.convert("RGBA" if mode in ("LA", "RGBA") else "RGB"))
    np.testing.assert_array_equal(samples8(picture), expected)
    assert picture.grey == (mode in ("1", "L", "LA"))
    assert picture.bit_depth == 8
    assert picture.size == (11, 7)
    assert picture.out_of_gamut is None


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".jpg", ".webp"])
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_the_header_tells_the_size(tmp_path, suffix, height, width):
    path = tmp_path / f"image{suffix}"
    Image.new("RGB", (width, height)).save(path)
    assert image_size(path) == (height, width)
    if not suffix.startswith(".tif"):  # whose header may lie at its end
        path.write_bytes(path.read_bytes()[:700])  # no pixel is needed
        assert image_size(path) == (height, width)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_reads_lossless_webp(tmp_path, mode):
    source = Image.fromarray(noise((9, 13, 4))).convert(mode)
    source.save(tmp_path / "image.webp", lossless=True, exact=True)
    picture = read_image(tmp_path / "image.webp")
    np.testing.assert_array_equal(samples8(picture), np.asarray(source))
    assert picture.format == "WebP"


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_reads_jpeg_like_pillow(tmp_path, mode):
    Image.fromarray(smooth(21, 30)).convert(mode).save(tmp_path / "image.jpg", quality=80)
    picture = read_image(tmp_path / "image.jpg")
    with Image.open(tmp_path / "image.jpg") as decoded:
        np.testing.assert_array_equal(samples8(picture), np.asarray(decoded.convert("RGB")))
    assert picture.grey == (mode == "L")
    assert picture.format == "JPEG"


def test_content_decides_not_the_suffix(tmp_path):
    source = noise((5, 6, 3))
    Image.fromarray(source).save(tmp_path / "photo.jpg", format="PNG")
    picture = read_image(tmp_path / "photo.jpg")
    assert picture.format == "PNG"
    np.testing.assert_array_equal(samples8(picture), source)


def test_multi_picture_jpeg_gives_the_photo(tmp_path):
    photo, gain_map = Image.fromarray(smooth(16, 24)), Image.new("RGB", (6, 4))
    photo.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[gain_map])
    picture = read_image(tmp_path / "phone.jpg")
    assert picture.size == (16, 24)
    assert np.abs(samples8(picture).astype(int) - np.asarray(photo)).mean() < 3


def test_palette_transparency_is_expanded(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    image.save(tmp_path / "palette.png", transparency=bytes([0, 128]))
    picture = read_image(tmp_path / "palette.png")
    np.testing.assert_array_equal(samples8(picture)[0], [[10, 20, 30, 0], [40, 50, 60, 128], [70, 80, 90, 255]])


@pytest.mark.parametrize(
    ("mode", "transparency", "expected"), [("L", 7, [0, 255]), ("RGB", (7, 7, 7), [0, 255]), ("1", 0, [0, 255])]
)
def test_transparent_colour_is_expanded(tmp_path, mode, transparency, expected):
    image = Image.fromarray(np.array([[7, 200]], np.uint8)).convert(mode)
    if mode == "1":
        image = Image.fromarray(np.array([[False, True]]))
    image.save(tmp_path / "keyed.png", transparency=transparency)
    picture = read_image(tmp_path / "keyed.png")
    np.testing.assert_array_equal(np.rint(picture.alpha * 255)[0], expected)
    assert picture.grey == (mode != "RGB")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_reads_16_bit_png_at_full_precision(tmp_path, channels):
    source = noise((6, 5, channels), np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(source[..., 0] if channels == 1 else source))
    picture = read_image(tmp_path / "deep.png")
    assert picture.bit_depth == 16
    assert picture.grey == (channels < 3)
    colours = source[..., :1] if channels < 3 else source[..., :3]
    np.testing.assert_array_equal(np.rint(picture.pixels * 65535), np.broadcast_to(colours, (6, 5, 3)))
    if channels in (2, 4):
        np.testing.assert_array_equal(np.rint(picture.alpha * 65535), source[..., -1])


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("layout", [{}, {"planarconfig": "separate"}, {"tile": (16, 16)}, {"byteorder": ">"}])
def test_reads_tiff_of_every_depth_and_layout(tmp_path, dtype, layout):
    dtype = np.dtype(dtype)
    source = noise((18, 20, 3), dtype)
    data = np.moveaxis(source, -1, 0) if "planarconfig" in layout else source
    tifffile.imwrite(tmp_path / "image.tif", data, photometric="rgb", **layout)
    picture = read_image(tmp_path / "image.tif")
    scale = 1.0 if dtype.kind == "f" else np.iinfo(dtype).max
    np.testing.assert_allclose(picture.pixels, source.astype(np.float64) / scale, atol=1e-7)
    assert picture.bit_depth == {"u1": 8, "u2": 16}.get(dtype.str[1:], 32)


def test_reads_tiff_with_white_as_zero_and_of_12_bits(tmp_path):
    source = noise((4, 8), np.uint16) >> 4
    tifffile.imwrite(tmp_path / "image.tif", source, photometric="miniswhite", bitspersample=12)
    picture = read_image(tmp_path / "image.tif")
    np.testing.assert_allclose(picture.pixels[..., 0], 1 - source / 4095, atol=1e-6)
    assert picture.grey
    assert picture.bit_depth == 16


def test_reads_fax_and_jpeg_and_palette_tiff_like_pillow(tmp_path):
    source = Image.fromarray(smooth(32, 40))
    for name, image, options in (
        ("fax", source.convert("1"), {"compression": "group4"}),
        ("jpeg", source, {"compression": "jpeg"}),
        ("lzw", source, {"compression": "tiff_lzw"}),
        ("palette", source.quantize(50), {}),
    ):
        image.save(tmp_path / f"{name}.tif", **options)
        with Image.open(tmp_path / f"{name}.tif") as decoded:
            expected = np.asarray(decoded.convert("RGB")).astype(int)
        assert np.abs(samples8(read_image(tmp_path / f"{name}.tif")).astype(int) - expected).max() <= 1, name


def test_premultiplied_tiff_is_divided_out(tmp_path):
    colour, alpha = np.array([200, 100, 50]), np.array([0, 51, 255])
    data = np.concatenate([np.rint(colour * alpha[:, None] / 255), alpha[:, None]], axis=1).astype(np.uint8)[None]
    tifffile.imwrite(tmp_path / "image.tif", data, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_image(tmp_path / "image.tif")
    np.testing.assert_array_equal(samples8(picture)[0, 1:], [[200, 100, 50, 51], [200, 100, 50, 255]])
    assert picture.alpha[0, 0] == 0


def test_thumbnail_page_is_not_a_second_image(tmp_path):
    source = noise((16, 16, 3))
    with tifffile.TiffWriter(tmp_path / "image.tif") as writer:
        writer.write(source, photometric="rgb")
        writer.write(source[::4, ::4], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(samples8(read_image(tmp_path / "image.tif")), source)


def test_highlights_of_a_float_tiff_survive(tmp_path):
    source = np.array([[[0.2, 1.5, 4.0], [-0.1, 0.5, 1.0]]], np.float32)
    tifffile.imwrite(tmp_path / "hdr.tif", source, photometric="rgb")
    picture = read_image(tmp_path / "hdr.tif")
    assert picture.pixels.min() >= 0
    assert picture.pixels.max() <= 1
    write_image(tmp_path / "out.tif", picture)
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), source, atol=1e-6)


@pytest.mark.parametrize("container", [".jpg", ".tif"])
def test_cmyk_without_profile_becomes_rgb(tmp_path, container):
    source = Image.fromarray(smooth(16, 16)).convert("CMYK")
    source.save(tmp_path / f"ink{container}")
    picture = read_image(tmp_path / f"ink{container}")
    with Image.open(tmp_path / f"ink{container}") as decoded:
        expected = np.asarray(decoded.convert("RGB")).astype(int)
    assert np.abs(samples8(picture).astype(int) - expected).max() <= 1
    write_image(tmp_path / "out.jpg", picture)
    with Image.open(tmp_path / "out.jpg") as out:
        assert out.mode == "RGB"
        assert "icc_profile" in out.info


# ---------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", [*LOSSLESS, ".webp", ".jpg", ".jpeg"])
@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 2), (33, 47, 3), (33, 47, 4)])
def test_pillow_reads_what_is_written(tmp_path, suffix, shape):
    channels = shape[2] if len(shape) == 3 else 1
    array = smooth(33, 47)
    array = array[..., :1] if channels < 3 else array
    if channels in (2, 4):
        array = np.dstack([array, smooth(33, 47)[..., 1]])
    write_image(tmp_path / f"image{suffix}", from_array(array))
    with Image.open(tmp_path / f"image{suffix}") as image:
        mode, decoded, info = image.mode, np.asarray(image.convert("RGBA")).astype(float), image.info
    transparent = channels in (2, 4) and suffix not in (".bmp", ".jpg", ".jpeg")
    grey = channels < 3 and suffix != ".webp"
    assert (
        mode
        == {(True, True): "LA", (True, False): "L", (False, True): "RGBA", (False, False): "RGB"}[grey, transparent]
    )
    expected = np.broadcast_to(array[..., :1], (33, 47, 3)) if channels < 3 else array[..., :3]
    if channels in (2, 4) and not transparent:  # laid over white
        opacity = array[..., -1:] / 255.0
        expected = expected * opacity + 255 * (1 - opacity)
    error = np.abs(decoded[..., :3] - expected)
    assert error.max() <= 0.51 if suffix in LOSSLESS else error.mean() < 2.0
    if transparent:
        np.testing.assert_array_equal(decoded[..., 3], array[..., -1])
    assert "icc_profile" not in info


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_and_tiff_are_written_exactly(tmp_path, channels):
    source = noise((19, 23, channels), np.uint16)
    picture = from_array(source)
    write_image(tmp_path / "image.png", picture)
    write_image(tmp_path / "image.tif", picture)
    expected = source[..., 0] if channels == 1 else source
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "image.png").read_bytes()), expected)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "image.tif"), expected)
    np.testing.assert_array_equal(imagecodecs.tiff_decode((tmp_path / "image.tif").read_bytes()), expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_float_tiff_is_written_exactly(tmp_path, channels):
    source = noise((70, 1200, channels), np.float32)  # several strips
    write_image(tmp_path / "image.tif", from_array(source))
    expected = source[..., 0] if channels == 1 else source
    exact = tifffile.imread(tmp_path / "image.tif")
    np.testing.assert_allclose(exact, expected, atol=1e-7 if channels == 1 else 0)  # grey passes through the luma sum
    np.testing.assert_array_equal(imagecodecs.tiff_decode((tmp_path / "image.tif").read_bytes()), exact)
    with tifffile.TiffFile(tmp_path / "image.tif") as tiff:
        assert len(tiff.pages[0].dataoffsets) > 1


def test_jpeg_keeps_full_colour_resolution_and_webp_obeys_quality(tmp_path):
    picture = from_array(noise((32, 32, 3)))
    write_image(tmp_path / "image.jpg", picture)
    with Image.open(tmp_path / "image.jpg") as image:
        assert all(component[1:3] == (1, 1) for component in image.layer)
        assert max(image.quantization[0]) < 20
    for suffix in (".jpg", ".webp"):
        write_image(tmp_path / f"high{suffix}", picture)
        write_image(tmp_path / f"low{suffix}", picture, quality=30)
        assert (tmp_path / f"low{suffix}").stat().st_size < 0.7 * (tmp_path / f"high{suffix}").stat().st_size


@pytest.mark.parametrize(
    ("suffix", "asked", "stored"),
    [(".png", None, 16), (".png", 8, 8), (".tif", None, 32), (".tif", 16, 16), (".tif", 8, 8), (".jpg", None, 8)],
)
def test_bit_depth_is_kept_as_far_as_the_format_goes(tmp_path, suffix, asked, stored):
    write_image(tmp_path / f"image{suffix}", from_array(noise((4, 4, 3), np.float32)), bit_depth=asked)
    assert read_image(tmp_path / f"image{suffix}").bit_depth == stored


def test_suffix_in_capitals(tmp_path):
    write_image(tmp_path / "IMAGE.PNG", from_array(noise((4, 4, 3))))
    assert read_image(tmp_path / "IMAGE.PNG").format == "PNG"


def test_writing_is_reproducible(tmp_path):
    Image.fromarray(smooth(8, 8)).convert("CMYK").save(tmp_path / "ink.tif")
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, read_image(tmp_path / "ink.tif"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.integers(1, 4),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    suffix=st.sampled_from([".png", ".tif"]),
    seed=st.integers(0, 2**16),
)
def test_round_trip_is_exact_at_any_size(tmp_path, height, width, channels, dtype, suffix, seed):
    picture = from_array(noise((height, width, channels), dtype, seed))
    write_image(tmp_path / f"image{suffix}", picture)
    again = read_image(tmp_path / f"image{suffix}")
    exact = dtype != np.float32 or suffix == ".tif"
    np.testing.assert_allclose(again.pixels, picture.pixels, atol=2e-7 if exact else 0.51 / 65535)
    assert again.grey == picture.grey
    assert (again.alpha is None) == (picture.alpha is None)
    if picture.alpha is not None:
        np.testing.assert_allclose(again.alpha, picture.alpha, atol=0 if exact else 0.51 / 65535)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    mode=st.sampled_from(["1", "L", "LA", "RGB", "RGBA", "P"]),
    suffix=st.sampled_from([".png", ".webp", ".bmp", ".jpg"]),
    seed=st.integers(0, 2**16),
)
def test_any_size_and_mode_is_read_like_pillow(tmp_path, height, width, mode, suffix, seed):
    if suffix in (".bmp", ".jpg") and mode in ("LA", "RGBA", "P"):
        mode = "RGB"
    path = tmp_path / f"image{suffix}"
    Image.fromarray(noise((height, width, 4), np.uint8, seed)).convert(mode).save(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGBA"))
    picture = read_image(path)
    opaque = np.ones(picture.size, np.float32)
    decoded = np.dstack([picture.pixels, opaque if picture.alpha is None else picture.alpha])
    np.testing.assert_array_equal(np.rint(decoded * 255), expected)


def test_to_pil_saves_what_the_picture_holds():
    source = noise((5, 7, 4))
    buffer = io.BytesIO()
    to_pil(from_array(source)).save(buffer, format="PNG")
    np.testing.assert_array_equal(np.asarray(Image.open(buffer)), source)
