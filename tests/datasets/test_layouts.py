"""Data sets as they are published: what is recognised, which files belong together, and every way it can be wrong."""

import json
import struct
import zlib
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from dp_ir.datasets.opening import distinct_names, open_dataset, open_datasets
from dp_ir.datasets.pairs import ImagePair
from dp_ir.errors import DataError


def save(path, width, height, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def keep(image, *, generator):
    return image


def level(image):
    """The grey value of an image that was made by `save`."""
    return round(image.mean().item() * 255)


def write_png16(path, values):
    """A 16-bit PNG of RGB or RGBA samples, put together by hand: an encoder that shares nothing with the reader."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


class TestDIV2K:
    def make(self, root, part="valid", first=801):
        for index in (first, first + 1):
            save(root / f"DIV2K_{part}_HR" / f"{index:04d}.png", 9, 8, index % 100)
            save(root / f"DIV2K_{part}_LR_bicubic" / "X4" / f"{index:04d}x4.png", 2, 2, index % 100)
            save(root / f"DIV2K_{part}_LR_bicubic" / "X2" / f"{index:04d}x2.png", 4, 4, index % 100)

    def test_valid(self, tmp_path):
        self.make(tmp_path / "DIV2K")
        self.make(tmp_path / "DIV2K", "train", 1)
        for scale in (2, 4):
            data = open_dataset(tmp_path / "DIV2K", scale=scale)
            assert (data.name, data.layout, data.names) == ("DIV2K", "DIV2K", ["0801", "0802"])
            assert [level(pair.observation) for pair in data] == [1, 2] == [level(pair.target) for pair in data]
        assert open_dataset(tmp_path / "DIV2K", scale=4, split="train").names == ["0001", "0002"]

    def test_another_scale_is_degraded_or_refused(self, tmp_path):
        self.make(tmp_path)
        degraded = open_dataset(tmp_path, scale=3, degrade=lambda image, **_: image[..., ::3, ::3])
        assert degraded.degraded_on_the_fly
        assert degraded[0].target.shape == (1, 3, 6, 9)
        with pytest.raises(DataError, match="no degradation"):
            open_dataset(tmp_path, scale=3)


class TestGoPro:
    def make(self, root, scenes=("GOPR0384_11_00", "GOPR0410_11_00"), gamma=True):
        for number, scene in enumerate(scenes):
            for index in (1, 2):
                value = 40 * number + 10 * index
                for place, extra in (("sharp", 0), ("blur", 1)) + ((("blur_gamma", 2),) if gamma else ()):
                    save(root / scene / place / f"{index:06d}.png", 6, 4, value + extra)

    @pytest.mark.parametrize("part", ["", "test"])
    def test_scenes(self, tmp_path, part):
        self.make(tmp_path / "GoPro" / part)
        data = open_dataset(tmp_path / "GoPro")
        assert (data.layout, data.scale, len(data)) == ("GoPro", 1, 4)
        assert data.names[:3] == ["GOPR0384_11_00/000001", "GOPR0384_11_00/000002", "GOPR0410_11_00/000001"]
        assert [level(pair.target) for pair in data] == [10, 20, 50, 60]
        assert [level(pair.observation) for pair in data] == [11, 21, 51, 61]

    def test_splits(self, tmp_path):
        self.make(tmp_path / "test", ["a"])
        self.make(tmp_path / "train", ["b"])
        found = {split: open_dataset(tmp_path, split=split) for split in (None, "test", "train", "blur_gamma")}
        assert {split: data.names[0] for split, data in found.items()} == {
            None: "a/000001",
            "test": "a/000001",
            "train": "b/000001",
            "blur_gamma": "a/000001",
        }
        assert level(found["blur_gamma"][0].observation) == 12
        assert level(open_dataset(tmp_path, split="train/blur_gamma")[1].observation) == 22

    def test_a_frame_without_its_partner(self, tmp_path):
        self.make(tmp_path / "test")
        (tmp_path / "test" / "GOPR0410_11_00" / "sharp" / "000002.png").unlink()
        with pytest.raises(DataError, match=r"GOPR0410_11_00/blur/000002.png' has no partner"):
            open_dataset(tmp_path)

    def test_a_missing_kind_of_blur(self, tmp_path):
        self.make(tmp_path / "test", gamma=False)
        with pytest.raises(DataError, match=r"no folder 'blur_gamma'.*blur, sharp"):
            open_dataset(tmp_path, split="blur_gamma")

    def test_another_scale_is_refused(self, tmp_path):
        self.make(tmp_path / "test")
        with pytest.raises(DataError, match=r"GoPro.*scale of 4"):
            open_dataset(tmp_path, scale=4)


class TestHIDE:
    def make(self, root):
        for part, names in (
            ("test/test-close-ups", ["1fromGOPR0"]),
            ("test/test-long-shot", ["1fromGOPR1", "2fromGOPR1"]),
            ("train", ["9fromGOPR9"]),
        ):
            for name in names:
                value = int(name[0]) * 10 + int(name[-1])
                save(root / part / f"{name}.png", 5, 4, value)
                save(root / "GT" / f"{name}.png", 5, 4, value + 100)

    @pytest.mark.parametrize(
        ("split", "values"),
        [(None, [10, 11, 21]), ("test", [10, 11, 21]), ("test-long-shot", [11, 21]), ("train", [99])],
    )
    def test_parts(self, tmp_path, split, values):
        self.make(tmp_path)
        data = open_dataset(tmp_path, split=split, scale=1)
        assert data.layout == "HIDE"
        assert [level(pair.observation) for pair in data] == values
        assert [level(pair.target) for pair in data] == [value + 100 for value in values]
        if split is None:
            assert data.names[0] == "test-close-ups/1fromGOPR0"

    def test_without_a_sharp_image(self, tmp_path):
        self.make(tmp_path)
        (tmp_path / "GT" / "2fromGOPR1.png").unlink()
        with pytest.raises(DataError, match=r"test-long-shot/2fromGOPR1.png' has no partner"):
            open_dataset(tmp_path)


class TestSyntheticBurst:
    def make(self, root, bursts=2, frames=14):
        """As OpenCV writes arrays in the order R, G, G, B and R, G, B: first and third channel change places."""
        rng = np.random.default_rng(0)
        truth = {}
        for burst in range(bursts):
            stack = rng.integers(0, 2**14 + 1, (frames, 4, 3, 4), dtype=np.uint16)
            clean = rng.integers(0, 2**14 + 1, (3, 24, 32), dtype=np.uint16)
            for index, planes in enumerate(stack):
                file = root / "bursts" / f"{burst:04d}" / f"im_raw_{index:02d}.png"
                write_png16(file, planes[[2, 1, 0, 3]].transpose(1, 2, 0))
            write_png16(root / "gt" / f"{burst:04d}" / "im_rgb.png", clean[::-1].transpose(1, 2, 0))
            truth[f"{burst:04d}"] = stack, clean
            meta = {"gains": [2.0, 1.0, 1.5], "matrix": np.eye(3).tolist()}
            (root / "gt" / f"{burst:04d}" / "meta_info.json").write_text(json.dumps(meta))
        return truth

    def test_planes_come_back_in_their_order(self, tmp_path):
        truth = self.make(tmp_path)
        data = open_dataset(tmp_path)
        assert (data.layout, data.scale, data.names) == ("SyntheticBurst", 8, ["0000", "0001"])
        for pair in data:
            stack, clean = truth[pair.name]
            assert pair.observation.shape == (1, 14, 4, 3, 4)
            np.testing.assert_array_equal(pair.observation[0].numpy() * 2**14, stack)
            light = np.clip(clean / 2**14 * np.array([2, 1, 1.5])[:, None, None], 0, 1) ** (1 / 2.2)
            np.testing.assert_allclose(pair.target[0].numpy(), 3 * light**2 - 2 * light**3, atol=1e-5)

    def test_a_burst_of_one_frame_is_a_burst(self, tmp_path):
        self.make(tmp_path, bursts=1, frames=1)
        assert open_dataset(tmp_path)[0].observation.shape == (1, 1, 4, 3, 4)

    def test_a_missing_frame(self, tmp_path):
        self.make(tmp_path, frames=3)
        (tmp_path / "bursts" / "0001" / "im_raw_01.png").unlink()
        with pytest.raises(DataError, match=r"0001/im_raw_01.png' is missing"):
            open_dataset(tmp_path)

    @pytest.mark.parametrize(("gone", "kept"), [("bursts", "gt"), ("gt", "bursts")])
    def test_a_burst_without_its_truth_and_the_reverse(self, tmp_path, gone, kept):
        self.make(tmp_path, frames=1)
        (tmp_path / gone / "0001").rename(tmp_path / "elsewhere")
        with pytest.raises(DataError, match=rf"{kept}/0001' has no"):
            open_dataset(tmp_path)

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            (np.zeros((3, 4, 3), np.uint16), "3 channels of uint16, expected 4"),
            (np.full((3, 4, 4), 2**15, np.uint16), "32768, expected at most 16384"),
            (np.zeros((2, 4, 4), np.uint16), "4x2 pixels in 4 channels, but the first"),
        ],
    )
    def test_a_frame_that_is_another_thing(self, tmp_path, values, sentence):
        self.make(tmp_path, frames=2)
        write_png16(tmp_path / "bursts" / "0000" / "im_raw_01.png", values)
        with pytest.raises(DataError, match=rf"0000/im_raw_01.png'.*{sentence}"):
            open_dataset(tmp_path)[0]

    def test_a_frame_that_is_cut_off(self, tmp_path):
        self.make(tmp_path, frames=1)
        file = tmp_path / "bursts" / "0000" / "im_raw_00.png"
        file.write_bytes(file.read_bytes()[:60])
        with pytest.raises(DataError, match=r"im_raw_00\.png' cannot be read"):
            open_dataset(tmp_path)[0]


class TestREDS:
    def make(self, root, part="val", reduced=True):
        for scene in ("000", "001"):
            for frame in range(2):
                name, value = f"{scene}/{frame:08d}.png", 40 * int(scene) + 10 * frame
                save(root / f"{part}_sharp" / name, 8, 8, value)
                for kind, extra in (("blur", 1), ("blur_comp", 2)):
                    save(root / f"{part}_{kind}" / name, 8, 8, value + extra)
                if reduced:
                    save(root / f"{part}_sharp_bicubic" / "X4" / name, 2, 2, value + 3)

    @pytest.mark.parametrize("part", ["", "val"])
    def test_frames_of_scenes(self, tmp_path, part):
        self.make(tmp_path / "REDS" / part)
        data = open_dataset(tmp_path / "REDS", scale=1)
        assert (data.layout, data.scale) == ("REDS", 1)
        assert data.names == ["000/00000000", "000/00000001", "001/00000000", "001/00000001"]
        assert [level(pair.target) for pair in data] == [0, 10, 40, 50]
        assert [level(pair.observation) for pair in data] == [1, 11, 41, 51]

    def test_other_parts(self, tmp_path):
        self.make(tmp_path / "train", "train")
        assert level(open_dataset(tmp_path, split="train")[1].observation) == 11
        assert level(open_dataset(tmp_path, split="train/blur_comp")[1].observation) == 12
        assert level(open_dataset(tmp_path, split="train", scale=4)[1].observation) == 13

    def test_a_part_without_its_observations(self, tmp_path):
        self.make(tmp_path, reduced=False)
        with pytest.raises(DataError, match=r"no folder 'val_sharp_bicubic/X4', only the folders val_blur, val_blur_c"):
            open_dataset(tmp_path, scale=4)

    def test_a_frame_without_its_partner(self, tmp_path):
        self.make(tmp_path)
        (tmp_path / "val_blur" / "001" / "00000001.png").unlink()
        with pytest.raises(DataError, match=r"val_sharp/001/00000001.png' has no partner in .*val_blur'"):
            open_dataset(tmp_path)


class TestRealBlur:
    FOLDERS: ClassVar = {
        "J": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref",
        "R": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref",
    }

    def make(self, root, cameras="JR"):
        for number, camera in enumerate(cameras):
            for part, scene in (("test", "scene007"), ("train", "scene050")):
                lines = []
                for image in (8, 11):
                    places = [f"{self.FOLDERS[camera]}/{scene}/{kind}/{kind}_{image}.png" for kind in ("gt", "blur")]
                    for place, extra in zip(places, (0, 1), strict=True):
                        save(root / place, 5, 4, 100 * number + 2 * image + extra)
                    lines.append(" ".join(places))
                (root / f"RealBlur_{camera}_{part}_list.txt").write_text("\n".join(lines) + "\n")

    @pytest.mark.parametrize(
        ("split", "names", "values"),
        [
            (None, ["scene007/8", "scene007/11"], [17, 23]),
            ("train", ["scene050/8", "scene050/11"], [17, 23]),
            ("R", ["scene007/8", "scene007/11"], [117, 123]),
            ("R/train", ["scene050/8", "scene050/11"], [117, 123]),
        ],
    )
    def test_what_the_lists_name(self, tmp_path, split, names, values):
        self.make(tmp_path)
        data = open_dataset(tmp_path, split=split)
        assert (data.layout, data.names) == ("RealBlur", names)
        assert [level(pair.observation) for pair in data] == values
        assert [level(pair.target) + 1 for pair in data] == values

    def test_where_only_the_other_camera_is_there(self, tmp_path):
        self.make(tmp_path, "R")
        assert level(open_dataset(tmp_path)[0].target) == 16
        with pytest.raises(DataError, match="no part 'J'"):
            open_dataset(tmp_path, split="J")

    def test_a_missing_image(self, tmp_path):
        self.make(tmp_path)
        (tmp_path / self.FOLDERS["J"] / "scene007" / "blur" / "blur_11.png").unlink()
        with pytest.raises(DataError, match=r"RealBlur_J_test_list.txt' names '.*blur_11.png', which is not there"):
            open_dataset(tmp_path)

    @pytest.mark.parametrize(("text", "sentence"), [("one.png", "the line 'one.png', expected"), ("", "no images")])
    def test_a_list_that_is_none(self, tmp_path, text, sentence):
        (tmp_path / "RealBlur_J_test_list.txt").write_text(text)
        with pytest.raises(DataError, match=sentence):
            open_dataset(tmp_path)


class TestZurich:
    def make(self, root):
        rng = np.random.default_rng(0)
        mosaics = rng.integers(0, 2**10, (2, 6, 8), dtype=np.uint16)
        for index, mosaic in enumerate(mosaics):
            save(root / "canon" / f"{index}.png", 8, 6, 10 * index)
            (root / "huawei_raw").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mosaic).save(root / "huawei_raw" / f"{index}.png")
        return mosaics

    def test_mosaics_and_photographs(self, tmp_path):
        mosaics = self.make(tmp_path / "test")
        data = open_dataset(tmp_path)
        assert (data.layout, data.scale, data.names) == ("Zurich", 2, ["0", "1"])
        for pair, mosaic in zip(data, mosaics, strict=True):
            assert pair.observation.shape == (1, 4, 3, 4)
            planes = [mosaic[row::2, column::2] for row in (0, 1) for column in (0, 1)]
            np.testing.assert_allclose(pair.observation[0].numpy() * 1023, planes, atol=1e-3)

    @pytest.mark.parametrize("part", ["train", "."])
    def test_photographs_alone_are_degraded(self, tmp_path, part):
        self.make(tmp_path / part)
        data = open_dataset(tmp_path, scale=1, degrade=keep, split=None if part == "." else part)
        assert data.degraded_on_the_fly
        assert [level(pair.target) for pair in data] == [0, 10]

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [(np.full((6, 8), 1024, np.uint16), "up to 1024, expected"), (np.zeros((6, 8), np.uint8), "uint8")],
    )
    def test_a_mosaic_that_is_another_thing(self, tmp_path, values, sentence):
        self.make(tmp_path)
        Image.fromarray(values).save(tmp_path / "huawei_raw" / "0.png")
        with pytest.raises(DataError, match=sentence):
            open_dataset(tmp_path)[0]


class TestPlainPairs:
    @pytest.mark.parametrize("target", ["gt", "HR", "sharp", "target", "clean"])
    @pytest.mark.parametrize("observation", ["lq", "LR", "blur", "input", "noisy", "LR_x1", "LR_bicubic/X1"])
    def test_folders_by_any_usual_name(self, tmp_path, target, observation):
        save(tmp_path / target / "a.png", 5, 4, 9)
        save(tmp_path / observation / "a.png", 5, 4, 7)
        (pair,) = open_dataset(tmp_path)
        assert (pair.name, level(pair.target), level(pair.observation)) == ("a", 9, 7)

    def test_sub_folders_keep_their_names(self, tmp_path):
        for scene in ("000", "001"):
            save(tmp_path / "sharp" / scene / "00000000.png", 5, 4, int(scene))
            save(tmp_path / "blur" / scene / "00000000.png", 5, 4, int(scene) + 50)
        data = open_dataset(tmp_path, scale=1)
        assert data.names == ["000/00000000", "001/00000000"]
        assert [(level(pair.target), level(pair.observation)) for pair in data] == [(0, 50), (1, 51)]

    def test_the_folder_of_the_scale_wins(self, tmp_path):
        save(tmp_path / "HR" / "a.png", 8, 8, 1)
        for scale in (2, 4):
            save(tmp_path / f"LR_x{scale}" / "a.png", 8 // scale, 8 // scale, scale)
        save(tmp_path / "LR" / "a.png", 3, 3)
        assert [level(open_dataset(tmp_path, scale=scale)[0].observation) for scale in (2, 4)] == [2, 4]

    def test_in_a_part_of_the_data_set(self, tmp_path):
        for part, value in (("test", 1), ("train", 2)):
            save(tmp_path / part / "input" / "a.png", 5, 4, value)
            save(tmp_path / part / "target" / "a.png", 5, 4, value)
        assert level(open_dataset(tmp_path)[0].target) == 1
        assert level(open_dataset(tmp_path, split="train")[0].target) == 2
        with pytest.raises(DataError, match=r"no part 'val'.*test, train"):
            open_dataset(tmp_path, split="val")

    def test_two_folders_for_one_role(self, tmp_path):
        for place in ("gt", "hr", "lq"):
            save(tmp_path / place / "a.png", 5, 4)
        with pytest.raises(DataError, match="several folders that could hold the targets: hr, gt"):
            open_dataset(tmp_path)

    def test_files_that_systems_leave_are_no_images(self, tmp_path):
        save(tmp_path / "gt" / "a.png", 5, 4)
        save(tmp_path / "lq" / "a.png", 5, 4)
        (tmp_path / "gt" / "._a.png").write_bytes(b"left by a file system")
        assert open_dataset(tmp_path).names == ["a"]

    def test_not_an_image(self, tmp_path):
        save(tmp_path / "gt" / "a.png", 5, 4)
        (tmp_path / "lq").mkdir()
        (tmp_path / "lq" / "a.png").write_bytes(b"no image at all")
        with pytest.raises(DataError, match=r"lq/a.png'"):
            open_dataset(tmp_path)[0]


class TestSeveral:
    def test_equal_names_are_told_apart(self, tmp_path):
        for place in ("GoPro/test", "HIDE/test", "Set5"):
            save(tmp_path / place / "a.png", 4, 4)
        opened = open_datasets([tmp_path / name for name in ("GoPro/test", "HIDE/test", "Set5")], degrade=keep)
        assert [data.name for data in opened] == ["test (GoPro)", "test (HIDE)", "Set5"]
        assert isinstance(opened[0][0], ImagePair)

    def test_as_many_parents_as_it_takes(self, tmp_path):
        names = distinct_names([tmp_path / place for place in ("a/x/set", "b/x/set", "b/y/set", "other")])
        assert names == ["set (a-x)", "set (b-x)", "set (y)", "other"]

    def test_a_path_with_dots_has_the_name_of_the_folder(self, tmp_path, monkeypatch):
        save(tmp_path / "Set5" / "a.png", 4, 4)
        monkeypatch.chdir(tmp_path / "Set5")
        assert open_dataset(".", degrade=keep).name == "Set5"

    def test_the_same_folder_twice(self, tmp_path):
        save(tmp_path / "a.png", 4, 4)
        with pytest.raises(DataError, match="named 2 times"):
            open_datasets([tmp_path, tmp_path / "." / "../" / tmp_path.name], degrade=keep)
