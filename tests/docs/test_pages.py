"""The README and docs/ do what they say: all blocks in Python run, and commands of dp-ir are read, many of them run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import typer
from dng_files import write_dng
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from typer.testing import CliRunner

from dp_ir.diffusion import SAMPLERS
from dp_ir.interfaces.cli import app
from dp_ir.networks import ARCHITECTURES, DETECTORS
from dp_ir.training.recipe import load_recipe, shipped_recipes

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PAGES = {path.relative_to(ROOT).as_posix(): path for path in FILES}
RUN_ELSEWHERE = {"docs/add-a-task.md", "docs/own-networks.md"}  # tests/tasks, tests/interfaces
RUN = ("README.md", "docs/restore.md", "docs/bursts.md", "docs/batches.md")
SMALL = {"--width 2000": "--width 80", "--crop 1200,800,256,192": "--crop 4,4,8,8"}  # of small photos
ELSEWHERE = re.compile(r"://|--executor ray|^serve|^evaluate|^train|rlfn_x4|--engine|^export")  # and tested elsewhere


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page].read_text("utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """The words behind `dp-ir`, or behind `-m dp_ir`, of every command that is written out in the blocks of a page."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.split(" > ")[0].replace('"${@:5}"', ""), comments=True)
            if "dp_ir" in words:
                found.append(words[words.index("dp_ir") + 1 :])
            elif "dp-ir" in words:
                found.append([word for word in words[words.index("dp-ir") + 1 :] if word not in {";", "}"}])
    return [words for words in found if "..." not in words]


class Blur(torch.nn.Module):
    """A denoiser as deepinv has them: the mean of 3x3 pixels."""

    def forward(self, noisy: torch.Tensor, sigma: object) -> torch.Tensor:
        return F.avg_pool2d(noisy, 3, 1, 1, count_include_pad=False)


def write_frame(path: Path, number: int) -> None:
    """A RAW file of 32x32 pixels."""
    level = 1000 * (number + 1) + 40 * np.arange(32 * 32).reshape(32, 32) % 9000
    write_dng(path, level.astype(np.uint16), matrix=np.eye(3))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files under the names that the pages use."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(60, 200, (3, 4, 3), dtype=np.uint8)).resize((24, 20), Image.BICUBIC)
    for name in ("holiday/a.jpg", "scans/b.tif", "photos/c.png", "photo.jpg", "photo.png", "large.jpg", "shaken.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photo.save(tmp_path / name)
    for number, burst in enumerate(("night", "bursts/one", "bursts/two")):
        (tmp_path / burst).mkdir(parents=True)
        for frame in range(2):
            write_frame(tmp_path / burst / f"{frame}.dng", number)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pages_with_python() -> list[str]:
    return [page for page in PAGES if blocks(page, "python") and page not in RUN_ELSEWHERE]


@pytest.mark.filterwarnings("ignore::UserWarning")  # of probes of networks that were not trained
@pytest.mark.parametrize("page", pages_with_python())
def test_blocks_in_python_run(page: str, workplace: Path) -> None:
    document = Sybil(parsers=[PythonCodeBlockParser()]).parse(PAGES[page])
    names = document.namespace
    names |= {"photo": Image.open("photo.jpg"), "model": Blur()}
    with patch.dict(ARCHITECTURES), patch.dict(DETECTORS), patch.dict(SAMPLERS):  # what the page adds goes afterwards
        for example in document.examples():
            example.evaluate()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_network_that_is_added_as_its_page_says_is_trained_and_restores(workplace: Path) -> None:
    page, names = "docs/add-a-network.md", {}
    (workplace / "restorer-plain.yaml").write_text(blocks(page, "yaml")[0], "utf-8")
    (workplace / "PHOTOS").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (72, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(workplace / "PHOTOS" / f"{number}.png")
    quick = [f"data.cache={workplace / 'cache'}", "data.validation_fraction=0.4", "data.patch=32"]
    quick += ["optim.steps=1", "optim.batch=1"]
    with patch.dict(ARCHITECTURES):
        exec(blocks(page, "python")[0], names)
        for words in commands(page):
            result = CliRunner().invoke(app, words + quick * (words[0] == "train"), catch_exceptions=False)
            assert result.exit_code == 0, (words, result.output)
            assert words[0] != "info" or "plain-sr" in result.output
    assert Image.open("large.png").size == (96, 80)


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_ones_that_dp_ir_has(page: str, workplace: Path) -> None:
    """Names, options and choices by the command line itself; changes of recipes by the recipes."""
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, *words in commands(page):
        with known[name].make_context(name, list(words)) as context:
            given = context.params
        recipe = given.get("recipe")
        if name == "train" and recipe in shipped_recipes():
            changes = [change for change in given["overrides"] or () if "=" in change and "$" not in change]
            partners = [f"partners.{name}=sr4" for name in ("restorer", "denoiser") if given[name]]
            load_recipe(recipe, ["data.clean=PHOTOS", *partners, *changes])
    assert bool(commands(page)) == ("dp-ir " in "".join(blocks(page, "sh")))


def test_commands_of_the_first_pages_run(workplace: Path) -> None:
    lines = dict.fromkeys(" ".join(map(shlex.quote, words)) for page in RUN for words in commands(page))
    run = [line for line in lines if not ELSEWHERE.search(line)]
    assert len(run) > 15
    for line in run:
        for large, small in SMALL.items():
            line = line.replace(large, small)
        words = shlex.split(line)
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, (line, result.output)
        if "-o" in words:
            assert Path(words[words.index("-o") + 1]).exists(), line
