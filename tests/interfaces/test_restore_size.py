"""`dp-ir restore` with a size or a quality for the results, and through standard input and output."""

import io
import json

import numpy as np
import pytest
from conftest import listing
from PIL import Image
from typer.testing import CliRunner

from dp_ir.interfaces.cli import app
from dp_ir.restoration.manifest import MANIFEST
from dp_ir.restoration.pipeline import Restoration


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


def test_a_scale_above_the_task_is_one_sentence_before_any_work(restore, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(Restoration, "__call__", lambda *_, **__: pytest.fail("worked"))
    result = restore(photos, "-o", tmp_path / "out", "--scale", 6)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "at most 4" in line
    assert listing(tmp_path) == ["in/a.jpg", "in/b.png"]
    wide = restore(photos, "-o", tmp_path / "out", "--width", 65)
    assert wide.stderr.count("(--scale 4 is the largest)") == 2
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
