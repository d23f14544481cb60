"""`benchmarks/photo_kinds.py`: the inputs of every kind, and the page, with networks that only enlarge."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.restoration.pipeline import Restoration


@pytest.fixture
def kinds(benchmark):
    return benchmark("photo_kinds")


@pytest.fixture
def photo():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).resize((512, 512), Image.BICUBIC)


def test_every_kind_is_made_the_same_way_each_time(kinds, photo):
    for name, (_, make, source) in kinds.KINDS.items():
        one, other = (np.asarray(make(photo)) for _ in range(2))
        assert np.array_equal(one, other), name
        assert one.std() > 5, name
        assert (max(one.shape) <= 256) == (name != "camera"), name
        assert source == kinds.ROSE or kinds.is_held_out(source, kinds.DataRecipe.validation_fraction), name
    assert np.asarray(kinds.grey(photo)).ndim == 2
    assert np.asarray(kinds.night(photo)).mean() < 0.4 * np.asarray(photo).mean()


def test_sensor_data_are_rendered_upright_with_their_colours(kinds, tmp_path):
    """A mosaic made here of flat quarters: black below, white where the sensor is full, and colours in their places."""
    colours = np.zeros((512, 768, 3))  # linear light
    colours[:256, 384:] = (0.2, 0.05, 0.05)
    colours[256:, :384] = (0.05, 0.05, 0.2)
    colours[256:, 384:] = 1
    sensor = 600 + (2**14 - 1 - 600) * colours / (2.0, 1.0, 1.4)
    mosaic = np.empty((512, 768))
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = sensor[row::2, column::2, channel]
    path = tmp_path / kinds.ROSE
    mosaic.round().astype("<u2").tofile(path)
    shown = np.asarray(kinds.opened(path)).astype(int)
    assert shown[128, 192].max() <= 2
    assert shown[128, 576, 0] > 2 * shown[128, 576, 1:].max()
    assert shown[384, 192, 2] > 2 * shown[384, 192, :2].max()
    assert shown[384, 576].min() >= 254
    path.write_bytes(b"short")
    with pytest.raises(kinds.DataError, match="copy it again"):
        kinds.opened(path)
    with pytest.raises(kinds.DataError, match="add --raw"):
        kinds.row("raw", tmp_path, None, tmp_path)


def test_the_page_shows_input_restorer_and_result(kinds, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in {source for _, _, source in kinds.KINDS.values()} - {kinds.ROSE}:
        photo.save(tmp_path / "photos" / name)
    asked = []

    def pretrained(name, **_):
        asked.append(name)
        scale = {"photo": 4, "clean": 1}[name]
        return Restoration.from_parts(
            restorer=lambda y: torch.nn.functional.interpolate(y, scale_factor=scale),
            infos={"restorer": NetworkInfo(scale=scale)},
            tau=0,
            device="cpu",
        )

    monkeypatch.setattr(kinds.Restoration, "from_pretrained", staticmethod(pretrained))
    page = tmp_path / "docs" / "photos.md"
    arguments = ["--photos", "photos", "--only", "web", "screenshot", "camera", "--write", str(page)]
    monkeypatch.setattr(sys, "argv", ["benchmarks/photo_kinds.py", *arguments])
    assert kinds.main() == 0, capsys.readouterr().err
    assert asked == ["photo", "photo", "clean"]
    text = page.read_text()
    for kind, width in (("web", 512), ("screenshot", 512), ("camera", 320)):
        assert f"(photos/{kind}.webp)" in text
        picture = Image.open(page.with_suffix("") / f"{kind}.webp")
        assert picture.width == 3 * width + 2 * 6
    assert not (page.with_suffix("") / "night.webp").exists()
    assert "(`--detail 0`), reduced to a quarter" in text
