"""`dp-ir degrade`: what it writes, says and refuses."""

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from dp_ir.datasets.opening import open_dataset
from dp_ir.errors import DPIRError
from dp_ir.interfaces.degrade import degrade


def run(*arguments):
    app = typer.Typer()
    app.command()(degrade)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, DPIRError):
        raise result.exception
    return result


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(("task", "layout", "scale"), [("sr4", "pairs", 4), ("deblur", "pairs", 1)])
def test_images(photos, tmp_path, task, layout, scale):
    result = run(task, photos, "-o", tmp_path / "set", "--limit", 2, "--crop", 32)
    assert result.exit_code == 0
    assert "2 made" in result.output
    data = open_dataset(tmp_path / "set", scale=scale)
    assert (data.layout, data.names) == (layout, ["0", "1"])
    assert data[0].target.shape == (1, 3, 32, 32)
    assert data[0].observation.shape == (1, 3, 32 // scale, 32 // scale)
    assert "1 made, 2 there already" in run(task, photos, "-o", tmp_path / "set", "--crop", 32).output


def test_bursts(photos, tmp_path):
    assert run("burst", photos, "-o", tmp_path / "set", "--limit", 1).exit_code == 0
    (pair,) = open_dataset(tmp_path / "set", scale=8)
    assert pair.observation.shape == (1, 14, 4, 5, 6)
    assert pair.camera is not None


def test_clips(photos, tmp_path):
    result = run("deblur", photos, "-o", tmp_path / "set", "--average", 3)
    assert "1 pairs, each the mean of 3 frames" in result.output
    (pair,) = open_dataset(tmp_path / "set")
    assert pair.name == "1"


def test_what_cannot_be_averaged(photos, tmp_path):
    with pytest.raises(DPIRError, match="--average was given with the task sr4"):
        run("sr4", photos, "-o", tmp_path / "set", "--average", 3)
    with pytest.raises(DPIRError, match="--average was given with --crop"):
        run("deblur", photos, "-o", tmp_path / "set", "--average", 3, "--crop", 8)


def test_a_bad_image_is_named_and_the_others_are_made(photos, tmp_path):
    (photos / "bad.png").write_bytes(b"no image")
    result = run("sr4", photos, "-o", tmp_path / "set")
    assert result.exit_code == 1
    assert "3 made, 1 failed" in result.output
    assert "bad.png' gives no pair" in result.output


def test_unknown_task(photos, tmp_path):
    with pytest.raises(DPIRError, match="no task 'blur'"):
        run("blur", photos, "-o", tmp_path / "set")
