"""JPEG files that lack their end, whole or not, and kinds of JPEG that are not read."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dp_ir.errors import ImageReadError
from dp_ir.image import read_image

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
RAMP = np.stack(np.meshgrid(np.arange(64) * 4, np.arange(48) * 5), -1)[..., [0, 1, 0]].astype(np.uint8)
FLAT = np.full((48, 64, 3), 200, np.uint8)


def jpeg(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **options)
    assert buffer.getvalue().endswith(b"\xff\xd9")
    return buffer.getvalue()


def read(folder, data):
    (folder / "a.jpg").write_bytes(data)
    return read_image(folder / "a.jpg").pixels


KINDS = [
    {},
    {"quality": 100, "subsampling": 0},
    {"progressive": True},
    {"restart_marker_blocks": 2},
    {"optimize": True, "quality": 60},
]


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("pixels", [NOISE, RAMP, FLAT, NOISE[..., 0], NOISE[:1, :1]])
@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 3000, b"\xff" * 20])
def test_a_file_that_lacks_only_its_end_marker_has_all_its_pixels(tmp_path, options, pixels, tail):
    data = jpeg(pixels, **options)
    if tail[:1] == b"\0" == data[-3:-2]:
        pytest.skip("nobody can tell its own zeros from those that fill it up")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) / np.float32(255)
    np.testing.assert_array_equal(read(tmp_path, data[:-2] + tail), expected)


@pytest.mark.parametrize("width", [240, 304, 368])
def test_zeros_at_the_end_may_be_pixels(tmp_path, width):
    data = jpeg(np.pad(NOISE[..., 0], ((0, 100), (0, width)), constant_values=255), optimize=True)[:-2]
    assert data.endswith(b"\0\0")
    expected = np.asarray(Image.open(io.BytesIO(data + b"\xff\xd9")).convert("RGB")) / np.float32(255)
    np.testing.assert_array_equal(read(tmp_path, data), expected)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("pixels", [NOISE, RAMP])
@pytest.mark.parametrize("tail", [b"", b"\0" * 3000])
def test_a_file_that_lacks_pixels_is_refused(tmp_path, options, pixels, tail):
    data = jpeg(pixels, **options)
    start = data.index(b"\xff\xda")
    restarts = [place for place in range(start, len(data) - 2) if data[place] == 255 and data[place + 1] & 0xF8 == 0xD0]
    ends = {
        len(data) - 3,
        *range(len(data) - 40, len(data) - 4, 9),
        *np.linspace(start + 20, len(data) - 50, 5).astype(int),
    }
    for end in ends | set(restarts[-2:]) | {place + 2 for place in restarts[-2:]}:
        with pytest.raises(ImageReadError, match="damaged or truncated"):
            read(tmp_path, data[:end] + tail)


def test_a_progressive_file_that_lacks_whole_scans_is_refused(tmp_path):
    data = jpeg(RAMP, progressive=True)
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for scan in scans[1:]:
        tables = data.rfind(b"\xff\xc4", 0, scan)  # which lie before each scan
        with pytest.raises(ImageReadError, match="damaged or truncated"):
            read(tmp_path, data[:tables])


def test_what_follows_the_end_is_left_alone(tmp_path):
    data = jpeg(RAMP)
    np.testing.assert_array_equal(read(tmp_path, data + b"\0" * 5000), read(tmp_path, data + jpeg(NOISE)[:500]))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (imagecodecs.jpeg8_encode(NOISE.astype(np.uint16) * 16, bitspersample=12), "of 12 bits per sample"),
        (imagecodecs.jpeg8_encode(NOISE, lossless=True, predictor=1), "in lossless form"),
        (imagecodecs.jpegls_encode(RAMP), "in JPEG-LS form"),
        (jpeg(NOISE).replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc5\x00\x11\x08"), "in hierarchical form"),
    ],
)
def test_sound_files_of_other_kinds_are_not_called_damaged(tmp_path, data, found):
    with pytest.raises(ImageReadError, match=rf"a\.jpg' is a JPEG {found}, expected .*: convert it") as caught:
        read(tmp_path, bytes(data))
    assert "damaged" not in str(caught.value)
