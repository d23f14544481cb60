"""What small files announce and do not hold, or hold far more of than they announce, is refused in no time."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from dng_files import write_dng
from PIL import Image

from dp_ir.errors import ImageReadError
from dp_ir.image import read_image
from dp_ir.image.files import headers
from dp_ir.image.formats.jpeg import check_jpeg
from dp_ir.image.raw.burst_files import read_burst
from dp_ir.image.raw.raw_files import read_raw

PHOTO = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
SUFFIXES = [".png", ".jpg", ".webp", ".bmp", ".tif"]


def refused(path, *words, read=read_image, **options):
    with pytest.raises(ImageReadError) as caught:
        read(path, **options)
    message = str(caught.value)
    for word in (path.name, *words):
        assert word in message, message
    assert "\n" not in message
    return message


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.fixture
def memory():
    """Fails where the process has grown by more than 128 MiB."""
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**17


def longer(path, size):
    """The file with nothing after its end, on disk too."""
    with path.open("r+b") as file:
        file.truncate(size)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_larger_than_any_image_of_the_limit_is_not_read(tmp_path, suffix, memory):
    path = tmp_path / f"large{suffix}"
    Image.fromarray(PHOTO).save(path)
    refused(longer(path, 4 << 30), "4.29 GB", "at most 3.27 GB", "200 megapixels", "--max-pixels")
    refused(longer(path, 100_000_000), "0.10 GB", "0.01 megapixels", max_pixels=10_000)


def test_the_limit_on_bytes_leaves_room_for_profiles_and_previews(tmp_path):
    path = tmp_path / "tiny.tif"
    tifffile.imwrite(path, PHOTO[:1, :1], photometric="rgb")
    assert read_image(longer(path, 60_000_000), max_pixels=1).size == (1, 1)


def test_raw_files_and_frames_have_the_same_limits(tmp_path):
    path = write_dng(tmp_path / "frame.dng", np.full((32, 48), 5000, np.uint16))
    assert read_raw(path, max_pixels=32 * 48).planes.shape == (4, 16, 24)
    refused(path, "48x32", "--max-pixels", read=read_raw, max_pixels=32 * 48 - 1)
    refused(path, "48x32", read=read_burst, max_pixels=32 * 48 - 1)
    refused(longer(path, 4 << 30), "4.29 GB", read=read_raw)


def test_a_raised_limit_holds_for_raw_files_too(tmp_path, monkeypatch):
    monkeypatch.setattr("dp_ir.image.raw.raw_files.MAX_PIXELS", 100)
    path = write_dng(tmp_path / "frame.dng", np.full((32, 48), 5000, np.uint16))
    assert read_raw(path, max_pixels=2000).planes.shape == (4, 16, 24)


# Things that unpack to more ------------------------------------------------------------------------------------------


def with_tags(path, **values):
    """A TIFF whose tags of these numbers, of four bytes or less, have other values."""
    with tifffile.TiffFile(path) as tiff:
        tags = {number: tiff.pages[0].tags[int(number[1:])] for number in values}
    data = bytearray(path.read_bytes())
    for number, tag in tags.items():
        data[tag.valueoffset : tag.valueoffset + 4] = struct.pack("<I", values[number])
        data[tag.offset + 2 : tag.offset + 4] = struct.pack("<H", 4)
    path.write_bytes(data)
    return path


def with_strip(path, strip):
    """A TIFF of one strip, whose data is another."""
    with_tags(path, _273=path.stat().st_size, _279=len(strip))
    path.write_bytes(path.read_bytes() + strip)
    return path


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzma", "packbits", "lzw"])
def test_a_strip_never_unpacks_to_more_than_its_pixels(tmp_path, compression, memory):
    import imagecodecs

    encode = getattr(imagecodecs, f"{compression}_encode")
    bomb = (1 << 20) * b"\x81\0" if compression == "packbits" else bytes(encode(bytes(1 << 27)))
    tifffile.imwrite(tmp_path / "bomb.tif", PHOTO, photometric="rgb", compression=compression, rowsperstrip=48)
    path = with_strip(tmp_path / "bomb.tif", bomb)
    try:
        assert not read_image(path).pixels.any()  # some decoders stop at what they were asked for
    except ImageReadError as error:
        assert "damaged" in str(error)  # noqa: PT017


def test_a_jpeg_strip_announces_no_more_pixels_than_it_has(tmp_path, memory):
    tifffile.imwrite(tmp_path / "bomb.tif", PHOTO, photometric="rgb", compression="jpeg", rowsperstrip=48)
    assert read_image(tmp_path / "bomb.tif").size == (48, 64)
    buffer = io.BytesIO()
    Image.new("L", (12000, 12000)).save(buffer, "JPEG")
    refused(with_strip(tmp_path / "bomb.tif", buffer.getvalue()), "64x48", "announces 12000x12000")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 16}, {"tile": (16, 32)}, {"rowsperstrip": 48}])
def test_sound_jpeg_strips_and_tiles_are_read(tmp_path, layout, planar):
    values = PHOTO if planar == "contig" else PHOTO.transpose(2, 0, 1).copy()
    options = {"photometric": "rgb", "planarconfig": planar, "compression": "jpeg", **layout}
    tifffile.imwrite(tmp_path / "photo.tif", values[:, :41] if planar == "separate" else values[:41], **options)
    assert read_image(tmp_path / "photo.tif").size == (41, 64)


def test_samples_and_tiles_count_as_the_pixels_they_are(tmp_path, memory):
    values = np.zeros((64, 64, 16), np.float64)
    tifffile.imwrite(tmp_path / "deep.tif", values, photometric="minisblack", planarconfig="contig", compression="zlib")
    with_tags(tmp_path / "deep.tif", _256=2_000_000)
    refused(tmp_path / "deep.tif", "unpacks to 16.38 GB", "--max-pixels")
    tifffile.imwrite(tmp_path / "tiles.tif", PHOTO, photometric="rgb", tile=(16, 16), compression="zlib")
    with_tags(tmp_path / "tiles.tif", _322=65536, _323=65536)
    refused(tmp_path / "tiles.tif", "tiles of 65536x65536")


def test_a_chain_of_previews_ends(tmp_path):
    with tifffile.TiffWriter(tmp_path / "chain.tif") as writer:
        for _ in range(101):
            writer.write(PHOTO[:2, :2], photometric="rgb", subfiletype=1, metadata=None)
    refused(tmp_path / "chain.tif", "more than 100 pages")


def progressive(scans):
    """A progressive JPEG whose last scan comes again and again."""
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + (scans - data.count(b"\xff\xda") + 1) * data[last:-2] + data[-2:]


def test_scans_of_a_jpeg_are_counted(tmp_path):
    assert check_jpeg(progressive(100)) == (64, 48)
    (tmp_path / "scans.jpg").write_bytes(progressive(101))
    refused(tmp_path / "scans.jpg", "101 scans")
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "JPEG")
    assert check_jpeg(buffer.getvalue() + 200 * b"\xff\xda") == (64, 48)  # what follows the picture is none of its own


def test_many_profiles_of_a_png_are_unpacked_once(tmp_path, monkeypatch, memory):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    data = buffer.getvalue()
    bomb = chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(1 << 28), 9))
    (tmp_path / "bomb.png").write_bytes(data[:33] + 20 * bomb + data[33:])
    unpacked = []
    unpack = zlib.decompressobj
    monkeypatch.setattr("dp_ir.image.formats.png.zlib.decompressobj", lambda: unpacked.append(1) or unpack())
    with pytest.warns(UserWarning, match="profile"):
        assert read_image(tmp_path / "bomb.png").size == (48, 64)
    assert len(unpacked) == 1


def test_a_png_of_nothing_but_chunks_takes_little_memory(tmp_path, memory):
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "PNG")
    data = buffer.getvalue()
    (tmp_path / "chunks.png").write_bytes(data[:33] + 500_000 * chunk(b"abCd", b"") + data[33:])
    assert read_image(tmp_path / "chunks.png").size == (48, 64)


def test_the_name_of_a_chunk_with_anything_in_it_stays_one_line(tmp_path):
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    (tmp_path / "odd.png").write_bytes(data + struct.pack(">I", 1000) + b"\n\r\x1b\0")
    assert refused(tmp_path / "odd.png", "damaged or truncated").isprintable()


def test_the_default_limits_belong_together():
    headers.check_bytes("x", 16 * headers.MAX_PIXELS, headers.MAX_PIXELS, "is")
    with pytest.raises(ImageReadError, match=r"^'x' is 10\.00 GB, expected at most 3\.27 GB"):
        headers.check_bytes("x", 10**10, headers.MAX_PIXELS, "is")
