"""Registration where the truth is known: bursts of pictures that were moved by given amounts."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dp_ir.degradation.sensor_noise import add_sensor_noise
from dp_ir.degradation.synthetic_burst import mosaics, random_transforms
from dp_ir.image.raw.burst import pack
from dp_ir.networks.layers.registration import register


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@lru_cache
def scene(height: int, width: int, seed: int = 0) -> Tensor:
    """Noise with the spectrum of photographs, amplitude 1 / frequency: (1, 3, height, width) linear light."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = np.inf
    grey = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) / frequency).real
    grey = 0.25 + 0.1 * grey / grey.std()
    return torch.from_numpy(grey).float().clamp(0.02, 1).expand(1, 3, height, width)


def places(found: Tensor, mosaic: tuple[int, int]) -> Tensor:
    """Where the corners and the middle of the first mosaic lie in each frame: (N, 2, 5)."""
    height, width = mosaic
    x, y = torch.tensor([[0, width, 0, width, width / 2], [0, 0, height, height, height / 2]])
    return found @ torch.stack((x, y, torch.ones(5)))


def true_places(transforms: Tensor, mosaic: tuple[int, int]) -> Tensor:
    """A frame shows at p what lies at transform @ p, in pixels of the photograph, four to a pixel of the mosaic."""
    square = torch.cat((transforms, torch.tensor([0.0, 0.0, 1.0]).expand(len(transforms), 1, 3)), dim=1)
    larger = torch.diag(torch.tensor([4.0, 4.0, 1.0]))
    return places((torch.linalg.inv(larger) @ torch.linalg.inv(square) @ larger)[:, :2], mosaic)


def errors(frames: Tensor, transforms: Tensor) -> Tensor:
    """Distance between found and true places in pixels of the mosaic: (N, 5)."""
    mosaic = (2 * frames.shape[-2], 2 * frames.shape[-1])
    return (places(register(frames[None])[0], mosaic) - true_places(transforms, mosaic)).norm(dim=1)


@pytest.mark.parametrize(("height", "width"), [(512, 512), (384, 640)])
def test_hand_shake_is_found_to_a_fraction_of_a_pixel(height: int, width: int) -> None:
    transforms = random_transforms(8, (height, width), seeded(1))
    frames = mosaics(scene(height, width), transforms)
    found = errors(frames, transforms)
    assert found[:, 4].max() < 0.1
    assert found.max() < 0.3


def test_half_and_quarter_pixels_of_what_the_mosaic_resolves() -> None:
    transforms = torch.eye(3)[:2].repeat(4, 1, 1)
    transforms[1:, :, 2] = torch.tensor([[2.0, 0.0], [0.0, -2.0], [1.0, 1.0]])  # half and a quarter of a pixel
    smooth = torch.from_numpy(gaussian_filter(scene(512, 512)[0, 0].numpy(), 8)).expand(1, 3, 512, 512)
    found = register(mosaics(smooth, transforms)[None])[0]
    torch.testing.assert_close(found[:, :, 2], -transforms[:, :, 2] / 4, atol=0.1, rtol=0)
    torch.testing.assert_close(found[:, :, :2], transforms[:, :, :2], atol=1e-3, rtol=0)


@pytest.mark.parametrize(("shot", "read", "middle"), [(1e-3, 0.002, 0.1), (0.012, 0.02, 0.3)])
def test_noise_costs_little(shot: float, read: float, middle: float) -> None:
    """The upper limit of the noise that bursts are made with included."""
    transforms = random_transforms(6, (512, 512), seeded(2))
    frames = add_sensor_noise(mosaics(scene(512, 512), transforms), shot, read, generator=seeded(3)).clamp(0, 1)
    assert errors(frames, transforms)[:, 4].max() < middle


def test_whole_cells_by_hand() -> None:
    """Moved by cells of a mosaic that no degradation has made: right and down are positive."""
    wide = scene(160, 200)[0, 0]
    cuts = [(16, 16), (14, 16), (16, 20), (22, 10)]  # first row and column that a frame shows
    frames = torch.stack([pack(wide[top : top + 128, left : left + 160]) for top, left in cuts])
    found = register(frames[None])[0]
    for frame, (top, left) in enumerate(cuts):
        # What the first frame shows at (x, y) lies in this one as far to the left as it was cut further right.
        assert found[frame, :, 2].tolist() == pytest.approx([16 - left, 16 - top], abs=0.05)


def test_roll_and_zoom() -> None:
    size, centre = 512, 255.5
    expected = []
    for roll, zoom in ((0.0, 1.0), (math.radians(2), 1.0), (0.0, 1.02), (math.radians(-1), 0.99)):
        turn = zoom * torch.tensor([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
        middle = torch.tensor([centre, centre])
        expected.append(torch.cat((turn, (middle - turn @ middle)[:, None]), dim=1))
    transforms = torch.stack(expected)
    found = errors(mosaics(scene(size, size), transforms), transforms)
    assert found.max() < 0.4


def test_what_moves_on_its_own_does_not_lead_astray() -> None:
    """A patch of an eighth of the image goes its own way in every frame but the first."""
    transforms = random_transforms(4, (512, 512), seeded(4))
    frames = mosaics(scene(512, 512), transforms)
    other = mosaics(scene(512, 512, 1), random_transforms(4, (512, 512), seeded(5)))
    frames[1:, :, 20:44, 20:40] = other[1:, :, 20:44, 20:40]
    found = errors(frames, transforms)
    assert found[:, 4].max() < 0.2


def test_the_first_frame_stays_and_one_frame_is_enough() -> None:
    frames = mosaics(scene(128, 128), random_transforms(3, (128, 128), seeded(0)))
    identity = torch.eye(3)[:2]
    torch.testing.assert_close(register(frames[None])[0, 0], identity, atol=1e-6, rtol=0)
    assert torch.equal(register(frames[None, :1]), identity[None, None])


def test_bursts_do_not_meet_each_other() -> None:
    frames = torch.stack(
        [mosaics(scene(256, 256, seed), random_transforms(3, (256, 256), seeded(seed))) for seed in (0, 1)]
    )
    together = register(frames)
    assert together.shape == (2, 3, 2, 3)
    for number in range(2):
        torch.testing.assert_close(together[number], register(frames[number : number + 1])[0], atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_where_nothing_is_to_be_seen_nothing_moves(value: float) -> None:
    found = register(torch.full((1, 3, 4, 24, 32), value))
    torch.testing.assert_close(found, torch.eye(3)[:2].expand(1, 3, 2, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(2, 2), (4, 4), (8, 30), (24, 40)])
def test_small_and_unrelated_frames_give_finite_transforms(size: tuple[int, int]) -> None:
    assert bool(torch.isfinite(register(torch.rand(1, 4, 4, *size, generator=seeded(0)))).all())


def test_it_asks_for_no_gradients_and_takes_half_precision() -> None:
    frames = mosaics(scene(256, 256), random_transforms(2, (256, 256), seeded(0)))[None]
    assert not register(frames.requires_grad_()).requires_grad
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(register(frames), register(frames.double()), atol=1e-3, rtol=1e-3)
