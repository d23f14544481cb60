"""XMP, IPTC, resolution and text go from file to file as far as formats have room; what they have not is named."""

import io
import struct
import warnings
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from metadata_files import (
    ROOT,
    any_case,
    chunk,
    chunks_of,
    exif_in,
    riff_of,
    segments_of,
    tags_of,
    with_chunks,
    with_segments,
    write_with,
    xmp_in,
)
from PIL import Image, IptcImagePlugin

from dp_ir.image import from_pil, read_image, to_pil, with_pixels, write_image
from dp_ir.image.metadata.metadata import MetadataNote

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8))
SUFFIXES = [".jpg", ".png", ".webp", ".tif", ".avif", ".jxl"]
FROM = [".jpg", ".png", ".webp"]
PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""%s>'
    "%s</rdf:Description></rdf:RDF></x:xmpmeta>%s<?xpacket end='w'?>"
)
DC = ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
TITLE = "<dc:subject><rdf:Bag><rdf:li>H\xe4fen, \u65e5\u672c</rdf:li></rdf:Bag></dc:subject>"
IIM = b"\x1c\x02\x50\x00\x04Jos\xe9" + b"\x1c\x02\x78\x00\x07caption"
JPEG_END = b"\xff\xd9"


def packet(attributes="", elements="", padding=""):
    return (PACKET % (DC + attributes, TITLE + elements, padding)).encode()


def restored(path, suffix=None, scale=1):
    """The path of a result, and what was said of it."""
    target = path.with_name(f"out{suffix or path.suffix}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = read_image(path)
        pixels = np.repeat(np.repeat(picture.pixels, scale, 0), scale, 1)
        write_image(target, with_pixels(picture, pixels))
    said = [str(warning.message) for warning in caught if issubclass(warning.category, MetadataNote)]
    assert len(said) <= 1
    return target, "".join(said)


def jpeg(path, *segments, behind=b"", **options):
    buffer = io.BytesIO()
    PHOTO.save(buffer, "JPEG", **options)
    path.write_bytes(with_segments(buffer.getvalue(), *segments) + behind)
    return path


def png(path, *chunks):
    buffer = io.BytesIO()
    PHOTO.save(buffer, "PNG")
    path.write_bytes(with_chunks(buffer.getvalue(), *chunks))
    return path


def resources(*blocks):
    return b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(body)) + body + bytes(len(body) % 2) for number, body in blocks
    )


@pytest.mark.parametrize("source", FROM)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_xmp_goes_through_unchanged(tmp_path, source, suffix):
    path = write_with(tmp_path / f"photo{source}", PHOTO, xmp=packet())
    target, said = restored(path, suffix)
    assert xmp_in(target) == packet()
    assert not said


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_xmp_of_a_tiff(tmp_path, suffix):
    tags = [(700, 1, len(packet()), packet(), True)]
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(PHOTO), photometric="rgb", extratags=tags)
    target, said = restored(tmp_path / "a.tif", suffix)
    assert xmp_in(target) == packet()
    assert not said


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", ["attribute", "element"])
def test_sizes_and_orientation_in_xmp_are_those_of_the_result(tmp_path, suffix, form):
    def written(values):
        spaces = ' xmlns:t="http://ns.adobe.com/tiff/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/"'
        names = ("t:ImageWidth", "t:ImageLength", "e:PixelXDimension", "e:PixelYDimension", "t:Orientation")
        pairs = list(zip(names, values, strict=True))
        if form == "attribute":
            return packet(spaces + "".join(f' {name}="{value}"' for name, value in pairs))
        return packet(spaces, "".join(f"<{name}>{value}</{name}>" for name, value in pairs))

    path = write_with(tmp_path / "photo.jpg", PHOTO, xmp=written((9, 6, 9, 6, 6)))
    target, said = restored(path, suffix, scale=2)
    assert xmp_in(target) == written((12, 18, 12, 18, 1))
    assert read_image(target).size == (18, 12)
    assert not said


