"""Fixtures for every folder of tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def commands_of(folder, monkeypatch):
    """Loads a command of a folder afresh, as a script there would find what lies beside it."""
    monkeypatch.syspath_prepend(folder)

    def load(name):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def benchmark(monkeypatch):
    """Loads a command of `benchmarks`."""
    return commands_of(ROOT / "benchmarks", monkeypatch)


@pytest.fixture
def tool(monkeypatch):
    """Loads a command of `tools`."""
    return commands_of(ROOT / "tools", monkeypatch)
