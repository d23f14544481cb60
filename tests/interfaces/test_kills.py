"""kill -9 at random moments: nothing is lost, nothing finished is done twice, and no half file has a final name.

DP_IR_KILLS=500 asks for so many kills.
"""

import json
import os
import random
import time
from collections import Counter

import forked_cli
import pytest
from PIL import Image

from conftest import listing
from dp_ir.batch.manifest import MANIFEST

KILLS = int(os.environ.get("DP_IR_KILLS", "12"))
IMAGES = 12


@pytest.fixture
def many(tmp_path, photo_pixels):
    """A folder `in` with photos, no two of them alike, some of them in folders of their own."""
    for index in range(IMAGES):
        path = tmp_path / "in" / ("deep" if index % 3 == 0 else "") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo_pixels[index % 8 :, : 16 - index % 9]).resize((48, 40)).save(path)
    return tmp_path / "in"


def finished(folder, samples):
    """Results of which the whole set is there -> when each of them was written, and which file it is."""
    if not folder.exists():
        return {}
    names = [name for name in listing(folder) if not name.endswith(".part")]
    sets = Counter(name.rsplit(".", 1)[0].rsplit("-", 1)[0] for name in names)
    size = 1 if samples == 1 else samples + 2
    whole = [name for name in names if sets[name.rsplit(".", 1)[0].rsplit("-", 1)[0]] == size]
    states = {name: (folder / name).stat() for name in whole}
    return {name: (state.st_mtime_ns, state.st_ino) for name, state in states.items()}


@pytest.mark.skipif(forked_cli.CONTEXT is None, reason="needs fork and SIGKILL")
@pytest.mark.parametrize("samples", [1, 2])
def test_a_batch_that_is_killed_again_and_again_ends_as_if_it_had_not_been(bundle, many, tmp_path, samples):
    def start(out=tmp_path / "whole"):
        options = ["--bundle", bundle, "--device", "cpu", "--seed", "3", "--samples", samples]
        return forked_cli.start([str(word) for word in ["restore", many, "-o", out, *options]], tmp_path / "log")

    forked_cli.start(["--version"], tmp_path / "log").join()  # begins the server that the others are forked from
    begun = time.monotonic()
    undisturbed = start()
    undisturbed.join()
    duration = time.monotonic() - begun
    assert undisturbed.exitcode == 0, (tmp_path / "log").read_text()
    expected = {name: (tmp_path / "whole" / name).read_bytes() for name in listing(tmp_path / "whole")}

    moments = random.Random(samples)
    killed = left_overs = rounds = 0
    while killed < KILLS:
        out = tmp_path / f"out {rounds}"
        rounds += 1
        before: dict[str, tuple[int, int]] = {}
        while True:
            process = start(out)
            process.join(moments.uniform(0, duration))
            process.kill()  # which does nothing to a process that has ended
            process.join()
            after = finished(out, samples)
            assert before.items() <= after.items(), "a finished result was made again"
            if after == before:
                duration *= 1.1  # a machine that has become busier since gets nothing done in the time it took before
            before = after
            for name in listing(out) if out.exists() else []:
                if name.endswith(".part"):
                    left_overs += 1
                else:
                    assert (out / name).read_bytes() == expected[name], f"{name} is not whole"
            if process.exitcode == 0:
                break
            assert process.exitcode == -9, (tmp_path / "log").read_text()
            killed += 1
        assert listing(out) == sorted(expected)
        entries = [json.loads(line) for line in (out / MANIFEST).read_bytes().splitlines() if line.endswith(b"}")]
        restored = Counter(entry["target"] for entry in entries if entry.get("status") == "restored")
        assert max(restored.values()) == 1
    print(f"{killed} kills in {rounds} batches of {IMAGES}, which left {left_overs} files under way")  # noqa: T201