def test_padding_makes_room_in_a_jpeg_and_too_much_is_named(tmp_path):
    path = write_with(tmp_path / "photo.png", PHOTO, xmp=packet(padding=" " * 70_000))
    target, said = restored(path, ".jpg")
    assert xmp_in(target) == packet(padding="\n")
    assert not said
    path = write_with(tmp_path / "photo.png", PHOTO, xmp=packet(elements=f"<dc:title>{'x' * 70_000}</dc:title>"))
    target, said = restored(path, ".jpg")
    assert xmp_in(target) is None
    assert said == "photo.png: left out of the result: XMP."


@pytest.mark.parametrize("bad", [b"<x:xmpmeta>\xff\xfe", packet().decode().encode("utf-16-le")])
def test_xmp_that_is_not_in_utf8_is_named(tmp_path, bad):
    target, said = restored(write_with(tmp_path / "photo.jpg", PHOTO, xmp=bad))
    assert xmp_in(target) is None
    assert "XMP, which is not in UTF-8" in said


HDR = ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMax="2.3"'
CONTAINER = (
    ' xmlns:Container="http://ns.google.com/photos/1.0/container/"'
    ' xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
)
ITEMS = (
    '<Container:Directory><rdf:Seq><rdf:li rdf:parseType="Resource"><Container:Item Item:Semantic="GainMap" '
    'Item:Length="99"/></rdf:li></rdf:Seq></Container:Directory>'
)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bmp"])
def test_a_gain_map_is_named_and_not_announced_any_more(tmp_path, suffix):
    buffer = io.BytesIO()
    PHOTO.resize((4, 3)).save(buffer, "JPEG")
    xmp = packet(HDR + CONTAINER, ITEMS)
    path = jpeg(tmp_path / "photo.jpg", (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp), behind=buffer.getvalue())
    target, said = restored(path, suffix)
    assert "the gain map" in said
    assert "further pictures" not in said
    if suffix != ".bmp":
        left = xmp_in(target)
        assert b"hdrgm:Version" not in left
        assert b"GainMap" not in left
        assert "H\xe4fen".encode() in left
        ElementTree.fromstring(left[left.index(b"<x:") : left.rindex(b"<?")])


