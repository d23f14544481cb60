"""The promise of the docs: a task more is one file, a line, a recipe and a training run, and every command knows it."""

from __future__ import annotations

import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from dp_ir.interfaces.cli import app
from dp_ir.tasks import TASKS

ROOT = Path(__file__).parents[2]

QUICK = {
    "restorer": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=32"],
    "fusion": ["network.config.channels=[16,16]", "network.config.blocks=[1,1,1]", "data.patch=32"],
}


def block(language: str) -> str:
    page = (ROOT / "docs" / "add-a-task.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[0]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the page names, in which its commands are run."""
    (tmp_path / "PHOTOS").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (48, 56, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "PHOTOS" / f"{number}.png")
    Image.open(tmp_path / "PHOTOS" / "0.png").save(tmp_path / "print.jpg")
    (tmp_path / "fusion-fade.yaml").write_text(block("yaml"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dp_ir(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.output


@pytest.mark.filterwarnings("ignore::UserWarning")  # of probes of networks that were hardly trained
def test_the_page_adds_a_task(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    names: dict[str, object] = {}
    exec(block("python"), names)
    monkeypatch.setitem(TASKS, "fade", names["FADE"])
    quick = [f"data.cache={workplace / 'cache'}", "data.validation_fraction=0.4", "optim.steps=1", "optim.batch=1"]
    for line in block("sh").replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        if program == "python":
            monkeypatch.setattr(sys, "argv", arguments)
            runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
        elif arguments[0] == "train":
            dp_ir(*arguments, *quick, *QUICK[arguments[1]])
        else:
            dp_ir(*arguments, "--device", "cpu")
    assert Image.open("fresh.png").size == (56, 48)
    assert "fade" in dp_ir("info", "bundles/fade")
    dp_ir("degrade", "fade", "PHOTOS", "-o", "set")
    assert len(list((workplace / "set" / "lq").iterdir())) == 8


def test_no_floor_below_the_tasks_knows_one_by_name() -> None:
    """Not the whole truth, but what a slip would look like: a name of a task in quotes, outside of docstrings."""
    root = ROOT / "src" / "dp_ir"
    below = ("diffusion", "networks", "image", "degradation", "datasets", "checkpoints", "restoration")
    slips = []
    for file in (path for floor in below for path in (root / floor).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in TASKS:
                slips.append(f"{file.relative_to(root)}: {node.value!r}")
    assert slips == ["datasets/layouts.py: 'clean'"]  # a folder of published data sets
