"""The promise of the docs: a task more is one folder and a training run, and every command knows it."""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import dp_ir.tasks as dp_ir_tasks
from dp_ir.interfaces.cli import app
from dp_ir.tasks import TASKS

ROOT = Path(__file__).parents[2]

QUICK = {
    "restorer": ["network.config.channels=[16,16]", "network.config.blocks=[1,1]", "data.patch=32"],
    "fusion": ["network.config.channels=[16,16]", "network.config.blocks=[1,1,1]", "data.patch=32"],
}


def block(language: str, number: int = 0) -> str:
    page = (ROOT / "docs" / "add-a-task.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[number]


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
    folder = workplace / "tasks" / "fade"  # beside the others, as far as Python knows
    folder.mkdir(parents=True)
    (folder / "task.py").write_text(block("python"), "utf-8")
    (folder / "__init__.py").write_text(block("python", 1), "utf-8")
    monkeypatch.setattr(dp_ir_tasks, "__path__", [*dp_ir_tasks.__path__, str(folder.parent)])
    with patch.dict(TASKS), patch.dict(sys.modules):
        importlib.import_module("dp_ir.tasks.fade")  # as the package does with each of its folders
        run_the_commands(monkeypatch, workplace)


def run_the_commands(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
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


def test_no_package_below_the_tasks_knows_one_by_name() -> None:
    """Not the whole truth, but what a slip would look like: a name of a task in quotes, outside of docstrings."""
    root = ROOT / "src" / "dp_ir"
    below = ("diffusion", "networks", "image", "degradation", "datasets", "checkpoints", "runtime", "restoration")
    names = TASKS.keys() - {"burst"}  # which is also what goes into a network, see `NetworkInfo.input`
    slips = []
    for file in (path for package in below for path in (root / package).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in names:
                slips.append(f"{file.relative_to(root)}: {node.value!r}")
    assert slips == ["datasets/layouts.py: 'clean'"]  # a folder of published data sets
