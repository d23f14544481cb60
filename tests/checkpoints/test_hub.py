"""Which file a text names, with a hub that is only pretended."""

from pathlib import Path

import pytest

from dp_ir.checkpoints.hub import locate_file
from dp_ir.errors import BundleError, CheckpointError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Repositories below a folder; every request is remembered."""
    folder, asked = tmp_path / "hub", []

    def download(repository, file, revision=None):
        asked.append((repository, file, revision))
        if not (folder / repository / file).is_file():
            raise OSError(f"404 Not Found\n for {file}")
        return str(folder / repository / file)

    def snapshot(repository, revision=None, allow_patterns=None):
        asked.append((repository, revision))
        if not (folder / repository).is_dir():
            raise OSError("404")
        return str(folder / repository)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    monkeypatch.chdir(tmp_path)
    return folder, asked


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_what_is_here_is_never_asked_for(hub, tmp_path):
    here = write(tmp_path / "owner" / "name" / "x.pth")
    assert locate_file("owner/name/x.pth") == Path("owner/name/x.pth")
    assert locate_file(here) == here
    assert locate_file("owner/name") is None  # a folder, so a bundle
    assert locate_file("sr4") is None
    assert hub[1] == []


@pytest.mark.parametrize("name", ["gone.pth", "runs/gone.safetensors", "/gone/x.pt", "x.CKPT"])
def test_a_weight_file_that_is_not_there_is_no_bundle(hub, name):
    assert locate_file(name) == Path(name)
    assert hub[1] == []


def test_a_file_below_a_folder_that_is_here_is_not_asked_for(hub, tmp_path):
    (tmp_path / "runs").mkdir()
    assert locate_file("runs/mine/fusion.safetensors") == Path("runs/mine/fusion.safetensors")
    assert hub[1] == []


def test_a_file_of_a_repository_is_fetched(hub):
    folder, asked = hub
    file = write(folder / "owner" / "name" / "weights" / "x.pth")
    assert locate_file("owner/name/weights/x.pth", revision="v2") == file
    assert asked == [("owner/name", "weights/x.pth", "v2")]
    with pytest.raises(CheckpointError, match=r"the hub gave none of that name \(404 Not Found for y\.pth\)"):
        locate_file("owner/name/y.pth")


def test_a_repository_is_a_bundle_or_its_only_weight_file(hub):
    folder, _ = hub
    file = write(folder / "owner" / "single" / "model.safetensors")
    assert locate_file("owner/single") == file
    write(folder / "owner" / "single" / "other.safetensors")
    assert locate_file("owner/single") is None
    write(folder / "owner" / "bundle" / "restorer.safetensors")
    write(folder / "owner" / "bundle" / "config.json")
    assert locate_file("owner/bundle") is None
    with pytest.raises(BundleError, match="the hub gave no bundle"):
        locate_file("owner/gone")


def test_other_words_are_left_to_those_who_know_bundles(hub):
    assert locate_file("sr5") is None
    assert hub[1] == []