def test_what_else_a_jpeg_holds_is_named(tmp_path):
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<x/>"
    segments = [
        (0xE1, extension),
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)),
        (0xEB, b"JP\0\0" + bytes(20)),
        (0xE3, b"Meta\0"),
        (0xE2, b"FPXR\0" + bytes(4)),
        (0xE0, b"JFXX\0\x10"),  # storage, like the next ones
        (0xEC, b"Ducky\0"),
        (0xE2, b"MPF\0" + bytes(4)),
    ]
    behind = bytes(8) + b"\0\0\0\x18ftypmp42" + bytes(20)
    _, said = restored(jpeg(tmp_path / "photo.jpg", *segments, behind=behind))
    assert said == (
        "photo.jpg: left out of the result: extended XMP; the gain map; content credentials (JUMBF), which hold for "
        "the old file only; the segment APP3 'Meta'; the segment APP2 'FPXR'; the video in its file."
    )
    assert restored(jpeg(tmp_path / "photo.jpg", behind=bytes(5000)))[1] == ""
    assert "12 bytes behind the photo" in restored(jpeg(tmp_path / "photo.jpg", behind=b"twelve bytes"))[1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_iptc_goes_into_every_format_that_has_it(tmp_path, suffix):
    kept, left = (0x0425, bytes(16)), [(0x0409, b"thumb"), (0x040F, b"profile"), (0x041A, b"slices")]
    stored = resources((0x0404, IIM), kept, *left)
    half = len(stored) // 2
    path = jpeg(
        tmp_path / "photo.jpg", (0xED, b"Photoshop 3.0\0" + stored[:half]), (0xED, b"Photoshop 3.0\0" + stored[half:])
    )
    target, said = restored(path, suffix)
    expected = resources((0x0404, IIM), kept)
    match suffix:
        case ".jpg":
            assert (0xED, b"Photoshop 3.0\0" + expected) in segments_of(target.read_bytes())
            with Image.open(target) as image:
                assert IptcImagePlugin.getiptcinfo(image)[2, 0x50] == b"Jos\xe9"
        case ".tif":
            tags = tags_of(target.read_bytes())
            assert tags[ROOT, 34377][2] == expected
            assert tags[ROOT, 33723][2] == IIM
        case ".png":
            head = b"Raw profile type iptc\0\0"
            (text,) = [body.removeprefix(head) for _, body in chunks_of(target.read_bytes()) if body.startswith(head)]
            name, size, digits = zlib.decompress(text).strip().split(b"\n", 2)
            assert (name, int(size), bytes.fromhex(digits.decode())) == (b"iptc", len(expected), expected)
    without = suffix in (".webp", ".avif", ".jxl")
    assert ("IPTC" in said) == without
    assert "0x041A" in said
    if not without:  # and from there back
        again, _ = restored(target.rename(tmp_path / f"again{suffix}"), ".jpg")
        assert (0xED, b"Photoshop 3.0\0" + expected) in segments_of(again.read_bytes())


def test_iptc_of_a_tiff_without_photoshop(tmp_path):
    tags = [(33723, 7, len(IIM), IIM, True)]
    tifffile.imwrite(tmp_path / "a.tif", np.asarray(PHOTO), photometric="rgb", extratags=tags)
    target, _ = restored(tmp_path / "a.tif", ".jpg")
    assert (0xED, b"Photoshop 3.0\0" + resources((0x0404, IIM))) in segments_of(target.read_bytes())


@pytest.mark.parametrize("source", [".jpg", ".png", ".webp", ".tif", ".avif", ".bmp"])
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".bmp"])
def test_the_resolution_stands_in_the_result(tmp_path, source, suffix):
    if source in (".webp", ".avif"):
        exif = Image.Exif()
        exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 150.0, 2
        PHOTO.save(tmp_path / f"photo{source}", exif=exif)
    else:
        PHOTO.save(tmp_path / f"photo{source}", dpi=(300, 150))
    target, said = restored(tmp_path / f"photo{source}", suffix)
    data = target.read_bytes()
    match suffix:
        case ".jpg":
            assert struct.unpack(">BHH", data[13:18]) == (1, 300, 150)
        case ".png":
            assert struct.unpack(">IIB", dict(chunks_of(data))[b"pHYs"]) == (11811, 5906, 1)
        case ".bmp":
            assert struct.unpack("<ii", data[38:46]) == (11811, 5906)
        case _:
            tags = tags_of(exif_in(target))
            order = {b"I": "<", b"M": ">"}[exif_in(target)[:1]]
            sides = [struct.unpack(f"{order}II", tags[ROOT, tag][2]) for tag in (0x011A, 0x011B)]
            assert [above / below for above, below in sides] == [300, 150]
            assert struct.unpack(f"{order}H", tags[ROOT, 0x0128][2]) == (2,)
    assert not said or suffix == ".bmp"


def test_units_and_ratios(tmp_path):
    path = jpeg(tmp_path / "photo.jpg")
    data = bytearray(path.read_bytes())
    data[13:18] = struct.pack(">BHH", 2, 118, 118)
    path.write_bytes(data)
    assert struct.unpack(">IIB", dict(chunks_of(restored(path, ".png")[0].read_bytes()))[b"pHYs"]) == (11800, 11800, 1)
    data[13:18] = struct.pack(">BHH", 0, 2, 1)
    path.write_bytes(data)
    assert struct.unpack(">IIB", dict(chunks_of(restored(path, ".png")[0].read_bytes()))[b"pHYs"]) == (2, 1, 0)
    assert restored(path, ".jpg")[0].read_bytes()[13:18] == bytes(data[13:18])
    assert "the resolution" in restored(path, ".bmp")[1]
    data[13:18] = struct.pack(">BHH", 0, 1, 1)
    path.write_bytes(data)
    assert b"pHYs" not in dict(chunks_of(restored(path, ".png")[0].read_bytes()))


