"""EXIF goes through byte by byte, whatever other programs wrote; what cannot be carried is named."""

import struct
import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from metadata_files import EXIF, GPS, INTEROP, ROOT, SIZES, any_case, exif_block, exif_in, tags_of, write_with
from PIL import Image

from dp_ir.image import read_image, with_pixels, write_image
from dp_ir.image.metadata.directories import tag_name
from dp_ir.image.metadata.exif import STORAGE
from dp_ir.image.metadata.metadata import MetadataNote

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".avif", ".jxl"]
FROM = [".jpg", ".png", ".webp"]
MAKER_NOTE = 0x927C


def text(tag, value):
    return tag, 2, len(value) + 1, value + b"\0"


def carried(tmp_path, block, source=".jpg", suffix=".jpg", scale=1):
    """The tags of a result, and what was said of it."""
    path = write_with(tmp_path / f"photo{source}", PHOTO, exif=block)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = read_image(path)
        picture = with_pixels(picture, np.repeat(np.repeat(picture.pixels, scale, 0), scale, 1))
        write_image(tmp_path / f"out{suffix}", picture)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, MetadataNote)]
    found = exif_in(tmp_path / f"out{suffix}")
    return (None if found is None else tags_of(found)), said


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("source", FROM)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_types_signs_and_text_are_carried_as_they_are(tmp_path, source, suffix, order):
    root = [
        text(0x010E, "caf\xe9 \u65e5".encode()),
        text(0x013B, "Jos\xe9".encode("latin-1")),
        (0x0110, 7, 5, b"Model"),  # text that says it is bytes
        (0x011A, 10, 1, struct.pack(order + "ii", -1, 0)),
        (0x4746, 12, 1, struct.pack(order + "d", 3.5)),
        (0x0132, 2, 3, b"now"),  # without its end
        (0xC000, 3, 0, b""),
    ]
    exif = [(0x9204, 5, 1, struct.pack(order + "II", 2**32 - 1, 3)), (MAKER_NOTE, 7, 9, b"Maker\0\1\2\3")]
    gps = [(1, 2, 2, b"N\0"), (2, 5, 3, struct.pack(order + "6I", 47, 1, 30, 1, 3, 0))]
    block = exif_block(root, exif, gps, [(1, 2, 4, b"R98\0")], order=order)
    tags, said = carried(tmp_path, block, source, suffix)
    assert {key: tags.get(key) for key in tags_of(block)} == tags_of(block)
    assert not said


@pytest.mark.parametrize("source", FROM)
@pytest.mark.parametrize("suffix", FROM)
def test_what_counts_from_the_start_of_the_block_finds_its_place(tmp_path, source, suffix):
    block = exif_block([text(0x010F, b"Maker"), (0x0112, 3, 1, b"\6\0")], [(MAKER_NOTE, 7, 40, bytes(range(40)))])
    carried(tmp_path, block, source, suffix)
    place = block.index(bytes(range(40)))
    assert exif_in(tmp_path / f"out{suffix}")[place : place + 40] == bytes(range(40))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_bad_tag_costs_itself_only_and_is_named(tmp_path, suffix):
    bad = [
        (0x0131, 99, 1, b"abcd"),
        (0x010E, 2, 1 << 20, b"\0\1\0\0"),
        (0x013B, 2, 2**31, b"\0\1\0\0"),
        (0x0201, 4, 1, b"abcd"),
    ]
    good = [text(0x010F, b"Maker"), text(0x8298, b"(c) me")]
    tags, said = carried(tmp_path, exif_block([*good, *bad]), suffix=suffix)
    assert tags[ROOT, 0x010F] == good[0][1:]
    assert tags[ROOT, 0x8298] == good[1][1:]
    (note,) = said
    for tag, *_ in bad:
        assert tag_name(tag) in note
        assert (ROOT, tag) not in tags
    assert note.startswith("photo.jpg: ")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("tag", [EXIF, GPS])
def test_a_pointer_to_nowhere_costs_its_directory_only(tmp_path, suffix, tag):
    for target in (0, 8, 7, 999_999):  # nothing, itself, the header, beyond the end
        pointer = (tag, 4, 1, struct.pack("<I", target))
        tags, said = carried(tmp_path, exif_block([text(0x010F, b"Maker"), pointer]), suffix=suffix)
        assert tags[ROOT, 0x010F] == text(0x010F, b"Maker")[1:]
        assert f"0x{tag:04X}" in said[0]


def test_what_comes_after_a_block_that_was_cut_is_named(tmp_path):
    block = exif_block([text(0x010F, b"Maker"), text(0x0110, b"Model of a camera")])
    tags, said = carried(tmp_path, block[:-6])
    assert tags == {(ROOT, 0x010F): text(0x010F, b"Maker")[1:]}
    assert "Model (0x0110)" in said[0]
    tags, said = carried(tmp_path, block[:30])
    assert tags == {}
    assert "1 EXIF tags beyond the end" in said[0]
    assert "Make (0x010F)" in said[0]


