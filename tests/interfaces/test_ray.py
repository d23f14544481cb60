"""The checks of `ray_checks.py`, in a process of their own: Ray may end the process that it was started in."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

CHECKS = Path(__file__).with_name("ray_checks.py")
LIMIT = 600  # seconds; a minute where nothing else runs


def test_a_batch_on_ray(tmp_path):
    pytest.importorskip("ray")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'ray'}", CHECKS]
    with log.open("wb") as output:
        process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            status = process.wait(LIMIT)
        except psutil.TimeoutExpired:
            for left in [*process.children(recursive=True), process]:
                left.kill()
            process.wait()
            status = f"killed after {LIMIT} seconds"
    assert status == 0, f"The process of Ray's checks ended with {status}; its log:\n{log.read_text(errors='replace')}"