def test_text_of_png_files(tmp_path):
    text = [
        (b"tEXt", b"parameters\0a tree with a bird, steps 20"),
        (b"zTXt", b"Title\0\0" + zlib.compress("caf\xe9".encode("latin-1"))),
        (b"iTXt", b"Comment\0\0\0de\0\0" + "H\xe4fen".encode()),
        (b"vpAg", bytes(9)),  # may be copied, as its last letter says
    ]
    path = png(tmp_path / "photo.png", *text, (b"tIME", bytes(7)), (b"bKGD", bytes(6)), (b"sBIT", b"\x08\x08\x08"))
    target, said = restored(path)
    found = chunks_of(target.read_bytes())
    assert [chunk for chunk in found if chunk in text] == text
    assert said == "photo.png: left out of the result: the PNG chunk tIME; the PNG chunk bKGD."
    target, said = restored(path, ".jpg")
    comments = [body for kind, body in segments_of(target.read_bytes()) if kind == 0xFE]
    assert comments == [b"parameters: a tree with a bird, steps 20", "Title: caf\xe9".encode(), "H\xe4fen".encode()]
    assert "the PNG chunk vpAg" in said
    for suffix in (".webp", ".tif", ".bmp"):
        assert "the text 'parameters'; the text 'Title'; the text 'Comment'" in restored(path, suffix)[1]


def test_comments_of_jpeg_files(tmp_path):
    comments = [(0xFE, b"plain"), (0xFE, "H\xe4fen".encode()), (0xFE, b"caf\xe9 \xff")]
    path = jpeg(tmp_path / "photo.jpg", *comments)
    assert [one for one in segments_of(restored(path)[0].read_bytes()) if one[0] == 0xFE] == comments
    found = chunks_of(restored(path, ".png")[0].read_bytes())
    assert (b"tEXt", b"Comment\0plain") in found
    assert (b"iTXt", b"Comment" + bytes(5) + "H\xe4fen".encode()) in found
    assert (b"tEXt", b"Comment\0caf\xe9 \xff") in found
    for suffix in (".webp", ".tif", ".bmp"):
        assert "the comment" in restored(path, suffix)[1]


@pytest.mark.parametrize("name", ["exif", "APP1"])
def test_profiles_that_imagemagick_writes_as_text(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    block = exif.tobytes()
    text = f"\n{name.lower()}\n{len(block):8}\n{block.hex()}\n".encode()
    path = png(tmp_path / "photo.png", (b"zTXt", b"Raw profile type " + name.encode() + b"\0\0" + zlib.compress(text)))
    target, said = restored(path)
    assert read_image(target).size == (9, 6)
    assert tags_of(exif_in(target))[ROOT, 0x010F][2] == b"Maker\0"
    assert b"Raw profile" not in target.read_bytes()
    assert not said


def test_chunks_of_webp_files_that_are_not_known_are_named(tmp_path):
    path = write_with(tmp_path / "photo.webp", PHOTO, xmp=packet())
    data = path.read_bytes() + b"abcd" + struct.pack("<I", 2) + b"ok"
    path.write_bytes(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])
    target, said = restored(path)
    assert "the WebP chunk abcd" in said
    assert set(riff_of(target.read_bytes())) >= {b"VP8X", b"XMP "}