@pytest.mark.parametrize("block", [b"", b"II", b"nothing of the kind", b"II*\0\xff\xff\xff\xff", b"II*\0\0\0\0\0"])
def test_a_block_that_is_none_is_named(tmp_path, block):
    tags, said = carried(tmp_path, block)
    assert tags is None
    assert "the EXIF block, which is damaged" in said[0]


@pytest.mark.parametrize("stored", [(3, b"\6\0"), (4, b"\6\0\0\0"), (1, b"\6"), (9, b"\6\0\0\0"), (2, b"6\0")])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_orientation_is_applied_however_it_is_stored(tmp_path, stored, suffix):
    kind, value = stored
    block = exif_block([(0x0112, kind, 2 if kind == 2 else 1, value)])
    tags, said = carried(tmp_path, block, suffix=suffix)
    assert tags[ROOT, 0x0112] == (3, 1, b"\1\0")
    assert read_image(tmp_path / f"out{suffix}").size == (9, 6)
    assert not said


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sizes_are_those_of_the_result(tmp_path, suffix):
    exif = [(0xA002, 3, 1, b"\x09\0"), (0xA003, 4, 1, b"\x06\0\0\0")]
    root = [(0x0100, 3, 1, b"\x09\0"), (0x0101, 4, 1, b"\6\0\0\0"), (0x0112, 3, 1, b"\6\0")]
    tags, said = carried(tmp_path, exif_block(root, exif), suffix=suffix, scale=4)
    for key, value in (((EXIF, 0xA002), 24), ((EXIF, 0xA003), 36), ((ROOT, 0x0100), 24), ((ROOT, 0x0101), 36)):
        assert int.from_bytes(tags[key][2], "little") == value
    assert not said


def test_resolutions_along_x_and_y_turn_with_the_photo(tmp_path):
    root = [
        (0x0112, 3, 1, b"\6\0"),
        (0x011A, 5, 1, struct.pack("<II", 300, 1)),
        (0x011B, 5, 1, struct.pack("<II", 150, 1)),
    ]
    tags, _ = carried(tmp_path, exif_block(root))
    assert struct.unpack("<II", tags[ROOT, 0x011A][2]) == (150, 1)
    assert struct.unpack("<II", tags[ROOT, 0x011B][2]) == (300, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_thumbnail_goes_with_all_its_bytes(tmp_path, suffix):
    thumbnail = b"\xff\xd8 a small picture of the old photo " * 20
    block = exif_block([text(0x010F, b"Maker")], [(MAKER_NOTE, 7, 6, b"stays!")], thumbnail=thumbnail)
    tags, said = carried(tmp_path, block, suffix=suffix)
    assert tags[EXIF, MAKER_NOTE] == (7, 6, b"stays!")
    assert b"small picture" not in (tmp_path / f"out{suffix}").read_bytes()
    assert len(exif_in(tmp_path / "out.jpg")) < 200 if suffix == ".jpg" else True
    assert not said


def test_a_thumbnail_that_is_said_to_lie_on_other_tags_takes_nothing_along(tmp_path):
    block = bytearray(exif_block([text(0x010F, b"A maker with a name")], thumbnail=b"thumb"))
    at = block.index(struct.pack("<HHI", 0x0201, 4, 1)) + 8
    struct.pack_into("<I", block, at, 8)
    struct.pack_into("<I", block, at + 12, 60)
    tags, _ = carried(tmp_path, bytes(block))
    assert tags == {(ROOT, 0x010F): text(0x010F, b"A maker with a name")[1:]}


def test_only_the_largest_tags_are_left_out_where_a_jpeg_is_too_small(tmp_path):
    exif = [(MAKER_NOTE, 7, 70_000, bytes(70_000)), text(0x9003, b"2020:01:02 03:04:05")]
    tags, said = carried(tmp_path, exif_block([text(0x010F, b"Maker")], exif), ".png", ".jpg")
    assert set(tags) == {(ROOT, 0x010F), (EXIF, 0x9003)}
    assert "MakerNote (0x927C), whose 70000 bytes are too many here" in said[0]


def test_tiff_files_carry_their_tags_byte_by_byte(tmp_path):
    """A TIFF with the directories of a camera, big-endian, behind which its pixels lie."""
    pixels = bytes(range(54))
    layout = [(0x0100, 3, 1, b"\0\3"), (0x0101, 3, 1, b"\0\6"), (0x0102, 3, 3, b"\0\x08" * 3), (0x0103, 3, 1, b"\0\1")]
    layout += [(0x0106, 3, 1, b"\0\2"), (0x0115, 3, 1, b"\0\3"), (0x0117, 4, 1, (54).to_bytes(4, "big"))]
    root = [text(0x010E, "caf\xe9".encode("latin-1")), text(0x013B, "Jos\xe9".encode()), (0xC123, 7, 5, b"other")]
    exif = [(MAKER_NOTE, 7, 9, b"Maker\0\1\2\3"), (0x9286, 7, 16, b"UNICODE\0" + "caf\xe9".encode("utf-16-be"))]
    block = exif_block([*layout, *root, (0x0111, 4, 1, b"\0\0\0\0")], exif, order=">")
    at = block.index(struct.pack(">HHI", 0x0111, 4, 1)) + 8
    (tmp_path / "a.tif").write_bytes(block[:at] + len(block).to_bytes(4, "big") + block[at + 4 :] + pixels)
    for suffix in SUFFIXES:
        picture = read_image(tmp_path / "a.tif")
        np.testing.assert_array_equal(np.rint(picture.pixels * 255).ravel(), list(pixels))
        write_image(tmp_path / f"out{suffix}", picture)
        tags = tags_of(exif_in(tmp_path / f"out{suffix}"))
        for name, entries in ((ROOT, root), (EXIF, exif)):
            for tag, *stored in entries:
                assert tags[name, tag] == tuple(stored)
        if suffix in (".tif", ".png"):  # without loss; samples lie in the order of bytes that the tags have
            np.testing.assert_array_equal(read_image(tmp_path / f"out{suffix}").pixels, picture.pixels)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_samples_of_a_tiff_are_right_in_either_order_of_bytes(tmp_path, dtype):
    from dp_ir.image import from_array
    from dp_ir.image.metadata import metadata

    values = np.random.default_rng(1).random((5, 7, 3))
    picture = from_array((values * 65535).astype(dtype) if dtype is np.uint16 else values.astype(dtype))
    block = exif_block([text(0x010F, b"Maker")], order=">")
    object.__setattr__(picture, "metadata", metadata.Metadata(b"Exif\0\0" + block))
    write_image(tmp_path / "a.tif", picture)
    assert (tmp_path / "a.tif").read_bytes().startswith(b"MM")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, picture.pixels)


