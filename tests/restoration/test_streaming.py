"""Restoring from disk to disk gives the files that restoring in memory gives, and holds little."""

import subprocess
import sys
import warnings
from dataclasses import replace
from itertools import product
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from tiled_networks import Convolutions, local_restoration, photo

from dp_ir.batch import restoring as files
from dp_ir.batch.plan import LocalJob
from dp_ir.batch.restoring import restore_file
from dp_ir.errors import DPIRError, ImageWriteError
from dp_ir.image import from_array, read_image, write_image
from dp_ir.image.files import writing
from dp_ir.image.picture.colour import adobe_rgb_profile, linear_profile
from dp_ir.image.picture.output_size import OutputSize
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.restoration import Restoration
from dp_ir.restoration.inputs import observe_file
from dp_ir.restoration.streaming import canvas
from dp_ir.restoration.streaming.from_disk import restore_streamed
from dp_ir.restoration.tiling.tiler import TilingNote

SIZE = 91, 83


def write_source(path, *, channels=3, depth=8, profile=None):
    values = photo(*SIZE, seed=channels)[0].permute(1, 2, 0).numpy()
    values = np.concatenate([values, 1 - values[..., :1]], -1)[
        ..., {1: [0], 2: [0, 3], 3: [0, 1, 2], 4: [0, 1, 2, 3]}[channels]
    ]
    dtype = np.uint8 if depth == 8 else np.uint16
    picture = from_array((values * np.iinfo(dtype).max).astype(dtype))
    if profile is not None:
        picture = replace(picture, icc_profile=profile, out_of_gamut=np.full_like(picture.pixels, 0.02))
    write_image(path, picture)
    return path


def both_ways(restoration, source, folder, *, suffix, samples=1, **settings):
    """The same job in memory and from disk to disk, with the same tiles."""
    made = []
    for way, memory in (("memory", 1 << 40), ("disk", 0)):
        (folder / way).mkdir()
        job = LocalJob(source, folder / way / f"result{suffix}", samples)
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", TilingNote)
            restore_file(restoration, job, tile=96, memory=memory, **settings)
        assert len(notes) == (way == "disk")
        made.append(job.targets)
    return made


