"""`dp-ir evaluate`."""

import json

import numpy as np
import pytest
from PIL import Image

FUNCTIONS = """
def nearest(y): return y.repeat_interleave(4, 2).repeat_interleave(4, 3)
def dark(y):
    if y.mean() > 0.5: raise ValueError("too bright")
    return nearest(y)
"""


@pytest.fixture
def test_set(tmp_path):
    folder = tmp_path / "Set2"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, level in (("a", 60), ("b", 190)):
        pixels = level + random.integers(-30, 30, (48, 64, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    (tmp_path / "mine.py").write_text(FUNCTIONS)
    return folder


def test_evaluate_writes_tables_and_a_page(dp_ir, test_set, bundle, tmp_path):
    out = tmp_path / "out"
    mine = f"{tmp_path}/mine.py:nearest"
    arguments = ["evaluate", "bicubic", f"ours={bundle}", mine, "--data", test_set, "--out", out, "-m", "psnr-y,SSIM"]
    arguments += ["-m", "swd", "--device", "cpu", "--precision", "float32", "--reference", "ours"]
    result = dp_ir(*arguments)
    assert result.exit_code == 0, result.stderr
    assert "PSNR-Y" in result.stdout
    assert {"index.html", "results.csv", "results.json", "results.md", "results.tex", "images"} <= {
        path.name for path in out.iterdir()
    }
    content = json.loads((out / "results.json").read_text())
    assert [method["name"] for method in content["methods"]] == ["bicubic", "ours", "nearest"]
    assert [metric["name"] for metric in content["metrics"]] == ["PSNR-Y", "SSIM", "SWD"]
    assert "border 4" in content["metrics"][0]["protocol"]
    assert content["command"].startswith("dp-ir evaluate bicubic")
    ours = next(record for record in content["records"] if record["method"] == "ours")
    assert ours["calls"] == {"restorer": 1, "denoiser": 3, "fusion": 3}
    # What another program made may be those images: they are judged alike, and nothing is restored again.
    before = (out / "results.csv").read_text()
    assert dp_ir(*arguments).exit_code == 0
    assert (out / "results.csv").read_text() == before
    theirs = [f"theirs={out / 'images' / 'ours'}", "--data", test_set, "--out", tmp_path / "again", "-m", "psnr-y"]
    assert dp_ir("evaluate", *theirs).exit_code == 0
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    same = [record["values"]["PSNR-Y"] for record in content["records"] if record["method"] == "ours"]
    assert [record["values"]["PSNR-Y"] for record in again["records"]] == same


def test_metrics_of_detail_and_of_samples(dp_ir, test_set, bundle, tmp_path):
    out = tmp_path / "out"
    arguments = ["evaluate", f"ours={bundle}", "bicubic", "--data", test_set, "--out", out, "-m", "bands,psnr"]
    arguments += ["-m", "spread-error,psnr-mean", "--samples", 3, "--device", "cpu", "--precision", "float32"]
    result = dp_ir(*arguments)
    assert result.exit_code == 0, result.stderr
    content = json.loads((out / "results.json").read_text())
    spread = [f"Spread-error {part}" for part in ("pixels", "band 1", "band 2")]
    bands = ["Band 1", "Band 2", "Colour band 1", "Colour band 2"]
    assert [metric["name"] for metric in content["metrics"]] == [*bands, "PSNR", "PSNR mean", *spread]
    assert "--samples 3" in content["command"]
    ours, bicubic = content["sets"]
    assert list(ours["values"]) == spread
    assert all(value > 0 for value in ours["values"].values())
    assert [len(own["shares"]) for own in ours["ranks"].values()] == [4, 4, 4]
    assert bicubic["values"] == {}
    for record in content["records"]:
        assert ("PSNR mean" in record["values"]) is (record["method"] == "ours")
        # The mean of samples is nearer than a sample; bicubic has less detail than there is.
        assert record["method"] != "ours" or record["values"]["PSNR mean"] > record["values"]["PSNR"]
        assert record["method"] != "bicubic" or record["values"]["Band 1"] < -1
    assert (out / "ranks-Set2.svg").is_file()
    assert len(list((out / "samples" / "ours" / "Set2").rglob("*.png"))) == 2 * 2


def test_failure_on_one_image_is_told_at_the_end(dp_ir, test_set, tmp_path):
    out = tmp_path / "out"
    result = dp_ir("evaluate", f"{tmp_path}/mine.py:dark", "bicubic", "-d", test_set, "-o", out, "-m", "psnr")
    assert result.exit_code == 1
    assert "dark failed on 1 image: ValueError: too bright" in result.stderr
    assert (out / "index.html").is_file()
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["bicubic", "-m", "psnrr"], "nearest: psnr"),
        (["bicubic", "--task", "sr5"], "nearest: sr4"),
        (["bicubic", "--task", "none"], "observations"),
        (["bicubic", "--reference", "bicubik"], "nearest: bicubic"),
        (["bicubic", "--precision", "float64"], "float64"),
        (["bicubic", "--weights", "nowhere", "-m", "lpips"], "nowhere"),
        (["bicubic", "--split", "valid"], "has no part 'valid'"),
        (["noise:sr4,metric=psnrr", "-m", "psnr"], "nearest: psnr"),
        (["nothing of the kind"], "is no bundle"),
    ],
)
def test_bad_usage_ends_in_one_sentence(dp_ir, test_set, tmp_path, arguments, part):
    result = dp_ir("evaluate", *arguments, "--data", test_set, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert part in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
