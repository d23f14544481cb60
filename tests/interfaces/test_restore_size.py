"""`dp-ir restore` with a size or a quality for the results, and through standard input and output."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from conftest import listing
from dp_ir.batch import restoring as files
from dp_ir.batch.duration import LongJobNote
from dp_ir.batch.jobs import LocalJob
from dp_ir.batch.manifest import MANIFEST
from dp_ir.errors import ImageWriteError
from dp_ir.image.picture.output_size import OutputSize, resized
from dp_ir.interfaces.cli import app
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.tiling.tiler import TilingNote


@pytest.fixture
def restore(bundle):
    """dp-ir restore with the tiny bundle, which enlarges four times, and bytes for standard input."""

    def run(*arguments, given=None):
        texts = ["restore", *map(str, arguments), "-b", str(bundle), "--device", "cpu", "--tau", "0"]
        return CliRunner().invoke(app, texts, input=given)

    return run


@pytest.mark.parametrize(
    ("option", "value", "size"),
    [("--scale", 1.5, (24, 18)), ("--width", 40, (40, 30)), ("--long-edge", 33, (33, 25)), ("--scale", 4, (64, 48))],
)
def test_results_have_the_size_that_was_asked_for(restore, photos, tmp_path, option, value, size):
    result = restore(photos, "-o", tmp_path / "out", option, value)
    assert result.exit_code == 0, result.output
    assert {Image.open(tmp_path / "out" / name).size for name in ("a.png", "b.png")} == {size}
    made_by = json.loads((tmp_path / "out" / MANIFEST).read_text().splitlines()[0])["made_by"]
    assert made_by[option.strip("-").replace("-", "_")] == value


@pytest.mark.parametrize(
    ("option", "value", "start", "size"),
    [
        ("--scale", 4.1, (17, 13), (66, 49)),
        ("--scale", 8, (32, 24), (128, 96)),
        ("--width", 101, (26, 19), (101, 76)),
        ("--long-edge", 256, (64, 48), (256, 192)),
    ],
)
def test_more_than_the_task_gives_is_restored_of_its_own_estimate(bundle, photos, tmp_path, option, value, start, size):
    """Step by step by Python: the estimate, reduced to a quarter, rounded up, of what is wanted; restored; reduced."""
    run = ["-b", str(bundle), "--device", "cpu", "--precision", "float32", "--seed", "4", "-f", "tiff"]
    result = CliRunner().invoke(app, ["restore", str(photos), "-o", str(tmp_path / "out"), option, str(value), *run])
    assert result.exit_code == 0, result.output
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    for name in ("a.jpg", "b.png"):
        estimate = restoration(photos / name, detail=0).image
        given = resized(estimate, start[::-1])
        expected = resized(restoration(given, seed=4).image, size[::-1]).pixels
        made = np.asarray(Image.open(tmp_path / "out" / f"{name[0]}.tif"))
        assert made.shape == (*size[::-1], 3)
        np.testing.assert_allclose(made / 255, expected, atol=0.51 / 255)


def test_samples_and_too_little_memory_do_not_change_a_second_run(bundle, photos, tmp_path, monkeypatch):
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    shares: dict[str, list[float]] = {"whole": [], "streamed": []}

    def restored(name, **settings):
        job = LocalJob(photos / "a.jpg", tmp_path / f"{name}.tif", settings.pop("samples", 1))
        files.restore_file(
            restoration, job, size=OutputSize(scale=9), seed=2, progress=shares.get(name, []).append, **settings
        )
        return [np.asarray(Image.open(target)).astype(float) for target in job.targets]

    (whole,) = restored("whole")
    assert np.array_equal(restored("samples", samples=2)[0], whole)
    # What the first result takes fits, what the second one takes does not.
    monkeypatch.setattr(files, "budget", lambda *_: files.CANVAS_BYTES * 48 * 64)
    with pytest.warns(TilingNote, match=r"a\.jpg, restored twice, gives 144x108 pixels, more than fit"):
        (streamed,) = restored("streamed")
    np.testing.assert_allclose(streamed, whole, atol=1)
    for told in shares.values():
        assert told == sorted(told)
        assert told[0] < 0.3
        assert told[-1] == pytest.approx(1)
    monkeypatch.setattr(files, "budget", lambda *_: files.CANVAS_BYTES * 48 * 64 - 1)
    with (
        pytest.warns(TilingNote),
        pytest.raises(ImageWriteError, match=r"a\.jpg would be restored twice.*of 64x48 pixels.*--scale 4"),
    ):
        restored("refused")
    samples = ("samples-1.tif", "samples-2.tif", "samples-mean.tif", "samples-std.png")
    assert listing(tmp_path) == sorted(["in/a.jpg", "in/b.png", "whole.tif", "streamed.tif", *samples])


def test_the_time_of_both_runs_is_said_before(bundle, photos, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(files, "LONG", 100)
    monkeypatch.setattr(files, "expected_seconds", lambda _, pixels, **__: told.append(pixels) or 300.0)
    restoration = Restoration.from_pretrained(bundle, device="cpu")
    with pytest.warns(LongJobNote, match=r"a\.jpg, restored twice, gives 128x96 pixels, which will take about 5 min"):
        files.restore_file(restoration, LocalJob(photos / "a.jpg", tmp_path / "a.png"), size=OutputSize(scale=8))
    assert told == [48 * 64 + 96 * 128]


def test_a_scale_above_the_task_is_one_sentence_before_any_work(restore, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(Restoration, "__call__", lambda *_, **__: pytest.fail("worked"))
    result = restore(photos, "-o", tmp_path / "out", "--scale", 17)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "at most 16" in line
    assert listing(tmp_path) == ["in/a.jpg", "in/b.png"]
    wide = restore(photos, "-o", tmp_path / "out", "--width", 257)
    assert wide.stderr.count("(--scale 16 is the largest)") == 2
    assert "together" in restore(photos, "-o", tmp_path / "out", "--scale", 2, "--width", 9).stderr


def test_the_quality_is_that_of_the_files(restore, photos, tmp_path):
    for quality in (20, 95):
        assert restore(photos, "-o", tmp_path / str(quality), "-f", "jpeg", "--quality", quality).exit_code == 0
    tables = {
        quality: sum(Image.open(tmp_path / str(quality) / "a.jpg").quantization[0]) for quality in (20, 95)
    }  # of a quality of 50 they are Annex K's, below it 50 / quality times as large
    assert tables[20] > 10 * tables[95]
    refused = restore(photos, "-o", tmp_path / "png", "--quality", 90)
    assert refused.exit_code == 1
    assert ".png files lose nothing" in refused.stderr


def test_a_photo_goes_through_standard_input_and_output(restore, photos, tmp_path):
    restore(photos / "a.jpg", "-o", tmp_path / "a.png")
    piped = restore("-", "-o", "-", given=(photos / "a.jpg").read_bytes())
    assert piped.exit_code == 0, piped.stderr
    assert piped.stdout_bytes == (tmp_path / "a.png").read_bytes()
    assert "standard input -> standard output" in piped.stderr
    jpeg = restore(photos / "a.jpg", "-o", "-", "-f", "jpeg", "--width", 20)
    assert Image.open(io.BytesIO(jpeg.stdout_bytes)).format == "JPEG"
    named = restore("-", photos / "b.png", "-o", tmp_path / "out", given=(photos / "a.jpg").read_bytes())
    assert "2 restored" in named.stdout
    assert np.array_equal(Image.open(tmp_path / "out" / "stdin.png"), Image.open(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (("-", "-o", "x.png"), b"", "standard input' is empty"),
        (("-", "-o", "x.png"), b"%PDF-1.7--------", "standard input' is a PDF document"),
        (("-", "-o", "-", "--samples", "2"), b"x", "takes one result"),
        (("-", "-o", "-", "--json"), b"x", "takes one result"),
        (("a.png", "b.png", "-o", "-"), b"", "The output standard output is one file, but there are 2 inputs"),
    ],
)
def test_what_a_stream_cannot_take_is_one_sentence(restore, photos, monkeypatch, arguments, given, words):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(photos / name)
    monkeypatch.chdir(photos)
    result = restore(*arguments, given=given)
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    assert words in result.stderr
    assert not (photos / "x.png").exists()
