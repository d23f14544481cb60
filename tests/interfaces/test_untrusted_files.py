"""Names, links and sizes that others chose: nothing leaves the output folder, nothing confuses a terminal."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from conftest import listing
from dp_ir.interfaces import progress
from dp_ir.interfaces.words import printable

posix = pytest.mark.skipif(os.name == "nt", reason="needs the file names and links of POSIX")


@posix
def test_names_with_anything_in_them_are_restored_and_shown_in_one_line(dp_ir, bundle, photos, tmp_path):
    names = ["\x1b]0;owned\x07.png", "line\nfeed.png", "[bold]no[markup.png", "' \"$(x).png", "日" * 83 + ".png"]
    for name in (*(os.fsencode(name) for name in names), b"\xff\xfe.png"):
        os.link(photos / "b.png", os.fsencode(photos) + b"/" + name)
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert len(listing(tmp_path / "out")) >= 8
    for name in names:
        assert (tmp_path / "out" / name).is_file()
    assert all(line.isprintable() for line in result.stdout.splitlines())
    assert "8 restored" in result.stdout


@posix
def test_errors_about_odd_names_are_one_line(dp_ir, bundle, photos, tmp_path):
    (photos / "\x1b[31m\nbad.png").write_bytes(b"no image")
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.strip().isprintable()
    assert r"\x1b[31m" in result.stderr


def test_a_bar_shows_names_as_they_are(monkeypatch):
    shown = Console(file=io.StringIO(), force_terminal=True, width=200)
    monkeypatch.setattr(progress, "Console", lambda **_: shown)
    with progress.bar_of("{task.description}") as bar:
        bar.add_task("[/markup] and [red]more")
        bar.refresh()
    assert "[/markup] and [red]more" in shown.file.getvalue()


def test_printable():
    assert printable("a  b\nc\x1b\udcff") == "a b c\\x1b\\udcff"
    assert printable("日本 é") == "日本 é"
    assert len(printable("x" * 10**6)) < 3000


@posix
def test_links_in_the_output_are_replaced_and_never_written_through(dp_ir, bundle, photos, tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(precious)
    (tmp_path / "out" / "b.png").symlink_to(tmp_path / "to be made.png")
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu", "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert precious.read_text() == "mine"
    assert not (tmp_path / "to be made.png").exists()
    for name in ("a.png", "b.png"):
        assert not (tmp_path / "out" / name).is_symlink()
        assert Image.open(tmp_path / "out" / name).size == (64, 48)


@posix
def test_a_linked_folder_in_the_output_is_refused_and_the_rest_goes_on(dp_ir, bundle, photos, tmp_path):
    (photos / "sub").mkdir()
    (photos / "b.png").rename(photos / "sub" / "b.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    result = dp_ir("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 1
    assert "is a link to" in result.stderr
    assert listing(tmp_path / "elsewhere") == []
    assert (tmp_path / "out" / "a.png").is_file()


@posix
def test_an_output_that_is_a_circle_of_links(dp_ir, bundle, photos, tmp_path):
    (tmp_path / "circle.png").symlink_to("circle.png")
    result = dp_ir("restore", photos / "a.jpg", "-o", tmp_path / "circle.png", "-b", bundle, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "circle.png").is_symlink()


def test_max_pixels(dp_ir, bundle, photos, tmp_path):
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(photos / "large.png")
    arguments = ("restore", photos, "-o", tmp_path / "out", "-b", bundle, "--device", "cpu", "--max-pixels")
    result = dp_ir(*arguments, "0.001")
    assert result.exit_code == 1
    assert "large.png" in result.stderr
    assert "at most 0.001 megapixels" in result.stderr
    assert "--max-pixels" in result.stderr
    assert not (tmp_path / "out" / "large.png").exists()
    assert dp_ir(*arguments, "0.002").exit_code == 0
    assert (tmp_path / "out" / "large.png").exists()
