"""Comparing methods in several processes, and processes that are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dp_ir.datasets.opening import open_datasets
from dp_ir.errors import DPIRError
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.evaluation.runner.comparison import evaluate
from dp_ir.tasks.sr4.task import degrade

METHODS = """
import os, time
from pathlib import Path
import torch
LOG = Path(__file__).with_suffix(".log")
def restore(y, seed):
    with LOG.open("a") as log: log.write(f"{os.getpid()}\\n")
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))
    return (y + 0.1 * noise).clamp(0, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)
def slow(y, seed):
    result = restore(y, seed)
    if len(LOG.read_text().splitlines()) > 2: time.sleep(60)
    return result
def killed(y, seed):
    if not LOG.with_suffix(".safe").exists(): os.kill(os.getpid(), 9)
    return restore(y, seed)
"""


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "Set4"
    data.mkdir()
    random = np.random.default_rng(0)
    for name in "abcd":
        Image.fromarray(random.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(data / f"{name}.png")
    (tmp_path / "mine.py").write_text(METHODS)
    return data


def compare(folder, function, out, processes=1):
    datasets = open_datasets([folder], scale=4, degrade=degrade)
    texts = [f"mine={folder.parent / 'mine.py'}:{function}", "bicubic"]
    return evaluate(texts, datasets, out=folder.parent / out, metrics=[PSNR()], processes=processes, device="cpu")


def pids(folder):
    return (folder.parent / "mine.log").read_text().splitlines()


def stored(folder, out):
    return {p.relative_to(folder.parent / out): p.read_bytes() for p in (folder.parent / out).rglob("*.png")}


def test_two_processes_give_what_one_gives(folder):
    one = compare(folder, "restore", "one")
    assert set(pids(folder)) == {str(os.getpid())}
    two = compare(folder, "restore", "two", processes=2)
    assert str(os.getpid()) not in pids(folder)[4:]
    assert len(pids(folder)) == 8
    assert stored(folder, "one") == stored(folder, "two")
    assert [(r.method, r.image, r.values) for r in two.records] == [(r.method, r.image, r.values) for r in one.records]


def test_killed_worker_is_one_sentence_and_the_rest_is_kept(folder):
    with pytest.raises(DPIRError, match=r"ended from outside.*the same command goes on"):
        compare(folder, "killed", "out", processes=2)
    (folder.parent / "mine.safe").write_text("")
    assert not [record for record in compare(folder, "killed", "out").records if record.error]


def test_run_that_is_killed_goes_on_where_it_was(folder):
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_evaluate_processes import compare
compare(Path({str(folder)!r}), "slow", "out")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    log, deadline = folder.parent / "mine.log", time.monotonic() + 120
    while not log.exists() or len(pids(folder)) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    log.unlink()
    results = compare(folder, "slow", "out")
    assert len(pids(folder)) == 2  # the third, which was under way, and the fourth
    fresh = compare(folder, "restore", "fresh")
    assert [record.values for record in results.records] == [record.values for record in fresh.records]
