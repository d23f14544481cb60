"""Averaged frames against sums of light computed by hand, and clips of files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.degradation.frame_averaging import RESPONSES, average_clips, average_frames
from dp_ir.errors import DataError
from dp_ir.image import read_image
from dp_ir.image.picture.colour import srgb_decode, srgb_encode

ROW = np.random.default_rng(0).integers(0, 256, (8, 200, 3), dtype=np.uint8)


def frame(shift: int, width: int = 12) -> np.ndarray:
    return ROW[:, shift : shift + width]


def write_clip(folder: Path, count: int, *, first: int = 0, suffix: str = ".png", pad: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.fromarray(frame(number)).save(folder / f"frame{number:0{pad}d}{suffix}")
    return folder


def light(values: np.ndarray) -> np.ndarray:
    return (values / 255.0) ** 2.2


def values(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_the_sum_of_light_by_hand() -> None:
    stack = np.stack([frame(shift) for shift in range(5)])
    averaged = average_frames(torch.from_numpy(stack / 255.0).permute(0, 3, 1, 2))
    expected = light(stack).mean(0) ** (1 / 2.2)
    np.testing.assert_allclose(averaged[0].permute(1, 2, 0).numpy(), expected, atol=1e-12)


def test_a_response_is_that_of_the_image_floor() -> None:
    """The curve of sRGB exists twice, for arrays and tensors; both must be the same."""
    every = torch.linspace(0, 1, 1001, dtype=torch.float64)
    srgb = RESPONSES["srgb"]
    np.testing.assert_allclose(srgb.decode(every).numpy(), srgb_decode(every.numpy()), atol=1e-7)
    np.testing.assert_allclose(srgb.encode(every).numpy(), srgb_encode(every.numpy()), atol=1e-7)


@pytest.mark.parametrize("response", RESPONSES)
def test_responses_have_a_way_back_and_still_scenes_stay(response: str) -> None:
    image = torch.rand(1, 3, 5, 7, dtype=torch.float64)
    curve = RESPONSES[response]
    torch.testing.assert_close(curve.encode(curve.decode(image)), image, atol=1e-6, rtol=0)
    torch.testing.assert_close(average_frames(image.expand(7, 3, 5, 7), response=response), image, atol=1e-6, rtol=0)


def test_lights_leave_bright_streaks() -> None:
    """A point of light in one of three frames is brighter in linear light than in the mean of the values."""
    frames = torch.zeros(3, 3, 1, 1)
    frames[1] = 1
    assert average_frames(frames, response="none")[0, 0, 0, 0].item() == pytest.approx(1 / 3)
    assert average_frames(frames, response="gamma")[0, 0, 0, 0].item() == pytest.approx((1 / 3) ** (1 / 2.2))
    assert average_frames(frames, response="srgb")[0, 0, 0, 0].item() == pytest.approx(
        1.055 * (1 / 3) ** (1 / 2.4) - 0.055
    )


@pytest.mark.parametrize("count", [0, 2, 6])
def test_even_windows_have_no_middle(count: int) -> None:
    with pytest.raises(DataError, match=rf"^{count} frames .* odd number.* take {count + 1}\.$"):
        average_frames(torch.rand(count, 3, 2, 2))


def test_unknown_responses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no camera response 'film'.*gamma, srgb, none"):
        average_frames(torch.rand(3, 3, 2, 2), response="film")
    with pytest.raises(DataError, match="no camera response 'film'"):
        average_clips(write_clip(tmp_path / "clip", 3), tmp_path / "out", window=3, response="film")


def test_pairs_of_a_clip_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    """frame2 comes before frame10, and every frame is used once."""
    clip, out, names = write_clip(tmp_path / "clip", 12), tmp_path / "out", list[str]()
    assert average_clips(clip, out, window=3, watch=names.append) == 4
    assert names == ["frame1", "frame4", "frame7", "frame10"]
    for name, middle in zip(names, (1, 4, 7, 10), strict=True):
        np.testing.assert_array_equal(values(out / "gt" / f"{name}.png"), frame(middle))
        expected = np.mean([light(frame(middle + step)) for step in (-1, 0, 1)], axis=0) ** (1 / 2.2)
        assert np.abs(values(out / "lq" / f"{name}.png") - 255 * expected).max() <= 0.5 + 1e-3


def test_strides_and_limits(tmp_path: Path) -> None:
    clip, names = write_clip(tmp_path / "clip", 9, pad=3), list[str]()
    assert average_clips(clip, tmp_path / "out", window=5, stride=2, limit=2, watch=names.append) == 2
    assert names == ["frame002", "frame004"]
    assert average_clips(clip, tmp_path / "out", window=5, stride=2) == 3
    with pytest.raises(DataError, match=r"stride .* is 0: expected at least 1"):
        average_clips(clip, tmp_path / "out", stride=0)


def test_clips_keep_their_folders(tmp_path: Path) -> None:
    write_clip(tmp_path / "videos" / "train" / "a", 3)
    write_clip(tmp_path / "videos" / "b", 7, suffix=".jpg")
    assert average_clips(tmp_path / "videos", tmp_path / "out", window=3) == 3
    for role in ("gt", "lq"):
        written = [
            path.relative_to(tmp_path / "out" / role).as_posix() for path in (tmp_path / "out" / role).rglob("*")
        ]
        assert sorted(name for name in written if name.endswith(".png")) == [
            "b/frame1.png",
            "b/frame4.png",
            "train/a/frame1.png",
        ]


def test_an_interrupted_call_is_continued(tmp_path: Path) -> None:
    clip, out = write_clip(tmp_path / "clip", 9), tmp_path / "clip" / "out"  # results below the clip are not frames
    average_clips(clip, out, window=3)
    kept, lost = out / "lq" / "frame1.png", out / "lq" / "frame4.png"
    kept.write_bytes(b"mine")
    lost.unlink()
    assert average_clips(clip, out, window=3) == 3
    assert kept.read_bytes() == b"mine"
    assert read_image(lost).size == (8, 12)


def test_short_clips_are_left_out_and_named(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "long", 5)
    write_clip(tmp_path / "clips" / "short", 3)
    with pytest.warns(UserWarning, match=r"short' holds 3 frames, fewer than 5, and was left out"):
        assert average_clips(tmp_path / "clips", tmp_path / "out", window=5) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=r"No folder at or below .* holds 7 frames"):
            average_clips(tmp_path / "clips", tmp_path / "out", window=7)


def test_folders_that_are_no_clips(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*missing"):
        average_clips(tmp_path / "missing", tmp_path / "out")
    with pytest.raises(DataError, match="No folder at or below"):
        average_clips(tmp_path, tmp_path / "out")
    clip = write_clip(tmp_path / "clip", 3)
    Image.fromarray(frame(0)).save(clip / "frame1.jpg")
    with pytest.raises(DataError, match=r"frame1\.jpg' and .*frame1\.png' are the same frame"):
        average_clips(clip, tmp_path / "out", window=3)


def test_frames_of_several_sizes(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip", 3)
    Image.fromarray(ROW[:, :20]).save(clip / "frame2.png")
    with pytest.raises(DataError, match=r"frame2\.png' has 20x8 pixels, but other frames of its clip have 12x8"):
        average_clips(clip, tmp_path / "out", window=3)
    assert not (tmp_path / "out").exists()
