"""The scripts in examples/, run as their first lines say, on small photos."""

import json
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
SMALL = {
    "train_fusion.py": ["--steps", "1", "--patch", "32"],
    "stream_folder.py": ["--task", "clean"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the scripts name."""
    rng = np.random.default_rng(0)
    held_out = next(str(n) for n in range(999) if is_held_out(f"{n}.png", DataRecipe.validation_fraction))

    def photo(name, width, height):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pixels = rng.integers(40, 220, (height // 8, width // 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / name)

    photo("photo.jpg", 24, 16)
    photo("photo.png", 16, 24)
    for name in (*"abcdefg", held_out):
        photo(f"photos/{name}.png", 72, 72)
    photo("Set14/a.png", 72, 72)
    torch.manual_seed(0)
    backbone = torchvision.models.squeezenet1_1(weights=None).features
    torch.save(backbone.state_dict(), tmp_path / "squeezenet1_1_features.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, script, *more):
    """Run a script as the command in its docstring says."""
    text = script.read_text("utf-8")
    (command,) = [line.strip() for line in text.splitlines() if line.startswith("    python examples/")]
    _, file, *words = shlex.split(command.split("[")[0])
    assert file == f"examples/{script.name}"
    monkeypatch.setattr(sys, "argv", [file, *words, *more])
    runpy.run_path(str(script), run_name="__main__")
    return text


def size(path):
    return Image.open(path).size


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_does_what_it_says(script, place, monkeypatch, capfd):
    text = run(monkeypatch, script, *SMALL.get(script.name, ()))
    assert len(text.splitlines()) < 80
    said = capfd.readouterr().out
    match script.stem:
        case "restore_photo":
            assert {path.name for path in (place / "restored").iterdir()} == {
                "deviation.png",
                "restorer.png",
                "sample.png",
            }
            assert size(place / "restored" / "sample.png") == (96, 64)
            assert "'denoiser': 3" in said
        case "own_restorer":
            assert size(place / "large.png") == (64, 96)
        case "train_fusion":
            assert json.loads((place / "runs" / "mine" / "bundle" / "config.json").read_text())["task"] == "sr4"
        case "compare":
            for method in ("DP-IR", "restorer", "restorer + noise", "bicubic"):
                assert f"\n {method} " in said or f"│ {method} " in said, said
        case "stream_folder":
            assert said.splitlines()[-1].startswith("8 restored")
            assert size(place / "restored" / "a.png") == (72, 72)
        case _:
            pytest.fail(f"{script.name} has no test")


def test_a_restorer_of_another_file(place, monkeypatch):
    (place / "mine.py").write_text("def twice(y):\n    return y.repeat_interleave(4, 2).repeat_interleave(4, 3)\n")
    (script,) = [path for path in EXAMPLES if path.stem == "own_restorer"]
    with pytest.warns(UserWarning, match="trained"):
        run(monkeypatch, script, "--restorer", "mine.py:twice")
    assert size(place / "large.png") == (64, 96)
