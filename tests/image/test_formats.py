"""AVIF, JPEG XL, GIF and PPM: read as they show, written with what they came with."""

import io
import struct
import warnings

import imagecodecs
import jxl_files
import numpy as np
import pytest
from image_profiles import rgb_profile
from metadata_files import exif_block
from PIL import Image, ImageOps

from dp_ir.errors import ImageReadError, ImageWriteError
from dp_ir.image import read_image, write_image
from dp_ir.image.files.reading import image_size
from dp_ir.image.metadata.metadata import MetadataNote

NOTE = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'/></x:xmpmeta>"
BLOCK = exif_block(root=[(0x010E, 2, 4, b"sea\0"), (0x0112, 3, 1, b"\6\0")], exif=[(0x9286, 7, 9, b"\0" * 8 + b"\xe4")])
ALL_TURNS = range(1, 9)


def smooth(shape, depth=8, seed=0):
    """An image of soft gradients, which lossy codecs keep well."""
    rng = np.random.default_rng(seed)
    height, width, channels = (*shape, 1)[:3]
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    planes = [0.5 + 0.25 * (a * x + b * y + c * x * y) for a, b, c in rng.uniform(-0.6, 0.6, (channels, 3))]
    values = np.rint(np.stack(planes, -1) * ((1 << depth) - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    return values if len(shape) == 3 else values[..., 0]


def file_of(tmp_path, data, suffix):
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(data)
    return path


def notes_of(path):
    """What writing the file as a PNG leaves out."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write_image(path.with_name("copy.png"), read_image(path))
    return " ".join(str(warning.message) for warning in caught if warning.category is MetadataNote)


def upright(array, orientation):
    """As Pillow turns an image that EXIF says is stored so."""
    image = Image.fromarray(array)
    image.getexif()[0x0112] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_avif_of_every_depth(tmp_path, depth, channels):
    array = smooth((20, 31, channels) if channels > 1 else (20, 31), depth)
    path = file_of(tmp_path, imagecodecs.avif_encode(array, level=100, bitspersample=depth), ".bin")
    picture = read_image(path)
    colours = array.reshape(20, 31, channels)[..., : 1 if channels < 3 else 3] / ((1 << depth) - 1)
    assert np.abs(picture.pixels - colours).max() < 1 / ((1 << depth) - 1)
    assert (picture.alpha is not None) == (channels in (2, 4))
    assert picture.bit_depth == (8 if depth == 8 else 16)
    assert image_size(path) == (20, 31)
    if picture.alpha is not None:
        assert np.abs(picture.alpha - array[..., -1] / ((1 << depth) - 1)).max() < 1e-6


@pytest.mark.parametrize("orientation", ALL_TURNS)
def test_avif_is_turned_once(tmp_path, orientation):
    array = smooth((20, 31, 3))
    image = Image.fromarray(array)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = orientation, "sea"
    image.save(tmp_path / "photo.avif", exif=exif, quality=100, subsampling="4:4:4")
    picture = read_image(tmp_path / "photo.avif")
    assert np.abs(picture.pixels * 255 - upright(array, orientation)).max() < 5
    # A block that states an orientation beside is not what counts (ISO/IEC 23008-12), and is 1 in the result.
    write_image(tmp_path / "copy.avif", picture)
    again = read_image(tmp_path / "copy.avif")
    assert again.size == picture.size
    assert Image.open(tmp_path / "copy.avif").getexif().get(0x0112, 1) == 1
    assert Image.open(tmp_path / "copy.avif").getexif()[0x010E] == "sea"


def test_avif_with_colours_by_number_shows_what_a_png_shows(tmp_path):
    array = smooth((20, 31, 3))
    path = file_of(tmp_path, imagecodecs.avif_encode(array, level=100, primaries=12, transfer=13), ".avif")
    Image.fromarray(array).save(tmp_path / "same.png", icc_profile=rgb_profile())
    by_number, by_profile = read_image(path), read_image(tmp_path / "same.png")
    # rgb_profile has Display P3's primaries, and a power of 2.2 where Display P3 has the curve of sRGB
    assert np.abs(by_number.pixels - by_profile.pixels).max() < 0.02
    assert np.abs(by_number.pixels * 255 - array).max() > 5
    assert by_number.icc_profile is not None


def test_high_dynamic_range_is_refused(tmp_path):
    array = smooth((20, 31, 3), 10)
    avif = imagecodecs.avif_encode(array, level=90, bitspersample=10, primaries=9, transfer=16)
    with pytest.raises(ImageReadError, match="AVIF file of high dynamic range \\(PQ"):
        read_image(file_of(tmp_path, avif, ".avif"))
    jxl = jxl_files.with_header(smooth((20, 31, 3)), primaries=9, transfer=18)
    with pytest.raises(ImageReadError, match="JPEG XL file of high dynamic range \\(HLG"):
        read_image(file_of(tmp_path, jxl, ".jxl"))


@pytest.mark.parametrize("suffix", [".avif", ".jxl"])
def test_metadata_is_carried(tmp_path, suffix):
    profile = rgb_profile()
    image = Image.fromarray(smooth((20, 31, 3)))
    image.save(tmp_path / "photo.webp", exif=BLOCK, xmp=NOTE, icc_profile=profile, lossless=True)
    source = read_image(tmp_path / "photo.webp")
    write_image(tmp_path / f"copy{suffix}", source)
    data = (tmp_path / f"copy{suffix}").read_bytes()
    turned = BLOCK.replace(b"\x12\x01\3\0\1\0\0\0\6\0", b"\x12\x01\3\0\1\0\0\0\1\0")
    assert turned != BLOCK
    assert turned in data
    assert NOTE in data
    picture = read_image(tmp_path / f"copy{suffix}")
    assert picture.metadata.exif == b"Exif\0\0" + turned
    assert picture.metadata.xmp == NOTE
    assert picture.size == source.size
    assert np.abs(picture.pixels - source.pixels).max() < 0.03
    if suffix == ".avif":  # another program finds them
        assert picture.icc_profile == profile
        other = Image.open(tmp_path / "copy.avif")
        assert other.info["icc_profile"] == profile
        assert other.info["xmp"] == NOTE
        assert other.getexif()[0x010E] == "sea"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".avif", ".jxl"])
@pytest.mark.parametrize("depth", [8, 16])
def test_written_and_read_again(tmp_path, suffix, depth, channels):
    array = smooth((20, 31, channels) if channels > 1 else (20, 31), depth)
    source = file_of(tmp_path, imagecodecs.png_encode(array), ".png")
    picture = read_image(source)
    for quality, limit in ((95, 0.03), (100, 0.012 if suffix == ".avif" else 0.002 if depth == 16 else 1e-5)):
        target = tmp_path / f"{quality}{suffix}"
        write_image(target, picture, quality=quality)
        again = read_image(target)
        assert np.abs(again.pixels - picture.pixels).max() <= limit
        assert (again.grey, again.bit_depth) == (channels < 3, 8)
        assert (again.alpha is None) == (channels in (1, 3))
    write_image(tmp_path / f"5{suffix}", picture, quality=5)
    assert (tmp_path / f"5{suffix}").stat().st_size < (tmp_path / f"95{suffix}").stat().st_size


@pytest.mark.parametrize("depth", [4, 8, 10, 12, 16])
def test_jpeg_xl_of_every_depth(tmp_path, depth):
    array = np.random.default_rng(depth).integers(0, 1 << depth, (20, 31, 3))
    array = array.astype(np.uint8 if depth <= 8 else np.uint16)
    picture = read_image(file_of(tmp_path, jxl_files.with_header(array, depth=depth), ".jxl"))
    assert np.array_equal(picture.pixels, (array / ((1 << depth) - 1)).astype(np.float32))
    assert picture.bit_depth == (8 if depth <= 8 else 16)


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("orientation", ALL_TURNS)
def test_jpeg_xl_is_turned_once(tmp_path, orientation, pieces):
    array = smooth((20, 31, 3))
    stream = jxl_files.with_header(array, orientation=orientation)
    boxes = (b"Exif", bytes(4) + BLOCK), (b"xml ", NOTE)
    path = file_of(tmp_path, jxl_files.container(stream, *boxes, pieces=pieces), ".jxl")
    picture = read_image(path)
    assert np.array_equal(np.rint(picture.pixels * 255), upright(array, orientation))
    assert image_size(path) == (20, 31)
    assert b"sea\0" in picture.metadata.exif
    assert picture.metadata.xmp == NOTE


def test_jpeg_xl_with_colours_in_its_header_shows_what_a_png_shows(tmp_path):
    array = smooth((20, 31, 3))
    adobe = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
    corners = tuple(number for x, y in zip(adobe[::2], adobe[1::2], strict=True) for number in (x, y, 1.0))
    jxl = jxl_files.with_header(array, primaries=adobe, gamma=1 / 2.2)
    Image.fromarray(array).save(tmp_path / "same.png", icc_profile=rgb_profile(corners, 2.2))
    by_header, by_profile = read_image(file_of(tmp_path, jxl, ".jxl")), read_image(tmp_path / "same.png")
    assert np.abs(by_header.pixels - by_profile.pixels).max() < 1e-3
    assert np.abs(by_header.pixels * 255 - array).max() > 5


def test_jpeg_xl_that_cannot_be_shown_right_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="with an ICC profile"):
        read_image(file_of(tmp_path, jxl_files.with_header(smooth((20, 31, 3)), icc=True), ".jxl"))
    with pytest.raises(ImageReadError, match="with 2 channels beside"):
        read_image(file_of(tmp_path, jxl_files.with_header(smooth((20, 31, 3)), further=2), ".jxl"))


def test_jpeg_xl_whose_colours_are_multiplied_by_alpha(tmp_path):
    alpha = np.full((20, 31, 1), 128, np.uint8)
    alpha[:5] = 0
    multiplied = np.rint(np.full((20, 31, 3), 200) * (alpha / 255)).astype(np.uint8)
    array = np.concatenate([multiplied, alpha], axis=-1)
    picture = read_image(file_of(tmp_path, jxl_files.with_header(array, alpha="multiplied"), ".jxl"))
    assert np.abs(picture.pixels[5:] * 255 - 200).max() <= 1
    assert np.array_equal(np.rint(picture.alpha * 255), alpha[..., 0])
    plain = read_image(file_of(tmp_path, jxl_files.with_header(array), ".jxl"))
    assert np.array_equal(np.rint(plain.pixels * 255), multiplied)


def test_jpeg_xl_made_of_a_jpeg_gives_the_jpeg(tmp_path):
    stream = io.BytesIO()
    profile = rgb_profile()
    Image.fromarray(smooth((20, 31, 3))).save(
        stream, "JPEG", exif=b"Exif\0\0" + BLOCK, icc_profile=profile, comment=b"by me"
    )
    jxl = imagecodecs.jpegxl_encode_jpeg(stream.getvalue(), usecontainer=True)
    picture, source = read_image(file_of(tmp_path, jxl, ".jxl")), read_image(stream.getvalue())
    assert np.array_equal(picture.pixels, source.pixels)
    assert picture.size == (31, 20)  # upright
    assert picture.icc_profile == profile
    assert (picture.metadata.exif, picture.metadata.comments) == (source.metadata.exif, (b"by me",))


def test_compressed_boxes_of_jpeg_xl(tmp_path):
    stream = jxl_files.with_header(smooth((20, 31, 3)))
    packed = b"xml " + imagecodecs.brotli_encode(NOTE)
    bomb = b"Exif" + imagecodecs.brotli_encode(bytes(1 << 26))
    path = file_of(tmp_path, jxl_files.container(stream, (b"brob", packed), (b"brob", bomb), (b"abcd", b"?")), ".jxl")
    assert read_image(path).metadata.xmp == NOTE
    assert "the box 'abcd'" in notes_of(path)
    assert "the box 'Exif'" in notes_of(path)


def frames():
    return [Image.fromarray(np.roll(smooth((20, 31, 3)), 9 * shift, 1)) for shift in range(3)]


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".avif", ".jxl"])
def test_of_an_animation_the_first_frame_is_taken_and_that_is_said(tmp_path, suffix):
    path = tmp_path / f"moving{suffix}"
    if suffix == ".jxl":
        path.write_bytes(imagecodecs.jpegxl_encode(np.stack([np.asarray(frame) for frame in frames()]), lossless=True))
    else:
        options = {".webp": {"lossless": True}, ".avif": {"quality": 100, "subsampling": "4:4:4"}}.get(suffix, {})
        frames()[0].save(path, save_all=True, append_images=frames()[1:], **options)
    limit = 8 if suffix == ".gif" else 5
    assert np.abs(read_image(path).pixels * 255 - np.asarray(frames()[0])).max() < limit
    assert "frames" in notes_of(path)


def test_gif_keeps_its_transparency_and_its_comment(tmp_path):
    image = Image.new("P", (31, 20), 1)
    image.putpalette([0, 0, 0, 200, 100, 50, 9, 9, 9])
    image.paste(2, (0, 0, 31, 7))
    image.save(tmp_path / "photo.gif", transparency=2, comment=b"by me")
    picture = read_image(tmp_path / "photo.gif")
    assert np.array_equal(picture.alpha, np.repeat([[0.0], [1.0]], [7, 13], axis=0) * np.ones((20, 31), np.float32))
    assert np.array_equal(np.rint(picture.pixels[8:] * 255), np.full((12, 31, 3), (200, 100, 50)))
    assert picture.metadata.comments == (b"by me",)
    assert notes_of(tmp_path / "photo.gif") == ""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("largest", [1, 100, 255, 256, 1000, 65535])
@pytest.mark.parametrize("layout", ["P{} {} {} {}\n", "P{}\n# by a scanner\n{}\t{}\r\n# 3 5\n{} "])
def test_ppm_and_pgm_of_every_depth(tmp_path, channels, largest, layout):
    array = np.random.default_rng(largest).integers(0, largest + 1, (20, 31, channels))
    pixels = array.astype(np.uint8 if largest < 256 else ">u2").tobytes()
    path = file_of(tmp_path, layout.format(6 if channels == 3 else 5, 31, 20, largest).encode() + pixels, ".x")
    picture = read_image(path)
    assert np.abs(picture.pixels - array / largest).max() < 1e-6
    assert (picture.bit_depth, picture.grey) == (8 if largest < 256 else 16, channels == 1)
    assert image_size(path) == (20, 31)
    assert notes_of(path) == ""
    path.write_bytes(path.read_bytes() * 2)
    assert "what follows the first image" in notes_of(path)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_ppm_and_pgm_as_pillow_writes_them(tmp_path, mode):
    image = Image.fromarray(smooth((20, 31, 3))).convert(mode)
    image.save(tmp_path / "photo.ppm")
    array = np.asarray(image).reshape(20, 31, -1)
    assert np.abs(read_image(tmp_path / "photo.ppm").pixels * 255 - array).max() < 1e-4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P6 4 4 255\n" + bytes(47), "ends within its pixels"),
        (b"P5 4 4 0\n" + bytes(16), "its largest value is 0"),
        (b"P5 4 4 65536\n" + bytes(32), "its largest value is 65536"),
        (b"P5 4 4 100\n" + b"\xc8" * 16, "it holds 200, more than its largest value, 100"),
        (b"P5 4 x\n" + bytes(16), "does not give width, height"),
        (b"P5 4 0 255\n", "is 4x0 pixels"),
        (b"P6 of meeting 3, notes", "no image of a known format"),
        (b"P3 1 1 255 9 9 9", "no image of a known format"),
    ],
)
def test_damaged_ppm_is_refused(content, words):
    with pytest.raises(ImageReadError, match=words):
        read_image(content)


def announcing_more(kind):
    """A small file that says it has 60000 x 60000 pixels."""
    array = smooth((20, 31, 3))
    stream = io.BytesIO()
    if kind == "AVIF":
        Image.fromarray(array).save(stream, "AVIF")
        return stream.getvalue().replace(struct.pack(">II", 31, 20), struct.pack(">II", 60000, 60000))
    if kind == "PPM":
        return b"P6 60000 60000 255\n" + bytes(99)
    if kind == "GIF":
        Image.fromarray(array).save(stream, "GIF")
        return stream.getvalue()[:6] + struct.pack("<HH", 60000, 60000) + stream.getvalue()[10:]
    return jxl_files.header(60000, 60000) + bytes(99)


@pytest.mark.parametrize("kind", ["AVIF", "GIF", "JPEG XL", "PPM"])
def test_the_announced_size_is_checked_before_anything_is_decoded(tmp_path, kind, monkeypatch):
    for decoder in ("avif_decode", "jpegxl_decode"):
        monkeypatch.setattr(imagecodecs, decoder, lambda *_args, **_options: pytest.fail("it was decoded"))
    with pytest.raises(ImageReadError, match=r"announces 60000x60000 pixels \(3600.0 megapixels\)"):
        read_image(file_of(tmp_path, announcing_more(kind), ".bin"))


def refusal(data):
    """The sentence that a file is refused with; None where it is read."""
    try:
        read_image(data)
    except ImageReadError as error:
        return str(error)
    return None


@pytest.mark.parametrize("suffix", [".avif", ".jxl", ".gif", ".ppm"])
def test_cut_and_changed_files_are_refused_in_one_sentence_or_read(tmp_path, suffix):
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    if suffix == ".jxl":
        whole = jxl_files.container(jxl_files.with_header(smooth((20, 31, 3))), (b"xml ", NOTE), pieces=True)
    else:
        Image.fromarray(smooth((20, 31, 3))).save(stream, suffix[1:].upper())
        whole = stream.getvalue()
    cut = [whole[:end] for end in range(12, len(whole), max(len(whole) // 40, 1))]
    for _ in range(60):
        changed = bytearray(whole)
        changed[rng.integers(12, len(whole))] ^= 1 << rng.integers(8)
        cut.append(bytes(changed))
    sentences = [refusal(data) for data in cut]
    assert sum(sentence is not None for sentence in sentences) > 20
    assert all(sentence is None or sentence.count("expected") == 1 for sentence in sentences)
    with pytest.raises(ImageReadError, match="damaged or truncated"):
        read_image(whole[: len(whole) // 2])


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"])
def test_heic_is_named_with_the_way_round(tmp_path, brands):
    data = struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(60)
    with pytest.raises(
        ImageReadError, match=r"is a HEI[CF] file, expected PNG, .*: export it as a JPEG, or as a 16-bit"
    ):
        read_image(file_of(tmp_path, data, ".heic"))


def test_avif_by_its_second_brand(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(smooth((20, 31, 3))).save(stream, "AVIF")
    data = stream.getvalue()
    assert b"avif" in data[16:32]
    assert read_image(data[:8] + b"mif1" + data[12:]).size == (20, 31)


@pytest.mark.parametrize("suffix", [".avif", ".jxl"])
def test_sides_that_the_format_cannot_have_are_refused(tmp_path, suffix):
    side = {".avif": 16385, ".jxl": (1 << 18) + 1}[suffix]
    picture = read_image(imagecodecs.png_encode(np.zeros((1, side, 3), np.uint8)))
    with pytest.raises(ImageWriteError, match="sides of at most"):
        write_image(tmp_path / f"wide{suffix}", picture)