@pytest.mark.parametrize(
    "settings",
    [{"sampler": "ddim"}, {"sampler": "ddim", "eta": 0.7}, {"sampler": "ddpm"}, {"sampler": "dpmpp-2m"}, {"tau": 0}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_sampler_gives_the_same_file(tmp_path, settings):
    source = write_source(tmp_path / "a.png", depth=16)
    (memory,), (disk,) = both_ways(local_restoration(), source, tmp_path, suffix=".png", seed=4, **settings)
    one, other = read_image(memory), read_image(disk)
    assert one.bit_depth == other.bit_depth == 16
    assert np.array_equal(one.pixels, other.pixels)
    assert one.size == (2 * SIZE[0], 2 * SIZE[1])


@pytest.mark.parametrize(("channels", "asked"), [(4, {"scale": 0.7}), (3, {"width": 100}), (3, {"long_edge": 3})])
def test_another_size_gives_the_same_file(tmp_path, asked, channels):
    source = write_source(tmp_path / "a.png", depth=16, channels=channels)
    size = OutputSize(**asked)
    (memory,), (disk,) = both_ways(local_restoration(), source, tmp_path, suffix=".png", tau=0, size=size)
    one, other = read_image(memory), read_image(disk)
    assert one.size == other.size == size.of(SIZE, (2 * SIZE[0], 2 * SIZE[1]))
    difference = np.abs(one.pixels - other.pixels)
    assert (difference if one.alpha is None else difference * one.alpha[..., None]).max() < 2 / 65535


@pytest.mark.parametrize(("name", "asked"), [("b.png", {"width": 2000}), ("b.webp", {"scale": 2})])
def test_the_size_is_checked_before_any_network_runs(tmp_path, monkeypatch, name, asked):
    source = write_source(tmp_path / "a.png")
    restoration, job = local_restoration(), LocalJob(source, tmp_path / name, 1)
    monkeypatch.setattr(Convolutions, "forward", lambda *_: pytest.fail("a network ran"))
    monkeypatch.setitem(writing._FORMATS, ".webp", replace(writing._FORMATS[".webp"], longest_side=100))
    with pytest.raises(ImageWriteError, match="expected"):
        restore_file(restoration, job, size=OutputSize(**asked))
    assert not job.target.exists()


def test_samples_in_another_size_are_refused_from_disk_to_disk_and_right_in_memory(tmp_path):
    source = write_source(tmp_path / "a.png", depth=16)
    job, small = LocalJob(source, tmp_path / "b.png", 2), OutputSize(scale=0.5)
    with pytest.warns(TilingNote), pytest.raises(ImageWriteError, match="leave out the size"):
        restore_file(local_restoration(), job, memory=0, tile=96, size=small)
    restore_file(local_restoration(), job, size=small)
    *samples, mean, deviation = (read_image(path).pixels for path in job.targets)
    assert mean.shape == (*small.of(SIZE, SIZE), 3)
    np.testing.assert_allclose(mean, np.mean(samples, 0), atol=2e-4)
    np.testing.assert_allclose(deviation, np.std(samples, 0, ddof=1), atol=2e-4)


def test_the_quality_is_that_of_both_ways(tmp_path):
    source = write_source(tmp_path / "a.png")
    sizes = []
    for quality in (30, 95):
        folder = tmp_path / str(quality)
        folder.mkdir()
        (memory,), (disk,) = both_ways(local_restoration(), source, folder, suffix=".jpg", tau=0, quality=quality)
        assert memory.read_bytes() == disk.read_bytes()
        sizes.append(memory.stat().st_size)
    assert sizes[0] < sizes[1] / 2


class Dialled(Convolutions):
    """A fusion that sees the dial, and looks as far as the others."""

    def forward(self, restored, denoised, noisy, sigma, detail):
        return torch.lerp(restored, super().forward(restored, denoised, noisy), detail[:, None, None, None])


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp-2m"])
@pytest.mark.parametrize("dialled", [False, True])
@pytest.mark.parametrize("detail", [0, 0.5])
def test_the_dial_gives_the_same_file(tmp_path, sampler, dialled, detail):
    source = write_source(tmp_path / "a.png", depth=16)
    restoration = local_restoration()
    if dialled:
        restoration = Restoration.from_parts(
            **{**restoration.networks, "fusion": Dialled(3, 3)},
            infos={"fusion": replace(restoration.networks["fusion"].info, detail=0.4)},
            device="cpu",
            precision="float32",
            steps=4,
        )
    settings = {"sampler": sampler, "seed": 4, "samples": 2}
    made = both_ways(restoration, source, tmp_path, suffix=".png", detail=detail, **settings)
    for memory, disk in list(zip(*made, strict=True))[:2]:
        assert np.array_equal(read_image(memory).pixels, read_image(disk).pixels)
    whole, half = tmp_path / "whole", tmp_path / "memory"
    whole.mkdir()
    restore_file(
        restoration, LocalJob(source, whole / "result.png", 2), tile=96, memory=1 << 40, sampler=sampler, seed=4
    )
    assert (whole / "result-1.png").read_bytes() != (half / "result-1.png").read_bytes()


@pytest.mark.parametrize(("channels", "depth", "suffix"), list(product([1, 2, 3, 4], [8, 16], [".png", ".tif"])))
def test_grey_alpha_and_depth_are_kept(tmp_path, channels, depth, suffix):
    source = write_source(tmp_path / "a.png", channels=channels, depth=depth)
    (memory,), (disk,) = both_ways(local_restoration(), source, tmp_path, suffix=suffix, steps=1)
    one, other = read_image(memory), read_image(disk)
    assert (one.grey, one.bit_depth, one.alpha is None) == (other.grey, other.bit_depth, other.alpha is None)
    assert np.array_equal(one.pixels, other.pixels)
    if one.alpha is not None:
        assert np.abs(one.alpha - other.alpha).max() <= 1 / 255 + 1e-6


def test_colours_outside_srgb_are_kept(tmp_path):
    source = write_source(tmp_path / "a.tif", depth=16, profile=adobe_rgb_profile())
    (memory,), (disk,) = both_ways(local_restoration(), source, tmp_path, suffix=".tif", steps=1)
    one, other = read_image(memory), read_image(disk)
    assert one.icc_profile == other.icc_profile == adobe_rgb_profile()
    assert one.out_of_gamut is not None
    assert np.abs(one.pixels - other.pixels).max() < 1e-4
    assert np.abs(one.out_of_gamut - other.out_of_gamut).max() < 1e-4


@pytest.mark.parametrize(("channels", "depth"), [(3, 8), (4, 8), (1, 16), (2, 16)])
@pytest.mark.parametrize("profile", [None, adobe_rgb_profile()])
@pytest.mark.parametrize("orientation", [1, 6])
def test_images_that_keep_their_size_are_read_in_parts(tmp_path, channels, depth, profile, orientation):
    source = write_source(tmp_path / "a.tif", channels=channels, depth=depth, profile=profile)
    if orientation != 1:
        values, source = tifffile.imread(source), tmp_path / "turned.tif"
        tifffile.imwrite(
            source, values, extratags=[(274, 3, 1, orientation)], extrasamples=["unassalpha"] * (channels in (2, 4))
        )
    (memory,), (disk,) = both_ways(local_restoration(1), source, tmp_path, suffix=".tif", steps=2)
    one, other = read_image(memory), read_image(disk)
    assert one.size == (SIZE if orientation == 1 else SIZE[::-1])
    assert (one.grey, one.bit_depth, one.icc_profile) == (other.grey, other.bit_depth, other.icc_profile)
    assert np.abs(one.pixels - other.pixels).max() < 1e-4
    assert (one.alpha is None) == (other.alpha is None)
    assert one.alpha is None or np.array_equal(one.alpha, other.alpha)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp"])
def test_other_formats_are_written_alike(tmp_path, suffix):
    source = write_source(tmp_path / "a.png")
    (memory,), (disk,) = both_ways(local_restoration(), source, tmp_path, suffix=suffix, steps=1)
    assert memory.read_bytes() == disk.read_bytes()


def test_samples_have_their_files_and_a_mean_and_a_deviation(tmp_path):
    source = write_source(tmp_path / "a.png", depth=16)
    made = both_ways(local_restoration(), source, tmp_path, suffix=".tif", samples=3, sampler="ddpm", eta=None)
    assert [path.name for path in made[0]] == [
        "result-1.tif", "result-2.tif", "result-3.tif", "result-mean.tif", "result-std.png",
    ]  # fmt: skip
    for memory, disk in zip(*made, strict=True):
        assert np.abs(read_image(memory).pixels - read_image(disk).pixels).max() <= 1.01 / 65535
    assert not np.array_equal(read_image(made[1][0]).pixels, read_image(made[1][1]).pixels)


@pytest.mark.parametrize(("turns", "mirrored"), list(product(range(4), [False, True])))
@pytest.mark.parametrize("linear", [False, True])
def test_bursts_are_upright(tmp_path, monkeypatch, turns, mirrored, linear):
    frames = photo(40, 52, seed=1)[:, [0, 1, 1, 2]].repeat(3, 1, 1, 1)
    camera = Camera(torch.tensor([1.2, 1.0, 1.1]), torch.eye(3))
    burst = Burst(frames, camera, turns=turns, mirrored=mirrored)
    restorer = Convolutions(1, 1, 4)
    restoration = Restoration.from_parts(
        restorer=lambda frames: restorer(frames[:, 0, :3]),
        infos={"restorer": replace(restoration_info, input="burst", channels=4, scale=4)},
        denoiser=Convolutions(1, 2),
        fusion=Convolutions(3, 3),
        device="cpu",
        steps=2,
    )
    monkeypatch.setattr(files, "read_source", lambda *_, **__: burst)
    samples = 1 if turns % 2 else 2
    made = both_ways(restoration, tmp_path, tmp_path, suffix=".tif", samples=samples, linear=linear)
    for memory, disk in zip(*made, strict=True):
        one, other = read_image(memory), read_image(disk)
        assert one.size == ((208, 160) if turns % 2 else (160, 208))
        assert (
            one.icc_profile == other.icc_profile == (linear_profile() if linear and memory.suffix == ".tif" else None)
        )
        stored = [numbers_in(path) for path in (memory, disk)]
        assert np.abs(stored[0].astype(int) - stored[1]).max() <= 1


def numbers_in(path):
    """The numbers in a file, whatever they mean."""
    return tifffile.imread(path) if path.suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())


restoration_info = local_restoration().networks["restorer"].info


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    source = write_source(tmp_path / "a.png")
    monkeypatch.setattr(canvas.shutil, "disk_usage", lambda folder: type("", (), {"free": 10})())
    (tmp_path / "out").mkdir()
    with pytest.warns(TilingNote), pytest.raises(ImageWriteError, match="disk space"):
        restore_file(local_restoration(), LocalJob(source, tmp_path / "out" / "b.png"), memory=0)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path):
    source = write_source(tmp_path / "a.png")
    (tmp_path / "out").mkdir()

    def stop(share):
        if share > 0.6:
            raise KeyboardInterrupt

    with pytest.warns(TilingNote), pytest.raises(KeyboardInterrupt):
        restore_file(local_restoration(), LocalJob(source, tmp_path / "out" / "b.png"), memory=0, progress=stop)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_sampler_that_is_a_function_cannot_stream(tmp_path):
    observation = observe_file(read_image(write_source(tmp_path / "a.png")))
    with pytest.raises(DPIRError, match="sampler"):
        restore_streamed(local_restoration(), observation, [tmp_path / "b.png"], sampler=lambda *_, **__: None)


MEASURE = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from dp_ir.image import from_array, write_image
from dp_ir.batch.plan import LocalJob
from dp_ir.runtime.budget import resident_memory
from dp_ir.batch.restoring import restore_file
from tiled_networks import local_restoration, photo

folder, restore = Path(sys.argv[1]), local_restoration(steps=1, sampler="ddpm", eta=1.0)
write_image(folder / "small.png", from_array(photo(100, 100)[0].permute(1, 2, 0).numpy()))
write_image(folder / "large.png", from_array(photo(800, 1200)[0].permute(1, 2, 0).numpy()))
peaks = []
for name in ("small", "large"):
    restore_file(restore, LocalJob(folder / f"{name}.png", folder / f"{name}.tif"), tile=256, memory=0)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(peaks[1] - peaks[0])
"""


def test_what_is_held_does_not_grow_with_the_image(tmp_path):
    """An image of 3.8 megapixels, of which every canvas would take 46 MB in memory, and there are three."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(tmp_path)],
        check=True, capture_output=True, text=True, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert int(done.stdout) < 100e6  # the photograph itself as floats, twice, and a few bands
