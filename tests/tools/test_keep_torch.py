"""`tools/keep_torch.py`: a new environment uses a PyTorch that is there, if it is one for CPUs and new enough."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "keep_torch.py"
ASK = "import torch, importlib.metadata as m; print(torch.__file__, m.version('torch'))"


def fake_torch(folder: Path, version: str, cuda: str | None) -> None:
    """What pip leaves of a PyTorch, as far as it is asked."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text(f"__version__ = {version!r}\nfrom torch import version\n")
    (folder / "torch" / "version.py").write_text(f"cuda = {cuda!r}\nhip = None\n")
    info = folder / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")


@pytest.fixture
def environment(tmp_path):
    venv.create(tmp_path / "new", with_pip=False, symlinks=True)
    return tmp_path / "new"


def keep(folder, environment):
    """Run the tool by a Python that has the packages in `folder` alone, beside its own."""
    command = [sys._base_executable, str(TOOL), str(environment)]
    path = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, env=path, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("version", ["2.6.0+cpu", "2.15.1"])
def test_a_cpu_build_is_kept(tmp_path, environment, version):
    fake_torch(tmp_path / "packages", version, None)
    assert version in keep(tmp_path / "packages", environment)
    assert (environment / "torch.txt").read_text() == f"torch=={version}\n"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = str(environment / "bin" / "python")
    said = subprocess.run([python, "-c", ASK], env=clean, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(tmp_path / "packages" / "torch" / "__init__.py"), version]


@pytest.mark.parametrize(("version", "cuda"), [("2.15.0+cu132", "13.2"), ("2.5.1+cpu", None), ("1.13.1", None)])
def test_others_are_not(tmp_path, environment, version, cuda):
    fake_torch(tmp_path / "packages", version, cuda)
    assert keep(tmp_path / "packages", environment) == ""
    assert not (environment / "torch.txt").exists()
