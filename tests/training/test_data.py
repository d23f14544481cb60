import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.batch.finding import find
from dp_ir.batch.output import output_of
from dp_ir.datasets.pairing import images_below
from dp_ir.errors import DataError
from dp_ir.training.data import Companion, Patches, StepBatches, is_held_out, split, validation_crops
from dp_ir.training.recipe import NoiseRecipe
from dp_ir.training.store import ImageStore, StoreWriter, default_cache, image_files, named_images, open_store


def _store(path: Path, images: list[np.ndarray], dtype: str = "uint8") -> ImageStore:
    with StoreWriter(path, dtype) as writer:
        for number, image in enumerate(images):
            writer.add(f"image_{number}", image)
    return ImageStore(path)


@pytest.fixture
def clean(tmp_path: Path) -> ImageStore:
    rng = np.random.default_rng(0)
    return _store(tmp_path / "clean.raw", [rng.integers(0, 256, (40 + 8 * i, 64, 3)) for i in range(4)])


def test_store_holds_what_the_files_hold(photos: Path, tmp_path: Path) -> None:
    store = open_store(photos, tmp_path, named_images(photos))
    for number, place in enumerate(store.images):
        expected = np.asarray(Image.open(photos / place.name), dtype=np.float32) / 255
        np.testing.assert_allclose(store.crop(number, 3, 5, 20, 30), expected[3:23, 5:35].transpose(2, 0, 1), atol=1e-7)


def test_store_is_decoded_once_and_again_when_the_folder_changes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "a.png")
    first = open_store(folder, tmp_path / "cache", named_images(folder))
    assert open_store(folder, tmp_path / "cache", named_images(folder)).key == first.key
    Image.new("RGB", (8, 8), (0, 0, 255)).save(folder / "b.png")
    second = open_store(folder, tmp_path / "cache", named_images(folder))
    assert (len(first), len(second)) == (1, 2)
    assert not list((tmp_path / "cache").glob("*.partial"))


def test_split_depends_on_the_name_alone_and_has_the_asked_share(photos: Path, tmp_path: Path) -> None:
    names = [f"some/folder/{i}.png" for i in range(4000)]
    assert np.mean([is_held_out(name, 0.06) for name in names]) == pytest.approx(0.06, abs=0.012)
    assert [is_held_out(n, 0.06) for n in names[::-1]] == [is_held_out(n, 0.06) for n in names][::-1]
    # Whoever is held out at a small fraction is also held out at a larger one.
    assert all(is_held_out(n, 0.2) for n in names if is_held_out(n, 0.06))
    training, held_out = split([path.name for path in sorted(photos.iterdir())], 0.3)
    assert not set(training) & set(held_out)
    assert sorted(training + held_out) == list(range(12))


def test_split_that_leaves_one_side_empty_is_refused() -> None:
    with pytest.raises(DataError, match="0 would be held out"):
        split(["a.png", "b.png"], 1e-9)


def test_sample_is_a_function_of_seed_and_number(clean: ImageStore) -> None:
    def sample(seed: int, number: int) -> dict[str, torch.Tensor]:
        return Patches(clean, range(4), patch=16, align=1, noise=NoiseRecipe(), seed=seed)[number]

    for name, value in sample(1, 5).items():
        assert torch.equal(value, sample(1, 5)[name])
        assert not torch.equal(value, sample(1, 6)[name])
        assert not torch.equal(value, sample(2, 5)[name])


def test_noise_levels_follow_the_recipe(clean: ImageStore) -> None:
    noise = NoiseRecipe(median=0.1, log_std=0.5, low=0.05, high=0.3)
    patches = Patches(clean, range(4), patch=4, align=1, noise=noise)
    sigma = torch.stack([patches[i]["sigma"] for i in range(600)])
    assert 0.05 <= sigma.min() < 0.06
    assert 0.25 < sigma.max() <= 0.3
    assert sigma.median() == pytest.approx(0.1, rel=0.1)
    eps = torch.stack([patches[i]["eps"] for i in range(200)])
    assert eps.std() == pytest.approx(1, abs=0.03)


def test_times_of_bridges_are_uniform_and_never_0(clean: ImageStore) -> None:
    patches = Patches(clean, range(4), patch=4, align=1, bridge=True)
    t = torch.stack([patches[i]["t"] for i in range(600)])
    assert 0 < t.min() < 0.02
    assert 0.98 < t.max() <= 1
    assert t.mean() == pytest.approx(0.5, abs=0.04)
    assert torch.stack([patches[i]["eps"] for i in range(200)]).std() == pytest.approx(1, abs=0.03)


