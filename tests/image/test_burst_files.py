"""Folders of frames become bursts; what does not belong together, or cannot be read, is said in one sentence."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from dng_files import PHASES, mosaic_of, write_dng
from metadata_files import ROOT, tags_of
from PIL import Image

from dp_ir.errors import ImageReadError
from dp_ir.image.files.reading import read_image
from dp_ir.image.picture.picture import to_tensor
from dp_ir.image.raw.burst import MAX_FRAMES
from dp_ir.image.raw.burst_files import frame_files, read_burst
from dp_ir.image.raw.camera import Camera
from dp_ir.image.raw.raw_files import metadata_of_raw

RNG = np.random.default_rng(0)
MATRIX = np.array([[0.9, -0.2, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])


def mosaic(shape: tuple[int, int] = (24, 28)) -> np.ndarray:
    return RNG.integers(100, 16000, shape).astype(np.uint16)


def raw_burst(folder: Path, count: int, **facts) -> list[Path]:
    pytest.importorskip("rawpy")
    folder.mkdir(exist_ok=True)
    return [write_dng(folder / f"{index}.dng", mosaic(), **{"matrix": MATRIX, **facts}) for index in range(count)]


def picture_burst(folder: Path, count: int, suffix: str = "png", size: tuple[int, int] = (9, 7)) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{index}.{suffix}" for index in range(count)]
    for path in paths:
        Image.fromarray(RNG.integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)
    return paths


def notes_of(folder: Path) -> tuple[torch.Tensor, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        frames = read_burst(folder).frames
    return frames, [str(entry.message) for entry in caught]


@pytest.fixture(autouse=True)
def _no_surprises(recwarn):
    """Notes are for what is odd: the tests that expect some record them themselves."""
    yield
    assert not [str(entry.message) for entry in recwarn]


# What is read -------------------------------------------------------------------------------------------------------


def test_a_folder_of_raw_frames_becomes_a_burst_with_the_first_ones_camera(tmp_path):
    pytest.importorskip("rawpy")
    first, second = mosaic(), mosaic()
    write_dng(tmp_path / "a.dng", first, matrix=MATRIX, neutral=(0.5, 1, 0.8), orientation=6)
    write_dng(tmp_path / "b.DNG", second, matrix=MATRIX, neutral=(0.6, 1, 0.8), orientation=1)
    burst = read_burst(tmp_path)
    assert burst.frames.shape == (2, 4, 12, 14)
    np.testing.assert_allclose(burst.frames[1, 1], np.minimum(second[::2, 1::2] / 16383, 1), atol=1e-6)
    np.testing.assert_allclose(burst.camera.gains, [2, 1, 1.25], rtol=1e-4)
    assert (burst.turns, burst.mirrored) == (3, False)


def test_a_burst_has_the_exif_of_its_first_frame(tmp_path):
    raw_burst(tmp_path / "raw", 2, orientation=6, seconds=0.02)
    tags = tags_of(read_burst(tmp_path / "raw").metadata.exif.removeprefix(b"Exif\0\0"))
    assert tags[ROOT, 0x010F][2] == b"Acme\0"
    assert tags[ROOT, 0x829A] == (5, 1, struct.pack("<II", 2000, 100_000))
    assert all(tag < 0xC612 for _, tag in tags)  # nothing that describes the sensor
    for index, path in enumerate(picture_burst(tmp_path / "pictures", 3)):
        exif = Image.Exif()
        exif[0x010F] = f"Maker {index}"
        Image.open(path).save(path, exif=exif)
    tags = tags_of(read_burst(tmp_path / "pictures").metadata.exif.removeprefix(b"Exif\0\0"))
    assert tags[ROOT, 0x010F][2] == b"Maker 0\0"


def test_a_raw_file_with_its_exif_in_a_jpeg(tmp_path):
    """As Fujifilm's: its place and its bytes at 84, in big-endian order."""
    exif = Image.Exif()
    exif[0x010F] = "Fuji"
    Image.new("RGB", (8, 8)).save(tmp_path / "preview.jpg", exif=exif)
    preview = (tmp_path / "preview.jpg").read_bytes()
    head = b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">II", 100, len(preview))
    (tmp_path / "a.raf").write_bytes(head.ljust(100, b"0") + preview + bytes(50))
    metadata = metadata_of_raw(tmp_path / "a.raf", turned=False)
    assert tags_of(metadata.exif.removeprefix(b"Exif\0\0"))[ROOT, 0x010F][2] == b"Fuji\0"
    (tmp_path / "a.cr3").write_bytes(b"\0\0\0\x18ftypcrx " + bytes(100))
    metadata = metadata_of_raw(tmp_path / "a.cr3", turned=False)
    assert metadata.exif is None
    assert metadata.lost[0].startswith("EXIF, which cannot be found in this kind of RAW file")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pictures_become_mosaics_that_render_to_themselves(tmp_path, suffix):
    """Each pixel keeps the one colour that an RGGB sensor would have seen there."""
    paths = picture_burst(tmp_path, 3, suffix)
    burst = read_burst(tmp_path)
    assert burst.frames.shape == (3, 4, 3, 4)
    shown = to_tensor(read_image(paths[2]))[0, :, :6, :8]
    for plane, channel, row, column in ((0, 0, 0, 0), (1, 1, 0, 1), (2, 1, 1, 0), (3, 2, 1, 1)):
        grey = burst.frames[2, plane].expand(1, 3, -1, -1)
        found = Camera.neutral().render(grey)[0, 0]
        assert torch.allclose(found, shown[channel, row::2, column::2], atol=2e-3)


