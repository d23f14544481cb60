"""Orientation and carried EXIF, against Pillow's own transposition and parser."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from dp_ir.image import from_pil, read_image, to_pil, write_image
from dp_ir.image.metadata.exif import carried_exif, exif_for_size, orientation
from dp_ir.image.metadata.metadata import MetadataNote

EXIF_IFD, GPS_IFD, INTEROP_IFD = 0x8769, 0x8825, 0xA005


def block(turn=1, suffix="", **extra):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110], exif[0x8298] = turn, "Maker", "Model 1", "Somebody"
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    exif[EXIF_IFD] = {0x9003: "2024:05:06 07:08:09", 0xA002: 9, 0xA003: 6, 0x829A: 0.004}
    if suffix != ".tif":  # Pillow misplaces this directory when it writes a TIFF
        exif[EXIF_IFD] |= {INTEROP_IFD: {1: "R98"}}
    exif[GPS_IFD] = {1: "N", 2: (47.0, 30.0, 1.5), 3: "E", 4: (8.0, 15.0, 0.25)}
    for tag, value in extra.items():
        exif[int(tag[1:])] = value
    return exif.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_all_orientations(tmp_path, suffix, turn):
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 4), dtype=np.uint8))
    source = source.convert("RGB") if suffix in (".jpg", ".tif") else source  # Pillow leaves RGBA TIFF files turned
    options = {".webp": {"lossless": True, "exact": True}}.get(suffix, {})
    source.save(tmp_path / f"image{suffix}", exif=block(turn, suffix), **options)
    picture = read_image(tmp_path / f"image{suffix}")
    with Image.open(tmp_path / f"image{suffix}") as image:
        image.load()  # which transposes TIFF files, and only those
        expected = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(tmp_path / f"image{suffix}") as image:
        np.testing.assert_array_equal(from_pil(image).pixels, picture.pixels)
    values = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    np.testing.assert_array_equal(np.rint(values * 255), expected)
    assert orientation(picture.metadata.exif) == 1
    again = from_pil(to_pil(picture))
    np.testing.assert_array_equal(again.pixels, picture.pixels)


@pytest.mark.parametrize("source_suffix", [".png", ".jpg", ".tif", ".webp"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
def test_exif_is_carried(tmp_path, source_suffix, suffix):
    Image.new("RGB", (9, 6), (10, 120, 200)).save(tmp_path / f"image{source_suffix}", exif=block(6, source_suffix))
    write_image(tmp_path / f"out{suffix}", read_image(tmp_path / f"image{source_suffix}"))
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert image.size == (6, 9)
        exif = image.getexif()
        assert exif[0x0112] == 1
        assert (exif[0x010F], exif[0x0110], exif[0x8298], float(exif[0x011A])) == ("Maker", "Model 1", "Somebody", 300)
        details = exif.get_ifd(EXIF_IFD)
        assert details[0x9003] == "2024:05:06 07:08:09"
        assert float(details[0x829A]) == pytest.approx(0.004)
        assert (details[0xA002], details[0xA003]) == (6, 9)  # the size of the file that is written
        assert exif.get_ifd(GPS_IFD)[2] == (47.0, 30.0, 1.5)
        if source_suffix != ".tif":
            assert exif.get_ifd(INTEROP_IFD)[1] == "R98"


def test_what_describes_the_old_file_is_left_behind():
    data, lost = carried_exif(block(t256=4000, t257=3000, t273=8, t513=100, t514=2000))
    kept = Image.Exif()
    kept.load(data)
    assert not kept.keys() & {273, 513, 514}
    assert kept[0x010F] == "Maker"
    assert len(lost) == 3
    kept.load(exif_for_size(data, 9, 6))
    assert (kept[256], kept[257]) == (9, 6)


@pytest.mark.parametrize("turn", [0, 9, 70])
def test_invalid_orientation_counts_as_upright(tmp_path, turn):
    source = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    Image.fromarray(source).save(tmp_path / "image.png", exif=block(turn))
    np.testing.assert_array_equal(np.rint(read_image(tmp_path / "image.png").pixels * 255), source)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File Read")
@pytest.mark.parametrize("damage", [b"Exif\0\0", b"Exif\0\0garbage", block()[:40], block()[:14] + b"\xff" * 60])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_damaged_exif_does_not_stop_the_photo(tmp_path, damage, suffix):
    Image.new("RGB", (4, 3), (200, 10, 10)).save(tmp_path / f"image{suffix}", exif=damage)
    picture = read_image(tmp_path / f"image{suffix}")
    assert picture.size == (3, 4)
    write_image(tmp_path / f"out{suffix}", picture)
    assert read_image(tmp_path / f"out{suffix}").size == (3, 4)


def test_exif_too_large_for_jpeg_is_left_out(tmp_path):
    exif = Image.Exif()
    exif[0x010E], exif[0x0110] = "x" * 70000, "Model"
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png", exif=exif.tobytes())
    picture = read_image(tmp_path / "image.png")
    with pytest.warns(MetadataNote, match=r"ImageDescription \(0x010E\), whose 70001 bytes are too many"):
        write_image(tmp_path / "out.jpg", picture)
    assert Image.open(tmp_path / "out.jpg").getexif()[0x0110] == "Model"
    write_image(tmp_path / "out.tif", picture)
    assert Image.open(tmp_path / "out.tif").getexif()[0x010E] == "x" * 70000
