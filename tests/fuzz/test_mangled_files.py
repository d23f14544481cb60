"""A few hundred mangled files of every kind, as `tests/fuzz/fuzz.py` makes them: accepted or refused, nothing else."""

import importlib
import random
import sys
from pathlib import Path

import pytest

from dp_ir.errors import DPIRError

CASES = {"image": 250, "raw": 60, "weights": 100, "bundle": 25, "manifest": 60}


@pytest.fixture(scope="module")
def fuzz():
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)  # as for the command, which finds its material beside it
    try:
        yield importlib.import_module("fuzz")
    finally:
        sys.path.remove(here)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_mangled_files_are_accepted_or_refused(fuzz, tmp_path, kind):
    target, outcomes = fuzz.TARGETS[kind], set()
    seeds = [(path.suffix, path.read_bytes()) for path in target.seeds(tmp_path)]
    for suffix, data in seeds:
        (tmp_path / f"whole{suffix}").write_bytes(data)
        assert fuzz.judged(target.read, tmp_path / f"whole{suffix}") == ("accepted", "")
    for case in range(CASES[kind]):
        rng = random.Random(f"{kind} {case}")
        (suffix, data), (_, other) = rng.choice(seeds), rng.choice(seeds)
        path = tmp_path / f"case{suffix}"
        path.write_bytes(target.mangle(data, other, rng))
        outcome, words = fuzz.judged(target.read, path)
        assert outcome in fuzz.GOOD, (case, suffix, words)
        outcomes.add(outcome)
    assert outcomes == {"accepted"} if kind == "manifest" else set(fuzz.GOOD)


def raising(error):
    def read(_path):
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (DPIRError("The file is broken in some way: fetch it again."), "refused"),
        (DPIRError("two\nlines, of which one is too many: leave it out."), "unclear"),
        (DPIRError("no"), "unclear"),
        (DPIRError("The file does not fit into memory: reduce it."), "memory"),
        (MemoryError(), "memory"),
        (KeyError("x"), "unexpected"),
        (SystemExit(1), "unexpected"),
    ],
)
def test_what_counts_as_bad(fuzz, tmp_path, error, outcome):
    assert fuzz.judged(raising(error), tmp_path / "x")[0] == outcome
    assert (outcome in fuzz.GOOD) == (outcome == "refused")
