"""`benchmarks/fusion_study.py` with tiny networks: its table, and what it trains anew."""

import shutil
from pathlib import Path

import pytest
import torch

from dp_ir.checkpoints import save_network
from dp_ir.errors import DataError
from tiny import tiny_bundle, tiny_fusion


@pytest.fixture
def study(benchmark, monkeypatch, settings):
    module = benchmark("fusion_study")
    tiny = ["network.config.channels=[8,8]", "network.config.blocks=[1,1,1]", "network.config.encoding=8"]
    sizes = ["data.patch=36", "data.validation_crop=36", "optim.batch=2", "data.validation_images=1"]
    begin = [setting for setting in settings if not setting.startswith("data.clean=")]
    monkeypatch.setattr(module, "BASE", (*begin, *tiny, *sizes))
    changes = {
        "the dial": ("network.config.detail=0.3",),
        "line": ("network.config.detail=null",),
        "large": ("optim.batch=4",),
    }
    monkeypatch.setattr(module, "VARIANTS", {"dial": changes})
    return module


@pytest.fixture
def options(study, photos, squeezenet, tmp_path):
    torch.manual_seed(0)
    fusion = tiny_fusion()
    tiny_bundle(tmp_path / "bundle", fusion=fusion)
    save_network(tmp_path / "start.safetensors", fusion, kind="fusion")
    given = {
        "data": photos,
        "weights": squeezenet,
        "bundle": tmp_path / "bundle",
        "start": tmp_path / "start.safetensors",
    }
    arguments = [part for name, value in given.items() for part in (f"--{name}", str(value))]
    return study.parse([*arguments, "--steps", "4", "--out", str(tmp_path / "out")])


def test_variants_are_compared_and_trained_once(study, options, monkeypatch, tmp_path):
    runs = []
    train = study.train

    def counted(kind, recipe, overrides, out, **others):
        runs.append(out.name)
        return train(kind, recipe, overrides, out, **others)

    monkeypatch.setattr(study, "train", counted)
    (table,) = study.measure(options).tables
    assert runs == [*2 * ["counted"], "the-dial", *2 * ["counted"], "line", *2 * ["counted"], "large"]
    assert [cells[0] for cells in table.rows] == ["the dial", "line", "large"]
    assert [cells[table.columns.index("dial from")] for cells in table.rows] == [0.3, 0.4, 0.25]
    # As many operations, not as many steps.
    assert [cells[table.columns.index("steps")] for cells in table.rows] == [4, 4, 2]
    assert all(len(cells) == len(table.columns) for cells in table.rows)

    runs.clear()
    assert study.measure(options).tables[0].rows == table.rows
    assert runs == []

    # What stands in for training from here on; what a stored variant was made with is compared, and nothing is lost.
    def copied(recipe, out, watch):
        runs.append(out.name)
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(weights, out / "fusion.safetensors"))

    weights = Path(shutil.copy(options.out / "line" / "fusion.safetensors", tmp_path))
    monkeypatch.setattr(study, "operations", lambda *_: 1)
    changes = study.VARIANTS["dial"]["line"]
    other = tmp_path / "other"
    other.write_bytes(b"other")
    for name, value in {"steps": 4.4, "data": other, "bundle": "other", "start": other, "weights": other}.items():
        with monkeypatch.context() as patch:
            patch.setattr(options, name, value)
            with pytest.raises(DataError, match="another --out"):
                study.trained("line", changes, options, copied)
    with pytest.raises(DataError, match=r"other changes: name another --out"):
        study.trained("line", (*changes, "chain.tau=300"), options, copied)
    study.trained("line", changes, options, copied)
    assert runs == []
    assert (options.out / "line" / "fusion.safetensors").is_file()
    (options.out / "line" / "steps.json").write_text("{")  # as of no run
    study.trained("line", changes, options, copied)
    assert runs == []
    (options.out / "line" / "fusion.safetensors").unlink()
    study.trained("line", changes, options, copied)
    assert runs == ["line"]


@pytest.mark.parametrize(("name", "value"), [("start", Path("none")), ("weights", Path("none")), ("steps", 0)])
def test_what_is_wrong_is_said_before_anything_is_made(study, options, monkeypatch, name, value):
    monkeypatch.setattr(options, name, value)
    with pytest.raises(DataError, match="none" if name != "steps" else "--steps is 0"):
        study.measure(options)
    assert not options.out.exists()