kinds = st.sampled_from(sorted(SIZES))
tags = st.integers(0x8000, 0xFFFF).filter(
    lambda tag: tag not in {EXIF, GPS, INTEROP, 34675, 33723, 34377, 0xA002, 0xA003}
)
bound = {33550, 33922, 34264, 34735, 34736, 34737, 37724, 52545}


@st.composite
def entries(draw, tags=tags):
    kind = draw(st.one_of(kinds, st.integers(14, 200).filter(lambda kind: kind not in (16, 17, 18, 129))))
    number = draw(st.integers(0, 12))
    value = draw(st.binary(min_size=SIZES.get(kind, 4) * number, max_size=SIZES.get(kind, 4) * number))
    return draw(tags), kind, number, value if kind in SIZES else value[:4]


directories = st.lists(entries(), max_size=6, unique_by=lambda entry: entry[0])


@any_case
@given(
    root=directories,
    exif=directories,
    gps=st.lists(entries(st.integers(0, 31)), max_size=4, unique_by=lambda entry: entry[0]),
    order=st.sampled_from("<>"),
    thumbnail=st.binary(max_size=40),
    source=st.sampled_from(FROM),
    suffix=st.sampled_from(SUFFIXES),
    gap=st.binary(max_size=3),
)
def test_any_tags_come_out_as_they_went_in_or_are_named(
    tmp_path, root, exif, gps, order, thumbnail, source, suffix, gap
):
    block = exif_block(root, exif, gps, thumbnail=thumbnail, order=order, gap=gap)
    found, said = carried(tmp_path, block, source, suffix)
    assert len(said) <= 1
    for name, stored in ((ROOT, root), (EXIF, exif), (GPS, gps)):
        for tag, kind, number, value in stored:
            if kind in SIZES and not (name == ROOT and (tag in bound or tag in STORAGE)):
                assert found[name, tag] == (kind, number, value)
            else:
                assert f"0x{tag:04X}" in said[0]


@any_case
@given(
    cut=st.integers(0, 200),
    place=st.integers(0, 199),
    value=st.binary(min_size=1, max_size=4),
    suffix=st.sampled_from(SUFFIXES),
)
@example(cut=200, place=8, value=b"\xff\xff", suffix=".jpg")  # far more tags than there are
@example(cut=200, place=8, value=b"\1\0", suffix=".jpg")  # fewer
def test_whatever_is_damaged_the_photo_is_written_and_its_block_is_whole(tmp_path, cut, place, value, suffix):
    block = bytearray(
        exif_block(
            [text(0x010F, b"Maker"), (0x0112, 3, 1, b"\3\0")],
            [(0xA002, 3, 1, b"\x09\0"), (MAKER_NOTE, 7, 20, bytes(20))],
            [(1, 2, 2, b"N\0")],
            [(1, 2, 4, b"R98\0")],
            thumbnail=b"thumb",
        )
    )
    block[place : place + len(value)] = value
    found, said = carried(tmp_path, bytes(block[:cut]), suffix=suffix)
    assert found is not None or said
    assert read_image(tmp_path / f"out{suffix}").metadata.lost == ()
