"""Image pairs from folders: which files belong together, the crop, and every way a folder can be wrong."""

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.datasets.opening import open_dataset
from dp_ir.datasets.pairs import mod_crop
from dp_ir.errors import DataError


def save(path, width, height, value=None, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(width * 1000 + height)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8) if value is None else np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def halve(image, generator=None):
    return torch.nn.functional.avg_pool2d(image, 2)


@pytest.mark.parametrize(
    ("high", "low"),
    [
        ("a.png", "a.png"),
        ("img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png"),
        ("0801.png", "0801x4.png"),
        ("b_GT.png", "b_LQ_x4.bmp"),
    ],
)
def test_names_that_belong_together(tmp_path, high, low):
    target = save(tmp_path / "HR" / high, 23, 17)
    observation = save(tmp_path / "LR_x4" / low, 5, 4)
    (pair,) = open_dataset(tmp_path, scale=4)
    np.testing.assert_allclose(pair.target[0].permute(1, 2, 0).numpy() * 255, target[:16, :20], atol=1e-3)
    np.testing.assert_allclose(pair.observation[0].permute(1, 2, 0).numpy() * 255, observation, atol=1e-3)


def test_equal_names_are_not_read_as_roles(tmp_path):
    for name in ("photo_x2.png", "photo_x3.png"):
        save(tmp_path / "HR" / name, 8, 8)
        save(tmp_path / "LR_x2" / name, 4, 4)
    assert [pair.name for pair in open_dataset(tmp_path, scale=2)] == ["photo_x2", "photo_x3"]


def test_pairs_keep_their_order_and_their_partner(tmp_path):
    for index, name in enumerate(("c", "a", "b")):
        save(tmp_path / "HR" / f"{name}_HR.png", 8, 8, 10 * index)
        save(tmp_path / "LR_x4" / f"{name}_LR.png", 2, 2, 10 * index)
    pairs = open_dataset(tmp_path, scale=4)
    assert len(pairs) == 3
    assert [round(pair.target.mean().item() * 255) for pair in pairs] == [10, 20, 0]
    for pair in pairs:
        assert pair.target.mean() == pytest.approx(pair.observation.mean())


def test_plain_folder_is_degraded_on_the_fly(tmp_path):
    pixels = save(tmp_path / "set" / "a.png", 9, 7)
    (tmp_path / "set" / "notes.txt").write_text("not an image")
    pairs = open_dataset(tmp_path / "set", scale=2, degrade=halve)
    assert pairs.degraded_on_the_fly
    assert pairs.name == "set"
    (pair,) = pairs
    assert pair.target.shape == (1, 3, 6, 8)
    np.testing.assert_allclose(pair.target[0].permute(1, 2, 0).numpy() * 255, pixels[:6, :8], atol=1e-3)
    torch.testing.assert_close(pair.observation, halve(pair.target))


def test_paired_files_win_over_a_degradation(tmp_path):
    save(tmp_path / "HR" / "a.png", 8, 8)
    save(tmp_path / "LR_x2" / "a.png", 4, 4, 7)
    pairs = open_dataset(tmp_path, scale=2, degrade=halve)
    assert not pairs.degraded_on_the_fly
    assert pairs[0].observation.mean().item() * 255 == pytest.approx(7)


def test_targets_alone_in_HR_are_degraded(tmp_path):
    save(tmp_path / "HR" / "a.png", 8, 8)
    assert open_dataset(tmp_path, scale=2, degrade=halve)[0].observation.shape == (1, 3, 4, 4)


def test_grey_becomes_three_equal_channels(tmp_path):
    save(tmp_path / "a.png", 6, 6, mode="L")
    target = open_dataset(tmp_path, degrade=lambda clean, **_: clean)[0].target
    assert target.shape == (1, 3, 6, 6)
    assert torch.equal(target[:, 0], target[:, 2])


def test_mod_crop():
    assert mod_crop(torch.zeros(1, 3, 11, 8), 4).shape == (1, 3, 8, 8)


class TestWrongFolders:
    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match="no folder"):
            open_dataset(tmp_path / "absent", scale=4)

    def test_empty(self, tmp_path):
        with pytest.raises(DataError, match="holds no images"):
            open_dataset(tmp_path, scale=2, degrade=halve)

    def test_neither_pairs_nor_degradation(self, tmp_path):
        save(tmp_path / "a.png", 8, 8)
        with pytest.raises(DataError, match=r"'LR_x4'.*no degradation"):
            open_dataset(tmp_path, scale=4)

    @pytest.mark.parametrize("lonely", ["HR", "LR_x2"])
    def test_unpaired(self, tmp_path, lonely):
        save(tmp_path / "HR" / "a.png", 8, 8)
        save(tmp_path / "LR_x2" / "a.png", 4, 4)
        save(tmp_path / lonely / "b.png", 8, 8)
        with pytest.raises(DataError, match=r"b\.png' has no partner.*1 such"):
            open_dataset(tmp_path, scale=2)

    def test_ambiguous(self, tmp_path):
        save(tmp_path / "HR" / "a_HR.png", 8, 8)
        save(tmp_path / "HR" / "a_GT.png", 8, 8)
        save(tmp_path / "LR_x2" / "a_LR.png", 4, 4)
        with pytest.raises(DataError, match="same name 'a'"):
            open_dataset(tmp_path, scale=2)

    def test_sizes_that_do_not_fit(self, tmp_path):
        save(tmp_path / "HR" / "a.png", 12, 8)
        save(tmp_path / "LR_x2" / "a.png", 5, 4)
        with pytest.raises(DataError, match=r"5x4 pixels.*must have 10x8.*has 12x8"):
            open_dataset(tmp_path, scale=2)[0]

    def test_smaller_than_the_scale(self, tmp_path):
        save(tmp_path / "a.png", 8, 3)
        with pytest.raises(DataError, match="smaller than the scale 4"):
            open_dataset(tmp_path, scale=4, degrade=lambda clean, **_: clean)[0]

    def test_not_an_image(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"no image at all")
        with pytest.raises(DataError, match=r"a\.png'"):
            open_dataset(tmp_path, degrade=lambda clean, **_: clean)[0]