def test_companions_are_cut_at_the_same_place_and_turned_alike(tmp_path: Path) -> None:
    y, x = np.mgrid[0:48, 0:64]
    image = np.stack([x * 4, y * 4, x + y], -1).astype(np.uint8)
    clean = _store(tmp_path / "clean.raw", [image])
    restored = _store(tmp_path / "restored.raw", [(image / 255).astype(np.float16)], "float16")
    observation = _store(tmp_path / "observation.raw", [image[::4, ::4]])
    patches = Patches(
        clean,
        [0],
        patch=16,
        align=4,
        companions=[Companion("restored", restored, 1), Companion("observation", observation, 4)],
    )
    corners = set()
    for number in range(40):
        sample = patches[number]
        torch.testing.assert_close(sample["restored"], sample["clean"], atol=1e-3, rtol=0)
        assert sample["observation"].shape == (3, 4, 4)
        # Each coarse pixel is one of the four corners of its 4x4 block, which one depends on how the patch was turned.
        blocks = sample["clean"].unfold(1, 4, 4).unfold(2, 4, 4)
        matches = [(i, j) for i in (0, 3) for j in (0, 3) if torch.equal(blocks[..., i, j], sample["observation"])]
        assert len(matches) == 1
        corners.add(matches[0])
    assert len(corners) == 4


def test_processes_share_each_step() -> None:
    alone = list(StepBatches(3, 7, 8))
    shares = [list(StepBatches(3, 7, 8, process, 2)) for process in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == alone
    assert alone[0] == list(range(24, 32))
    with pytest.raises(DataError, match="multiple of 3"):
        StepBatches(0, 1, 8, 0, 3)


def test_validation_crops_are_central_and_aligned(clean: ImageStore) -> None:
    crops, small = validation_crops(clean, [0, 3], count=2, sides=range(4, 31, 4), align=4)
    assert (len(crops), small) == (2, [])
    for number, top, left, side in crops:
        place = clean.images[number]
        assert (top % 4, left % 4, side) == (0, 0, 28)
        assert abs(2 * top + side - place.height) <= 8
        assert abs(2 * left + side - place.width) <= 8


@pytest.mark.parametrize(
    ("sides", "border", "found", "left_out"),
    [
        (range(8, 33, 8), 0, [32, 32, 32], []),
        (range(8, 65, 8), 0, [40, 48, 56], []),  # heights are 40, 48, 56 and 64
        (range(48, 65, 8), 0, [48, 56, 64], [0]),
        (range(16, 33, 16), 16, [48, 48, 64], [0]),  # 16 + 2 x 16 pixels at least
        (range(64, 65), 1, [], [0, 1, 2, 3]),
    ],
)
def test_images_without_room_for_a_crop_are_set_aside(
    sides: range, border: int, found: list[int], left_out: list[int], clean: ImageStore
) -> None:
    crops, small = validation_crops(clean, range(4), count=3, sides=sides, border=border, align=1)
    assert ([side for *_, side in crops], small) == (found, left_out)


def test_patch_larger_than_every_image_is_refused(clean: ImageStore) -> None:
    with pytest.raises(DataError, match=r"smaller data\.patch"):
        Patches(clean, range(4), patch=256, align=1)


def test_the_images_are_those_that_restore_would_take(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    for name in ("b.png", "sub/a.jpg", ".hidden.png", "._b.png", ".thumbnails/b.png", "sub/.cache/deep/c.png", "scan"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name, "PNG")
    (folder / "x.txt").write_text("text")
    taken = [path.relative_to(folder).as_posix() for path in image_files(folder)]
    assert taken == ["b.png", "scan", "sub/a.jpg"]  # the content tells
    found = find([folder], output_of(tmp_path / "out"), bursts=False).found.values()
    assert sorted(str(entry.source) for entry in found) == [str(folder / name) for name in taken]
    assert [path.name for path in images_below(folder)] == ["b.png", "a.jpg"]


def test_all_files_that_cannot_be_trained_on_are_named_at_once(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-20])
    (tmp_path / "c.jpg").write_text("no image")
    (tmp_path / "d.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(
        DataError, match=r"3 of 4 images in .* b\.png \(.*damaged.*\), c\.jpg \(.*\), d\.png \(does not"
    ) as e:
        open_store(tmp_path, tmp_path / "cache", named_images(tmp_path))
    assert str(tmp_path / "a.png") not in str(e.value)
    assert not list((tmp_path / "cache").iterdir())


def test_a_store_is_known_by_its_images_wherever_they_lie(photos: Path, tmp_path: Path) -> None:
    first = open_store(photos, tmp_path / "cache", named_images(photos))
    shutil.copytree(photos, tmp_path / "copy")
    copy = open_store(tmp_path / "copy", tmp_path / "cache", named_images(tmp_path / "copy"))
    assert copy.key != first.key
    assert copy.identity == first.identity
    index = tmp_path / "cache" / f"{copy.key}.json"
    content = json.loads(index.read_text())
    del content["sha256"]  # as stores of before were written
    index.write_text(json.dumps(content))
    assert ImageStore(index.with_suffix(".raw")).identity == first.identity
    pixels = np.array(Image.open(tmp_path / "copy" / "photo_00.png"))
    pixels[5, 5] ^= 1
    Image.fromarray(pixels).save(tmp_path / "copy" / "photo_00.png")
    changed = open_store(tmp_path / "copy", tmp_path / "cache", named_images(tmp_path / "copy"))
    assert changed.identity != first.identity


def test_without_a_home_a_cache_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(DataError, match=r"no home folder .* name a folder for them \(data\.cache\)"):
        default_cache()


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no image"):
        image_files(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        image_files(tmp_path / "missing")