def test_jpeg_frames_are_read_too(tmp_path):
    picture_burst(tmp_path, 2, "jpg")
    assert read_burst(tmp_path).frames.shape == (2, 4, 3, 4)


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    for name in ("burst10.png", "burst9.png", "burst.png", "Burst1.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "more.png").mkdir()
    assert [path.name for path in frame_files(tmp_path)] == ["Burst1.png", "burst9.png", "burst10.png", "burst.png"]


def test_of_raw_files_with_their_jpegs_the_raw_files_are_the_frames(tmp_path):
    for name in ("a.NEF", "a.JPG", "b.NEF", "b.JPG"):
        (tmp_path / name).touch()
    assert [path.name for path in frame_files(tmp_path)] == ["a.NEF", "b.NEF"]


# What is said -------------------------------------------------------------------------------------------------------


def test_one_frame_is_a_burst_with_a_note(tmp_path):
    paths = raw_burst(tmp_path / "burst", 1)
    for source in (tmp_path / "burst", paths[0]):
        frames, notes = notes_of(source)
        assert frames.shape == (1, 4, 12, 14)
        assert len(notes) == 1
        assert "one frame" in notes[0]
        assert str(source) in notes[0]


def test_of_forty_frames_the_first_are_used_with_a_note(tmp_path):
    paths = picture_burst(tmp_path, 40)
    frames, notes = notes_of(tmp_path)
    assert len(frames) == MAX_FRAMES == 20
    (note,) = notes
    assert "40 frames" in note
    assert "first 20" in note
    for path in paths[20:]:
        path.unlink()
    assert torch.equal(frames, read_burst(tmp_path).frames)


@pytest.mark.usefixtures("capfd")  # LibRaw itself speaks of damage on standard error
@pytest.mark.parametrize("make", [raw_burst, picture_burst])
def test_a_corrupt_frame_among_good_ones_is_left_out_with_a_note(tmp_path, make):
    paths = make(tmp_path, 4)
    paths[0].write_bytes(paths[0].read_bytes()[:-60])
    frames, notes = notes_of(tmp_path)
    assert len(frames) == 3
    (note,) = notes
    assert note.startswith("Left out of the burst: ")
    assert paths[0].name in note
    paths[0].unlink()
    assert torch.equal(frames, read_burst(tmp_path).frames)


@pytest.mark.parametrize(("good", "words"), [(0, "No frame in"), (1, "Only one frame in")])
def test_too_few_good_frames_are_refused(tmp_path, good, words):
    for path in picture_burst(tmp_path, 3)[good:]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ImageReadError, match=rf"{words} .* expected at least two: .*{good}\.png"):
        read_burst(tmp_path)


def test_what_the_first_frame_does_not_state_is_said_once(tmp_path):
    raw_burst(tmp_path, 3, matrix=None, neutral=None)
    _, notes = notes_of(tmp_path)
    assert len(notes) == 2
    assert all("0.dng' states no " in note for note in notes)
    assert "white balance" in notes[0]
    assert "colour matrix" in notes[1]


# What is refused ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"model": "Two"}, "taken by Acme Two, but .*0.dng' by Acme One"),
        ({"matrix": MATRIX.T}, "another colour matrix"),
        ({"pattern": PHASES["GBRG"]}, "phase GBRG, but .*0.dng' has RGGB"),
        ({"seconds": 0.04}, "exposed 4 times as much as"),
    ],
    ids=["camera", "matrix", "phase", "exposure"],
)
def test_frames_that_do_not_belong_together_are_refused(tmp_path, facts, words):
    raw_burst(tmp_path, 2)
    write_dng(tmp_path / "odd.dng", mosaic_of(np.dstack([mosaic()] * 3), "RGGB"), **{"matrix": MATRIX, **facts})
    with pytest.raises(ImageReadError, match=words) as caught:
        read_burst(tmp_path)
    assert "odd.dng" in str(caught.value)


def test_a_hand_held_exposure_varies_a_little(tmp_path):
    raw_burst(tmp_path, 2)
    write_dng(tmp_path / "2.dng", mosaic(), matrix=MATRIX, seconds=0.011)
    assert len(read_burst(tmp_path).frames) == 3


@pytest.mark.parametrize("shape", [(24, 30), (28, 24)])
def test_frames_of_several_sizes_are_refused(tmp_path, shape):
    raw_burst(tmp_path, 2)
    write_dng(tmp_path / "odd.dng", mosaic(shape), matrix=MATRIX)
    with pytest.raises(ImageReadError, match=rf"odd\.dng' is {shape[1]}x{shape[0]} pixels, but .*0\.dng' is 28x24"):
        read_burst(tmp_path)


def test_pictures_of_several_sizes_are_refused(tmp_path):
    picture_burst(tmp_path, 2)
    Image.new("RGB", (7, 9)).save(tmp_path / "odd.png")
    with pytest.raises(ImageReadError, match="6x8 pixels"):
        read_burst(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [("gone", "does not exist"), ("empty", "holds no frames"), ("photo.png", "is not a RAW file")],
)
def test_what_is_no_burst_is_refused(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    with pytest.raises(ImageReadError, match=words) as caught:
        read_burst(tmp_path / name)
    assert name in str(caught.value)


def test_a_frame_of_one_pixel_holds_no_cell(tmp_path):
    Image.new("RGB", (1, 8)).save(tmp_path / "thin.png")
    with pytest.raises(ImageReadError, match=r"thin\.png' is 0x8"):
        read_burst(tmp_path)
