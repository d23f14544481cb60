"""Bursts go in as frames of a sensor and come out as upright photographs; diffusion runs on what is shown."""

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.errors import ImageReadError
from dp_ir.image.picture.picture import Picture
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera
from dp_ir.restoration.pipeline import Restoration

CAMERA = Camera(torch.tensor([2.0, 1.0, 1.5]), torch.tensor([[1.5, -0.4, -0.1], [-0.2, 1.4, -0.2], [0.0, -0.5, 1.5]]))
INFO = NetworkInfo(scale=8, input="burst", channels=4, multiple_of=4)


def first_frame(frames):
    """A restorer (1, N, 4, h, w) -> (1, 3, 8h, 8w): the first frame, every cell one colour."""
    red, green, other, blue = frames[:, 0].unbind(1)
    rgb = torch.stack((red, (green + other) / 2, blue), 1)
    return rgb.repeat_interleave(8, 2).repeat_interleave(8, 3)


def burst(count=3, **facts):
    frames = torch.rand(count, 4, 4, 6, generator=torch.Generator().manual_seed(0)) / 2
    return Burst(frames, CAMERA, **facts)


def restoration(**networks):
    own = {"denoiser": lambda noisy, sigma: noisy, "fusion": lambda restored, denoised, noisy, sigma: restored}
    parts = {"restorer": first_frame, **own, **networks}
    return Restoration.from_parts(**parts, infos={"restorer": INFO}, device="cpu", steps=2)


def shown(given):
    return CAMERA.render(first_frame(given.frames[None]))[0].permute(1, 2, 0).numpy()


def test_a_burst_becomes_a_rendered_picture_of_16_bits():
    given = burst()
    result = restoration()(given)
    for found in (result.image, result.restored):
        assert isinstance(found, Picture)
        assert found.bit_depth == 16
        np.testing.assert_allclose(found.pixels, shown(given), atol=1e-6)


def test_frames_are_padded_to_what_the_network_takes_and_the_result_is_cut():
    seen = []

    def restorer(frames):
        seen.append(tuple(frames.shape))
        return first_frame(frames)

    assert restoration(restorer=restorer)(burst()).image.size == (32, 48)
    assert seen == [(1, 3, 4, 4, 8)]


def test_fusion_and_sampler_see_what_is_shown():
    """Not the sensor's linear colours, which the denoiser was not trained on."""
    given, seen = burst(), []

    def fusion(restored, denoised, noisy, sigma):
        seen.append(restored)
        return restored

    restoration(fusion=fusion)(given)
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0), shown(given), atol=1e-6)


@pytest.mark.parametrize(("turns", "mirrored"), [(1, False), (3, False), (2, True), (1, True)])
def test_results_are_upright(turns, mirrored):
    given = burst(turns=turns, mirrored=mirrored)
    result = restoration(fusion=lambda restored, denoised, noisy, sigma: noisy)(given, num_samples=2)
    stored = shown(given)
    upright = np.rot90(stored[:, ::-1] if mirrored else stored, turns)
    np.testing.assert_allclose(result.restored.pixels, upright, atol=1e-6)
    assert result.std.shape == upright.shape
    samples = np.stack([sample.pixels for sample in result.samples])
    np.testing.assert_allclose(result.mean.pixels, samples.mean(0), atol=1e-6)
    np.testing.assert_allclose(result.std, samples.std(0, ddof=1), atol=1e-5)


def test_a_folder_of_frames_is_read(tmp_path):
    for index in range(2):
        Image.new("RGB", (8, 6), (200, 100, 50)).save(tmp_path / f"{index}.png")
    for source in (tmp_path, str(tmp_path)):
        image = restoration()(source).image
        assert image.size == (24, 32)
        assert np.abs(image.pixels * 255 - (200, 100, 50)).max() < 0.5


def test_the_seed_decides():
    restore = restoration(fusion=lambda restored, denoised, noisy, sigma: (restored + noisy) / 2)
    first, again, other = (restore(burst(), seed=seed).image.pixels for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    "image", [torch.rand(1, 3, 4, 4), np.zeros((4, 4, 3), np.uint8), Image.new("RGB", (4, 4)), None]
)
def test_an_image_is_no_burst(image):
    with pytest.raises(ImageReadError, match=r"but the restorer takes bursts: give a folder"):
        restoration()(image)


def test_a_photo_by_its_name_is_no_burst(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    with pytest.raises(ImageReadError, match=r"photo\.png' is not a RAW file"):
        restoration()(tmp_path / "photo.png")


def test_a_burst_is_no_image():
    restore = Restoration.restorer_only(lambda image: image, device="cpu")
    with pytest.raises(ImageReadError, match="A burst was given, but the restorer takes single images"):
        restore(burst())
