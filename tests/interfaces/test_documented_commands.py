"""What the docs say of own networks, done as it says, with tiny networks under the names it uses."""

import re
import shlex
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from conftest import random_weights
from dp_ir import save_network
from dp_ir.networks.fast_fusion.model import FastFusion

PAGE = Path(__file__).parents[2] / "docs" / "own-networks.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def workplace(tmp_path, rlfn_file, ffdnet_file, photos, monkeypatch):
    """A folder with the files that the page names."""
    Image.open(photos / "b.png").save(tmp_path / "photo.png")
    (tmp_path / "mine.py").write_text("def enlarge(y):\n    return y.repeat_interleave(4, 2).repeat_interleave(4, 3)\n")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    fusion = random_weights(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8))
    save_network(tmp_path / "runs" / "mine" / "fusion.safetensors", fusion, kind="fusion")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_does_what_it_says(dp_ir, workplace, monkeypatch):
    monkeypatch.setattr("dp_ir.training.run.train", lambda kind, recipe, overrides, out, **_: out / "x")
    monkeypatch.setattr(
        "dp_ir.evaluation.metrics.training_metrics.training_metrics", lambda lpips: {}
    )  # of weights that are not here
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 6
    for name, *arguments in lines:
        assert name == "dp-ir"
        result = dp_ir(*arguments, *(["--device", "cpu"] if arguments[0] == "restore" else []))
        assert result.exit_code == 0, (arguments, result.output)
    assert {"large.png", "made.png", "other.png", "plain.png", "my-rlfn"} < {path.name for path in workplace.iterdir()}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of the probe on these networks, and of partners
def test_every_example_in_python_runs(workplace):
    own = {
        "my_module": lambda y: F.interpolate(y, scale_factor=4),
        "my_denoiser": lambda noisy_and_sigma: F.avg_pool2d(noisy_and_sigma[:, :3], 3, 1, 1, count_include_pad=False),
    }
    for block in blocks("python"):
        names = dict(own)
        exec("from dp_ir import Restoration, load_denoiser, load_restorer\n" + block, names)
        assert names["restore"](torch.rand(1, 3, 6, 8), seed=1).image.shape == (1, 3, 24, 32)
    assert (workplace / "my-bundle" / "config.json").is_file()
