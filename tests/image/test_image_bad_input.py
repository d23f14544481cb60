"""Everything that cannot be read or written: one sentence that names the file, what was found and what to do."""

import os
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from dp_ir.errors import ImageReadError, ImageWriteError
from dp_ir.image import IMAGE_SUFFIXES, Picture, from_array, read_image, write_image
from dp_ir.image.files import writing as writing_module

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def refused(path, *words, **options):
    with pytest.raises(ImageReadError) as caught:
        read_image(path, **options)
    message = str(caught.value)
    assert path.name in message
    for word in words:
        assert word in message, message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_header(suffix, width=50000, height=50000):
    if suffix == ".png":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    if suffix == ".jpg":
        return b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(20)
    if suffix == ".webp":
        canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas
    if suffix == ".bmp":
        info = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, height), (279, 4, width * height)]
    directory = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_announced_size_is_checked_before_decoding(tmp_path, suffix):
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(huge_header(suffix))
    refused(path, "50000x50000", "2500.0 megapixels", "200 megapixels", "max_pixels")
    path.write_bytes(huge_header(suffix, 300, 200))
    refused(path, "300x200", max_pixels=59_999)
    assert "max_pixels" not in refused(path, max_pixels=60_000)  # now it is only truncated


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_limit_is_inclusive_and_not_pillows(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = tmp_path / f"image{suffix}"
    Image.fromarray(PHOTO).save(path)
    assert read_image(path, max_pixels=48 * 64).size == (48, 64)
    refused(path, "64x48", max_pixels=48 * 64 - 1)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif"])
def test_zero_sized(tmp_path, suffix):
    path = tmp_path / f"none{suffix}"
    path.write_bytes(huge_header(suffix, 0, 7))
    refused(path, "0x7", "at least 1x1")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.95])
def test_truncated(tmp_path, suffix, share):
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(PHOTO).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: max(12, int(share * len(data)))])
    refused(path, "damaged or truncated")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
def test_truncated_tiff_is_not_filled_with_black(tmp_path, compression):
    tifffile.imwrite(tmp_path / "whole.tif", PHOTO, compression=compression, rowsperstrip=8)
    data = (tmp_path / "whole.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(data[:-40])
    refused(tmp_path / "cut.tif", "damaged or truncated")
    # A strip of the right place and length that holds too few rows.
    tifffile.imwrite(tmp_path / "short.tif", PHOTO, compression="zlib", rowsperstrip=48)
    with tifffile.TiffFile(tmp_path / "short.tif") as tiff:
        start = tiff.pages[0].dataoffsets[0]
    short = bytearray((tmp_path / "short.tif").read_bytes())
    strip = zlib.compress(PHOTO[:20].tobytes())
    short[start : start + len(strip)] = strip
    (tmp_path / "short.tif").write_bytes(short)
    refused(tmp_path / "short.tif", "damaged or truncated")


def test_flipped_bits_in_a_png(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "bits.png")
    data = bytearray((tmp_path / "bits.png").read_bytes())
    data[len(data) // 2] ^= 0x55
    (tmp_path / "bits.png").write_bytes(data)
    refused(tmp_path / "bits.png", "damaged or truncated")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["empty", "0 bytes"]),
        (b"hello, this is no image at all", ["no image of a known format", "TIFF, AVIF, JPEG XL, GIF, PPM or BMP"]),
        (b"8BPS\0\1" + bytes(40), ["Photoshop"]),
        (b"\0\0\0\x18ftypheic" + bytes(40), ["HEIC"]),
        (b"\xff\x4f\xff\x51" + bytes(40), ["JPEG 2000"]),
        (b"%PDF-1.7" + bytes(40), ["PDF"]),
        (b"%!PS-Adobe-3.0 EPSF-3.0" + bytes(40), ["no image of a known format"]),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(40), ["RAW"]),
    ],
)
def test_not_an_image(tmp_path, content, words):
    (tmp_path / "file.png").write_bytes(content)
    refused(tmp_path / "file.png", *words)


