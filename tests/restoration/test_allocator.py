"""Freed memory is kept: seen by the page faults that a tensor costs when it is made again, in a process of its own."""

import json
import platform
import subprocess
import sys

import pytest

FAULTS = """
import json, resource, sys
import torch
from dp_ir.runtime.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        first = torch.ones(4 << 20)  # 16 MiB each
        second = torch.ones(8 << 20)
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(json.dumps(faults()))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has such a setting")
def test_tensors_made_again_cost_no_page_faults():
    def faults(mode: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    plain, kept = faults("plain"), faults("keep")
    assert kept < plain / 10
