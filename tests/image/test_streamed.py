"""Photographs written band by band are those written at once."""

import io

import numpy as np
import pytest
import tifffile
from image_profiles import rgb_profile
from PIL import Image

from dp_ir.errors import ImageWriteError
from dp_ir.image import Picture, from_array, read_image, write_image
from dp_ir.image.files import streamed
from dp_ir.image.files.streamed import stream_image
from dp_ir.image.formats import tiff
from dp_ir.image.metadata.metadata import Metadata
from dp_ir.image.picture.crop import crop_picture


def picture_of(height, width, *, channels=3, depth=8, exif=None, profile=None):
    generator = np.random.default_rng(height * width + channels)
    smooth = np.cumsum(generator.normal(0, 0.02, (height, width, channels)), 1) % 1
    dtype = {8: np.uint8, 16: np.uint16, 32: np.float32}[depth]
    values = smooth.astype(np.float32) if depth == 32 else (smooth * np.iinfo(dtype).max).astype(dtype)
    picture = from_array(values)
    return Picture(
        picture.pixels,
        picture.alpha,
        picture.grey,
        picture.bit_depth,
        profile,
        Metadata(exif),
        out_of_gamut=picture.out_of_gamut,
    )


def stream(path, picture, rows):
    height, width = picture.size
    with stream_image(path, picture.size, picture.bit_depth) as written:
        for top in range(0, height, rows):
            written.write(crop_picture(picture, (0, top, width, min(rows, height - top))))


def exif_block():
    exif = Image.Exif()
    exif[0x0110] = "A camera"
    exif.get_ifd(0x8769)[0xA002] = 17
    return exif.tobytes()


CASES = [(1, 1), (7, 300), (256, 256), (257, 255), (600, 20)]


@pytest.mark.parametrize("size", CASES)
@pytest.mark.parametrize("rows", [1, 100, 256])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_any_size_in_any_bands(tmp_path, size, rows, suffix):
    picture = picture_of(*size)
    stream(tmp_path / f"a{suffix}", picture, rows)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}").pixels, picture.pixels)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(("suffix", "depth"), [(".png", 8), (".png", 16), (".tif", 8), (".tif", 16), (".tif", 32)])
def test_every_kind_of_samples(tmp_path, channels, suffix, depth):
    picture = picture_of(70, 90, channels=channels, depth=depth, exif=exif_block(), profile=rgb_profile())
    stream(tmp_path / f"a{suffix}", picture, 32)
    write_image(tmp_path / f"b{suffix}", picture)
    one, other = read_image(tmp_path / f"a{suffix}"), read_image(tmp_path / f"b{suffix}")
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.grey, one.bit_depth, one.icc_profile, one.metadata.exif) == (
        other.grey, other.bit_depth, other.icc_profile, other.metadata.exif,
    )  # fmt: skip
    assert one.metadata.exif is not None
    assert (one.alpha is None) == (other.alpha is None)
    if one.alpha is not None:
        assert np.array_equal(one.alpha, other.alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_what_is_encoded_at_the_end_is_the_same_file(tmp_path, suffix):
    picture = picture_of(50, 60, exif=exif_block())
    stream(tmp_path / f"a{suffix}", picture, 16)
    write_image(tmp_path / f"b{suffix}", picture)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("streams", [True, False])
def test_large_tiffs_have_64_bit_offsets(tmp_path, monkeypatch, streams):
    monkeypatch.setattr(streamed, "LARGEST_TIFF", 1000)
    monkeypatch.setattr(tiff, "LARGEST_TIFF", 1000)
    picture = picture_of(300, 310, channels=4, depth=16, exif=exif_block(), profile=rgb_profile())
    if streams:
        stream(tmp_path / "a.tif", picture, 64)
    else:
        write_image(tmp_path / "a.tif", picture)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_bigtiff
        assert file.pages[0].is_tiled == streams
    read = read_image(tmp_path / "a.tif")
    assert np.array_equal(read.pixels, picture.pixels) or np.abs(read.pixels - picture.pixels).max() < 1e-3
    assert np.array_equal(read.alpha, picture.alpha)
    assert read.icc_profile == rgb_profile()
    with Image.open(tmp_path / "a.tif") as image:
        assert image.getexif()[0x0110] == "A camera"
        assert image.getexif().get_ifd(0x8769)[0xA002] == 310


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_other_programs_read_it(tmp_path, suffix):
    picture = picture_of(130, 270)
    stream(tmp_path / f"a{suffix}", picture, 50)
    with Image.open(io.BytesIO((tmp_path / f"a{suffix}").read_bytes())) as image:
        assert np.array_equal(np.asarray(image), np.rint(picture.pixels * 255).astype(np.uint8))


def test_filters_pay(tmp_path):
    """A picture with smooth gradients takes no more than when libpng writes it, within a tenth."""
    y, x = np.mgrid[0:300, 0:400]
    picture = from_array(np.stack([x // 2, y // 2, (x + y) // 4], -1).astype(np.uint8))
    stream(tmp_path / "a.png", picture, 64)
    write_image(tmp_path / "b.png", picture)
    assert (tmp_path / "a.png").stat().st_size < 1.1 * (tmp_path / "b.png").stat().st_size + 200


@pytest.mark.parametrize("rows", [9, 11])
def test_missing_and_surplus_rows_are_refused_and_leave_nothing(tmp_path, rows):
    picture = picture_of(rows, 20)
    message = f"got {rows} rows of pixels, expected 10"
    with pytest.raises(ImageWriteError, match=message), stream_image(tmp_path / "a.png", (10, 20), 8) as written:
        written.write(picture)
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_where_writing_fails(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"old")

    def fail() -> None:
        with stream_image(tmp_path / "a.tif", (10, 20), 8) as written:
            written.write(picture_of(5, 20))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a.tif").read_bytes() == b"old"
