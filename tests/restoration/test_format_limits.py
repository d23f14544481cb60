"""Results that their format cannot hold are refused by the header of the input, before any network runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiled_networks import local_restoration

from dp_ir.batch import restoring as files
from dp_ir.batch.plan import LocalJob, Status, plan_batch, run_batch
from dp_ir.batch.restoring import restore_file
from dp_ir.errors import ImageWriteError
from dp_ir.image import read_image
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.restoration import Restoration

INFO = local_restoration().networks["restorer"].info


def restoration(scale, calls, **info):
    def restorer(observation):
        calls.append(observation.shape)
        return torch.nn.functional.interpolate(observation, scale_factor=scale)

    return Restoration.restorer_only(restorer, device="cpu", infos={"restorer": replace(INFO, scale=scale, **info)})


def header_only(path, width, height):
    """An image of which nothing but the beginning is left."""
    Image.new("RGB", (width, height), (9, 8, 7)).save(path)
    path.write_bytes(path.read_bytes()[:400])
    return path


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize(
    ("suffix", "width", "scale", "limit"),
    [(".webp", 16383, 2, 16383), (".webp", 4096, 4, 16383), (".jpg", 16376, 4, 65500), (".jpeg", 16376, 4, 65500)],
)
def test_a_single_file(tmp_path, kind, suffix, width, scale, limit):
    calls = []
    if kind == ".tif":  # its directory is at the end
        Image.new("RGB", (width, 1)).save(tmp_path / "a.tif")
    else:
        header_only(tmp_path / f"a{kind}", width, 1)
    with pytest.raises(ImageWriteError) as caught:
        restore_file(restoration(scale, calls), LocalJob(tmp_path / f"a{kind}", tmp_path / f"out{suffix}"))
    message = str(caught.value)
    assert f"{width * scale}x{scale} pixels" in message
    assert f"at most {limit}" in message
    assert ".png or .tif" in message
    assert not calls
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("scale", [1, 4])
def test_from_disk_to_disk_and_with_samples(tmp_path, scale):
    calls = []
    source = header_only(tmp_path / "a.png", 16384, 2)
    for samples in (1, 2):
        with pytest.raises(ImageWriteError, match=f"{16384 * scale}x{2 * scale} pixels"):
            restore_file(
                restoration(scale, calls), LocalJob(source, tmp_path / "out.webp", samples), memory=0, num_samples=1
            )
    assert not calls


def test_the_rest_of_a_folder_goes_on(tmp_path):
    calls = []
    header_only(tmp_path / "in.png", 9000, 1).rename(tmp_path / "long.png")
    Image.new("RGB", (30, 20)).save(tmp_path / "short.png")
    plan = plan_batch([tmp_path / "long.png", tmp_path / "short.png"], tmp_path / "out", format="webp")
    restorer = restoration(2, calls)
    outcomes = {
        outcome.source.name: outcome
        for outcome in run_batch(plan.jobs, lambda job: restore_file(restorer, LocalJob(job.source, job.target)))
    }
    assert outcomes["long.png"].status is Status.FAILED
    assert "18000x2 pixels" in outcomes["long.png"].reason
    assert outcomes["short.png"].status is Status.RESTORED
    assert len(calls) == 1


def test_a_part_that_fits_is_restored(tmp_path):
    Image.new("RGB", (9000, 8)).save(tmp_path / "a.png")
    job = LocalJob(tmp_path / "a.png", tmp_path / "out.webp")
    restore_file(restoration(2, []), job, crop=(10, 0, 40, 8))
    assert read_image(tmp_path / "out.webp").size == (16, 80)
    with pytest.raises(ImageWriteError, match="17000x16"):
        restore_file(restoration(2, []), job, crop=(0, 0, 8500, 8))


def test_bursts(tmp_path, monkeypatch):
    calls = []
    burst = Burst(torch.zeros(2, 4, 4, 5000), Camera.neutral())
    monkeypatch.setattr(files, "read_source", lambda *_, **__: burst)
    with pytest.raises(ImageWriteError, match="20000x16 pixels"):
        restore_file(restoration(4, calls, input="burst", channels=4), LocalJob(tmp_path, tmp_path / "out.webp"))
    assert not calls


def test_bmp_files_are_limited_in_bytes(tmp_path):
    calls = []
    source = header_only(tmp_path / "a.png", 12000, 1)
    data = bytearray(source.read_bytes())
    data[20:24] = (8000).to_bytes(4, "big")  # a height of which nothing but the header knows
    source.write_bytes(data)
    with pytest.raises(ImageWriteError, match=r"48000x32000 pixels, expected at most 4\.29 GB in this format"):
        restore_file(restoration(4, calls), LocalJob(source, tmp_path / "out.bmp"))
    assert not calls


def test_sides_that_just_fit(tmp_path):
    Image.fromarray(np.zeros((1, 5461, 3), np.uint8)).save(tmp_path / "a.png")
    restore_file(restoration(3, []), LocalJob(tmp_path / "a.png", tmp_path / "out.webp"))
    assert read_image(tmp_path / "out.webp").size == (3, 16383)
