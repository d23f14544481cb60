"""Synthetic sets: what is written, that seeds and names decide it, and that it is made once."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.degradation.chance import image_generator
from dp_ir.degradation.synthetic_burst import synthetic_burst
from dp_ir.errors import DataError
from dp_ir.image.raw.synthetic_burst import read_camera, read_frame, read_truth
from dp_ir.tasks.sr4.task import SR4, degrade
from dp_ir.tasks.synthesis import synthesise
from dp_ir.tasks.task import Task


def speckle(clean, *, generator=None):
    return (clean + 0.2 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)


SPECKLE = Task(name="speckle", title="noise", scale=1, channels=3, degrade=speckle, border=0)
BURST = Task(name="burst", title="bursts", scale=8, channels=4, degrade=synthetic_burst, border=8)


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name, size in (("b.png", (22, 17)), ("a.png", (30, 25)), ("trip/c.png", (20, 20))):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def pixels(path):
    return np.asarray(Image.open(path))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pairs_of_images(photos, tmp_path):
    done = list(synthesise(SR4, photos, tmp_path / "set"))
    assert [(pair.name, pair.error, pair.existed) for pair in done] == [
        (name, None, False) for name in ("a", "b", "trip-c")
    ]
    clean = pixels(tmp_path / "set" / "gt" / "b.png")
    np.testing.assert_array_equal(clean, pixels(photos / "b.png")[:20, :16])
    expected = degrade(torch.from_numpy(clean / 255.0).permute(2, 0, 1)[None].float())
    observed = pixels(tmp_path / "set" / "lq" / "b.png")
    np.testing.assert_array_equal(observed, (expected[0].permute(1, 2, 0) * 255).round().byte().numpy())


def test_the_centre_of_large_images(photos, tmp_path):
    list(synthesise(SPECKLE, photos, tmp_path / "set", crop=21))
    np.testing.assert_array_equal(pixels(tmp_path / "set" / "gt" / "a.png"), pixels(photos / "a.png")[4:25, 2:23])
    assert pixels(tmp_path / "set" / "gt" / "b.png").shape == (21, 17, 3)


def test_seed_and_name_decide_and_nothing_else(photos, tmp_path):
    list(synthesise(SPECKLE, photos, tmp_path / "all"))
    (photos / "a.png").unlink()
    list(synthesise(SPECKLE, photos, tmp_path / "fewer"))
    list(synthesise(SPECKLE, photos, tmp_path / "other", seed=1))
    same, other = (contents(tmp_path / name) for name in ("all", "other"))
    assert contents(tmp_path / "fewer").items() <= same.items()
    assert same["gt/b.png"] == other["gt/b.png"]
    assert same["lq/b.png"] != other["lq/b.png"]
    noise = pixels(tmp_path / "all" / "lq" / "b.png") / 255 - pixels(photos / "b.png") / 255
    expected = speckle(torch.full((1, 3, 22, 17), 0.5), generator=image_generator("b")) - 0.5
    assert np.corrcoef(noise.ravel(), expected[0].permute(1, 2, 0).numpy().ravel())[0, 1] > 0.8


def test_what_is_there_is_not_made_again(photos, tmp_path):
    list(synthesise(SPECKLE, photos, tmp_path / "set", limit=2))
    before = contents(tmp_path / "set")
    assert {name for name in before if name.startswith("gt")} == {"gt/a.png", "gt/b.png"}
    (tmp_path / "set" / "lq" / "b.png").unlink()
    (tmp_path / "set" / "gt" / "a.png").write_bytes(b"another")
    done = list(synthesise(SPECKLE, photos, tmp_path / "set"))
    assert [pair.existed for pair in done] == [True, False, False]
    after = contents(tmp_path / "set")
    assert after["lq/b.png"] == before["lq/b.png"]
    assert after["gt/a.png"] == b"another"


def test_bursts(photos, tmp_path):
    list(synthesise(BURST, photos / "a.png", tmp_path / "set"))
    clean = torch.from_numpy(pixels(photos / "a.png")[:24, :24] / 255.0).permute(2, 0, 1)[None].float()
    burst = synthetic_burst(clean, generator=image_generator("a"))
    folder = tmp_path / "set" / "gt" / "a"
    camera = read_camera(folder / "im_rgb.png")
    torch.testing.assert_close(camera.gains, burst.camera.gains)
    torch.testing.assert_close(camera.matrix, burst.camera.matrix)
    frames = sorted((tmp_path / "set" / "bursts" / "a").iterdir())
    stored = torch.cat([read_frame(frame) for frame in frames], dim=1)[0]
    torch.testing.assert_close(stored, burst.frames, atol=0.51 / 2**14, rtol=0)
    truth = read_truth(folder / "im_rgb.png")
    torch.testing.assert_close(truth, camera.sensor(clean).clamp(0, 1), atol=1.1 / 2**14, rtol=0)
    (pair,) = synthesise(BURST, photos / "a.png", tmp_path / "set")
    assert pair.existed


def test_a_burst_that_is_not_whole_is_made_again(photos, tmp_path):
    list(synthesise(BURST, photos / "a.png", tmp_path / "set"))
    before = contents(tmp_path / "set")
    (tmp_path / "set" / "gt" / "a" / "meta_info.json").unlink()
    (pair,) = synthesise(BURST, photos / "a.png", tmp_path / "set")
    assert not pair.existed
    assert contents(tmp_path / "set") == before


def test_one_bad_image_ends_nothing(photos, tmp_path):
    (photos / "broken.png").write_bytes(b"no image")
    Image.new("RGB", (3, 9)).save(photos / "small.png")
    errors = {pair.name: pair.error for pair in synthesise(SR4, photos, tmp_path / "set")}
    assert [name for name, error in errors.items() if error is None] == ["a", "b", "trip-c"]
    assert "broken.png" in errors["broken"]
    assert "small.png" in errors["small"]
    assert "too small for sr4" in errors["small"]


class TestRefusals:
    def test_another_set_is_there(self, photos, tmp_path):
        list(synthesise(SPECKLE, photos, tmp_path / "set"))
        assert json.loads((tmp_path / "set" / "synthetic.json").read_text()) == {
            "task": "speckle",
            "seed": 0,
            "crop": None,
        }
        with pytest.raises(DataError, match=r'"seed": 0.*"seed": 1.* another folder'):
            list(synthesise(SPECKLE, photos, tmp_path / "set", seed=1))

    def test_the_set_among_its_images(self, photos):
        with pytest.raises(DataError, match="lies in"):
            list(synthesise(SPECKLE, photos, photos / "set"))

    @pytest.mark.parametrize(("folder", "sentence"), [("none", "does not exist"), ("empty", "holds no images")])
    def test_no_images(self, tmp_path, folder, sentence):
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match=sentence):
            list(synthesise(SPECKLE, tmp_path / folder, tmp_path / "set"))

    def test_two_of_one_name(self, photos, tmp_path):
        Image.new("RGB", (30, 30)).save(photos / "a.bmp")
        with pytest.raises(DataError, match=r"a\.bmp' and .*a\.png' would both be the pair 'a'"):
            list(synthesise(SPECKLE, photos, tmp_path / "set"))