def test_missing_folder_and_special_files(tmp_path):
    refused(tmp_path / "nowhere.png", "does not exist")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "folder")
    with pytest.raises(ImageReadError, match=r"cannot be opened|does not exist"):
        read_image("nul\0l.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
        refused(tmp_path / "pipe.png", "pipe")


def test_unreadable_file(tmp_path, monkeypatch):
    Image.fromarray(PHOTO).save(tmp_path / "locked.png")

    def denied(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", denied)
    refused(tmp_path / "locked.png", "Permission denied")


def test_several_pages(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", np.stack([PHOTO, PHOTO]), photometric="rgb")
    refused(tmp_path / "scan.tif", "2 pages", "one file per page")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_a_number_in_a_float_tiff(tmp_path, value):
    data = np.full((4, 5, 3), 0.5, np.float32)
    data[1, 2, 0] = value
    tifffile.imwrite(tmp_path / "float.tif", data, photometric="rgb")
    refused(tmp_path / "float.tif", "1 samples that are NaN or infinite")


def test_float_tiff_of_another_scale(tmp_path):
    tifffile.imwrite(tmp_path / "float.tif", PHOTO.astype(np.float32), photometric="rgb")
    refused(tmp_path / "float.tif", "from 0 to 255", "divide by 255")


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (PHOTO.astype(np.int16), {"photometric": "rgb"}, ["sample format 2"]),
        (PHOTO, {"photometric": "cielab"}, ["CIELAB"]),
        (PHOTO[..., 0], {"photometric": "cfa"}, ["RAW"]),
        (PHOTO, {"photometric": "rgb", "compression": "jpeg2000"}, ["JPEG2000"]),
        (PHOTO, {"photometric": "rgb", "extratags": [(50706, "B", 4, (1, 4, 0, 0), True)]}, ["RAW"]),
        (PHOTO, {"photometric": "rgb", "subfiletype": 1}, ["without a full-size image"]),
    ],
)
def test_tiff_that_is_no_photograph(tmp_path, data, options, words):
    tifffile.imwrite(tmp_path / "image.tif", data, **options)
    refused(tmp_path / "image.tif", *words)


# ---------------------------------------------------------------------------------------------------------- writing


PICTURE = from_array(PHOTO)


def not_written(path, *words, picture=PICTURE, **options):
    before = sorted(path.parent.rglob("*")) if path.parent.is_dir() else None
    with pytest.raises(ImageWriteError) as caught:
        write_image(path, picture, **options)
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert message.endswith(".")
    if before is not None:
        assert sorted(path.parent.rglob("*")) == before
    return message


def test_unknown_suffix_lists_the_known(tmp_path):
    message = not_written(tmp_path / "image.gif", ".gif")
    assert all(suffix in message for suffix in IMAGE_SUFFIXES)
    not_written(tmp_path / "image", "no suffix")


def test_folder_missing_or_a_file_or_in_the_way(tmp_path):
    not_written(tmp_path / "nowhere" / "image.png", "nowhere", "does not exist", "create it")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "file").write_text("x")
    not_written(tmp_path / "file" / "image.png", "is a file")
    (tmp_path / "taken.png").mkdir()
    not_written(tmp_path / "taken.png", "is a folder")


@pytest.mark.parametrize("method", ["open", "replace"])
def test_unwritable_folder(tmp_path, monkeypatch, method):
    def denied(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), method, denied)
    not_written(tmp_path / "image.png", "image.png", "Permission denied", "writable folder")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_failing_encoder_leaves_the_old_file(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(b"the old file")

    def fails(*_arguments, **_options):
        raise RuntimeError("encoder failure")

    monkeypatch.setattr(writing_module, "encode_png", fails)
    monkeypatch.setattr(writing_module, "encode_tiff", fails)
    monkeypatch.setattr(Image.Image, "save", fails)
    not_written(path, "cannot be encoded", "encoder failure")
    assert path.read_bytes() == b"the old file"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_full_disk_or_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "image.png"
    path.write_bytes(b"the old file")

    def fails(_descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ImageWriteError):
        write_image(path, PICTURE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.png"]
    assert path.read_bytes() == b"the old file"


def test_success_replaces_and_leaves_nothing_else(tmp_path):
    for _ in range(2):
        write_image(tmp_path / "image.png", PICTURE)
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.png"]
    if os.name == "posix":
        (tmp_path / "plain").write_bytes(b"")
        assert (tmp_path / "image.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(("suffix", "depth"), [(".jpg", 16), (".png", 32), (".bmp", 16), (".tif", 12)])
def test_bit_depth_that_the_format_lacks(tmp_path, suffix, depth):
    not_written(tmp_path / f"image{suffix}", f"{depth} bits", bit_depth=depth)


@pytest.mark.parametrize("quality", [0, 101])
def test_quality_out_of_range(tmp_path, quality):
    not_written(tmp_path / "image.jpg", f"quality is {quality}", quality=quality)


@pytest.mark.parametrize(("suffix", "longest"), [(".webp", 16383), (".jpg", 65500)])
def test_sides_too_long_for_the_format(tmp_path, suffix, longest):
    long = Picture(np.zeros((longest + 1, 1, 3), np.float32))
    not_written(tmp_path / f"image{suffix}", f"1x{longest + 1}", str(longest), picture=long)
    write_image(tmp_path / f"fits{suffix}", Picture(np.zeros((longest, 1, 3), np.float32)))
    assert read_image(tmp_path / f"fits{suffix}").size == (longest, 1)
