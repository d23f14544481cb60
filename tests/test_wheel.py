"""The wheel, built as `pip install .` builds it: it must hold every file of the package, and nothing else."""

import email
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    (path,) = folder.iterdir()
    with zipfile.ZipFile(path) as archive:
        yield archive


def committed_files() -> dict[str, Path]:
    """Name in the package -> file, of all that git would commit below src/."""
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "src"]
    found = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in found.stdout.split("\0") if name and (ROOT / name).is_file()]
    return {name.removeprefix("src/"): ROOT / name for name in names}


def test_the_wheel_holds_every_file_of_the_package_and_no_other(wheel):
    files = committed_files()
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == set(files)
    for kind in ("safetensors", "yaml", "html", "js", "css", "tsv", "json", "typed"):  # none of them is a module
        assert any(name.endswith(f".{kind}") for name in held), kind
    assert [name for name in held if wheel.getinfo(name).file_size != files[name].stat().st_size] == []


def test_the_wheel_says_what_it_needs_and_what_it_starts(wheel):
    (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    metadata = email.message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert metadata["Name"] == "dp-ir"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "torch>=2.6" in metadata.get_all("Requires-Dist")
    assert b"dp-ir = dp_ir." in wheel.read(f"{folder}/entry_points.txt")
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
