"""The picture of the degradations, by its command."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COMMAND = Path(__file__).parents[2] / "tools" / "degradation_picture.py"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", [str(COMMAND), *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(COMMAND), run_name="__main__")
    return int(ended.value.code or 0)


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "photograph.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (72, 80, 3), dtype=np.uint8)).save(path)
    return path


def test_two_rows_of_six_tiles(monkeypatch: pytest.MonkeyPatch, photograph: Path, tmp_path: Path) -> None:
    picture, again = tmp_path / "made" / "picture.png", tmp_path / "again.png"
    for output in (picture, again):
        assert run(monkeypatch, photograph, "-o", output, "--square", "8,4,64", "--zoom", "2") == 0
    shown = np.asarray(Image.open(picture))
    assert shown.shape == (2 * (128 + 18) + 6, 6 * 128 + 5 * 6, 3)
    clean = np.asarray(Image.open(photograph))[4:68, 8:72].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(shown[18:146, :128], clean)
    np.testing.assert_array_equal(shown, np.asarray(Image.open(again)))


@pytest.mark.parametrize("square", ["8,4,60", "40,0,64", "0,-8,64"])
def test_squares_that_cannot_be_cut(
    monkeypatch: pytest.MonkeyPatch, photograph: Path, capsys: pytest.CaptureFixture[str], square: str
) -> None:
    picture = photograph.with_name("picture.png")
    assert run(monkeypatch, photograph, "-o", picture, f"--square={square}") == 1
    assert "expected one inside of it whose side is a multiple of 8" in capsys.readouterr().err
    assert not picture.exists()