def test_bmp_holds_pixels_and_resolution_alone(tmp_path):
    PHOTO.save(tmp_path / "photo.jpg", xmp=packet(), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0", comment=b"words")
    assert restored(tmp_path / "photo.jpg", ".bmp")[1] == ("photo.jpg: left out of the result: EXIF; XMP; the comment.")


def test_pil_images_bring_theirs_and_get_it_back(tmp_path):
    PHOTO.save(tmp_path / "photo.jpg", xmp=packet(), dpi=(300, 300))
    with Image.open(tmp_path / "photo.jpg") as image:
        again = to_pil(from_pil(image))
    assert (again.info["xmp"], again.info["dpi"]) == (packet(), (300, 300))


letters = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
keywords = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)
latin = st.text(st.characters(min_codepoint=160, max_codepoint=255), max_size=9).map(
    lambda text: text.encode("latin-1")
)
texts = st.one_of(
    st.tuples(st.just(b"tEXt"), st.tuples(keywords, latin).map(lambda part: part[0].encode() + b"\0" + part[1])),
    st.tuples(
        st.just(b"zTXt"),
        st.tuples(keywords, latin).map(lambda part: part[0].encode() + b"\0\0" + zlib.compress(part[1])),
    ),
    st.tuples(st.just(b"iTXt"), st.tuples(keywords, letters).map(lambda p: p[0].encode() + bytes(5) + p[1].encode())),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
private = st.tuples(
    st.tuples(*[st.sampled_from(LETTERS)] * 2, st.sampled_from(LETTERS.upper()), st.sampled_from("abzABZ")).map(
        lambda four: "".join(four).encode()
    ),
    st.binary(max_size=12),
)


@any_case
@given(chunks=st.lists(st.one_of(texts, private), max_size=8), behind=st.booleans(), suffix=st.sampled_from(SUFFIXES))
def test_any_chunks_come_out_as_they_went_in_or_are_named(tmp_path, chunks, behind, suffix):
    path = png(tmp_path / "photo.png", *([] if behind else chunks))
    if behind:  # between the pixels and the end
        data = path.read_bytes()
        path.write_bytes(data[:-12] + b"".join(chunk(*one) for one in chunks) + data[-12:])
    target, said = restored(path, suffix)
    found = chunks_of(target.read_bytes()) if suffix == ".png" else []
    comments = segments_of(target.read_bytes()) if suffix == ".jpg" else []
    for one in chunks:
        kind, body = one
        keyword, _, rest = body.partition(b"\0")
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            text = zlib.decompress(rest[1:]) if kind == b"zTXt" else rest if kind == b"tEXt" else rest[4:]
            text = text.decode("utf-8" if kind == b"iTXt" else "latin-1").encode()
            kept = one in found or (0xFE, keyword + b": " + text) in comments
            assert kept or f"the text '{keyword.decode()}'" in said
        else:
            assert one in found or f"the PNG chunk {kind.decode()}" in said
    if suffix == ".png":
        assert not any(f"the text '{name}'" in said for name in LETTERS)


@any_case
@given(
    subject=st.text(
        st.characters(exclude_characters="<>&\r", min_codepoint=32, exclude_categories=["Cs"]), max_size=30
    ),
    rating=st.integers(-1, 5),
    width=st.integers(0, 99999),
    padding=st.integers(0, 3000),
    source=st.sampled_from(FROM),
    suffix=st.sampled_from(SUFFIXES),
)
def test_any_packet_comes_out_as_it_went_in_but_for_its_sizes(
    tmp_path, subject, rating, width, padding, source, suffix
):
    def written(width):
        attributes = f' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{rating}"'
        attributes += f' xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:ImageWidth="{width}" tiff:Make="{width}"'
        return packet(attributes.replace("tiff:Make", "dc:format"), f"<dc:title>{subject}</dc:title>", " " * padding)

    path = write_with(tmp_path / f"photo{source}", PHOTO, xmp=written(width))
    target, said = restored(path, suffix)
    assert xmp_in(target) == written(9).replace(b'dc:format="9"', f'dc:format="{width}"'.encode())
    assert not said


@any_case
@given(data=st.binary(max_size=60), start=st.sampled_from([b"", b"8BIM\x04\x04\0\0", b"<x:xmpmeta"]))
def test_whatever_else_is_damaged_the_photo_is_written(tmp_path, data, start):
    damaged = start + data
    segments = [
        (0xED, b"Photoshop 3.0\0" + damaged),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + damaged),
        (0xFE, damaged),
    ]
    target, _ = restored(jpeg(tmp_path / "photo.jpg", *segments, (0xE0, b"JFIF\0" + data)), ".png")
    assert read_image(target).size == (6, 9)
    raw = b"Raw profile type iptc\0" + damaged
    for suffix in (".jpg", ".tif"):
        target, _ = restored(png(tmp_path / "photo.png", (b"tEXt", raw), (b"pHYs", data[:9]), (b"iTXt", data)), suffix)
        assert read_image(target).size == (6, 9)
