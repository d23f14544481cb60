"""Synthetic bursts: geometry on ramps and by phase correlation, noise by its variance, colours by rendering back."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter
from skimage.registration import phase_cross_correlation
from torch import Tensor

from dp_ir.degradation.synthetic_burst import (
    mosaics,
    random_camera,
    random_noise,
    random_transforms,
    synthetic_burst,
)
from dp_ir.errors import DPIRError
from dp_ir.image.raw.burst import unpack
from dp_ir.image.raw.camera import Camera


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramps(size: int) -> Tensor:
    """The coordinates x and y of each pixel, once in every channel: (2, 3, size, size)."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack((x, y)).float()[:, None].expand(2, 3, size, size)


def shift_by(*shifts: tuple[float, float]) -> Tensor:
    return torch.tensor([[[1, 0, right], [0, 1, down]] for right, down in shifts])


# ---- geometry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("roll", "shift"), [(0.0, (0.0, 0.0)), (0.0, (5.0, -3.25)), (0.02, (-7.5, 2.0))])
def test_every_pixel_of_the_mosaic_sees_its_place(roll: float, shift: tuple[float, float]) -> None:
    """On ramps a pixel's value is its place in the photograph: 4 times its place in the mosaic, moved as given."""
    transform = torch.tensor([[math.cos(roll), -math.sin(roll), shift[0]], [math.sin(roll), math.cos(roll), shift[1]]])
    seen = [unpack(mosaics(ramp[None], transform[None]))[0] for ramp in ramps(160)]
    for row in range(8, 32, 3):
        for column in range(8, 32, 3):
            place = transform @ torch.tensor([4.0 * column, 4.0 * row, 1])
            found = [image[row, column].item() for image in seen]
            assert found == pytest.approx(place.tolist(), abs=2e-3)


def test_a_pixel_gathers_two_by_two_pixels() -> None:
    """Against SciPy: a box of 2x2 pixels, and between such boxes linear interpolation; red, two greens and blue."""
    image = torch.rand(1, 3, 64, 64, generator=seeded(0))
    transforms = random_transforms(3, (64, 64), seeded(1))
    planes = mosaics(image, transforms)
    assert planes.shape == (3, 4, 8, 8)
    for plane, (channel, down, right) in enumerate([(0, 0, 0), (1, 0, 4), (1, 4, 0), (2, 4, 4)]):
        # The box at index i covers the pixels i - 1 and i, so its centre lies at i - 1/2.
        boxes = uniform_filter(image[0, channel].numpy().astype(np.float64), 2, mode="nearest")
        y, x = np.meshgrid(np.arange(8) * 8 + down, np.arange(8) * 8 + right, indexing="ij")
        for frame in range(3):
            seen = np.einsum("ij,jhw->ihw", transforms[frame].numpy().astype(float), np.stack([x, y, np.ones_like(x)]))
            expected = map_coordinates(boxes, seen[::-1] + 0.5, order=1, mode="nearest")
            inside = (seen[0] > 1) & (seen[0] < 62) & (seen[1] > 1) & (seen[1] < 62)
            assert inside.sum() >= 16
            np.testing.assert_allclose(planes[frame, plane].numpy()[inside], expected[inside], atol=1e-4)


def test_drawn_shifts_are_found_by_phase_correlation() -> None:
    size = 512
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.standard_normal((size, size)), 10)
    image = torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth)).float().expand(1, 3, size, size)
    transforms = random_transforms(6, (size, size), seeded(2))
    green = mosaics(image, transforms)[:, 1].numpy()
    window = np.outer(np.hanning(size // 8), np.hanning(size // 8))
    centre = torch.tensor([(size - 1) / 2, (size - 1) / 2, 1])
    drawn = (transforms @ centre - centre[:2]).numpy()
    assert np.abs(drawn[1:]).max() > 10
    flat = green - green.mean(axis=(1, 2), keepdims=True)
    for frame in range(1, 6):
        found, *_ = phase_cross_correlation(
            flat[0] * window, flat[frame] * window, upsample_factor=50, normalization=None
        )
        assert 8 * found[::-1] == pytest.approx(drawn[frame], abs=2.0)  # a quarter of a pixel of a plane


def test_motions_stay_within_their_limits() -> None:
    transforms = random_transforms(200, (160, 240), seeded(3))
    assert transforms[0].tolist() == [[1, 0, 0], [0, 1, 0]]
    centre = torch.tensor([(240 - 1) / 2, (160 - 1) / 2, 1])
    shifts = transforms @ centre - centre[:2]
    angles = torch.rad2deg(torch.atan2(transforms[:, 1, 0], transforms[:, 0, 0]))
    for drawn, limit in ((shifts, 24.0), (angles, 1.0)):
        assert drawn.abs().max() <= limit + 1e-3
        assert drawn.min() < -0.9 * limit
        assert drawn.max() > 0.9 * limit
    torch.testing.assert_close(torch.linalg.det(transforms[:, :, :2]), torch.ones(200))


# ---- noise -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_the_frames_is_a_line_over_their_light(seed: int) -> None:
    """Its slope is the shot noise, its height the read noise; six levels of light lie on it."""
    clean = torch.full((1, 3, 512, 512), 0.45)
    clean[..., 256:] = 0.7
    frames = synthetic_burst(clean, generator=seeded(seed)).frames
    sides = [frames[..., 4:26], frames[..., 38:60]]  # without the frames in which the edge comes into view
    levels = np.array([side[:, plane].mean().item() for side in sides for plane in range(4)])
    variances = np.array([side[:, plane].var().item() for side in sides for plane in range(4)])
    shot, height = np.polyfit(levels, variances, 1)
    assert 0.8e-4 <= shot <= 0.013
    np.testing.assert_allclose(shot * levels + height, variances, rtol=0.05)


def test_noise_is_drawn_as_published() -> None:
    """Shot noise log-uniform in [1e-4, 0.012]; the log of the read variance 2.18 log(shot) + 1.20 +- 0.26."""
    generator = seeded(0)
    drawn = np.log([random_noise(generator) for _ in range(2000)])
    shot, read = drawn[:, 0], 2 * drawn[:, 1]
    assert shot.min() == pytest.approx(math.log(1e-4), abs=0.05)
    assert shot.max() == pytest.approx(math.log(0.012), abs=0.05)
    assert shot.std() == pytest.approx((math.log(0.012) - math.log(1e-4)) / math.sqrt(12), rel=0.05)
    slope, height = np.polyfit(shot, read, 1)
    assert (slope, height) == (pytest.approx(2.18, abs=0.03), pytest.approx(1.2, abs=0.2))
    assert (read - slope * shot - height).std() == pytest.approx(0.26, rel=0.05)


# ---- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_camera_renders_the_colour_of_the_photograph_back(seed: int) -> None:
    colour = torch.tensor([0.6, 0.45, 0.35])
    burst = synthetic_burst(colour.view(1, 3, 1, 1).expand(1, 3, 256, 256), generator=seeded(seed))
    red, first, second, blue = burst.frames.mean(dim=(0, 2, 3))
    sensor = torch.stack((red, (first + second) / 2, blue)).view(1, 3, 1, 1)
    assert burst.camera.render(sensor).flatten().tolist() == pytest.approx(colour.tolist(), abs=0.01)


def test_cameras_are_drawn_as_published() -> None:
    generator = seeded(0)
    cameras = [random_camera(generator) for _ in range(300)]
    gains = torch.stack([camera.gains for camera in cameras])
    matrices = torch.stack([camera.matrix for camera in cameras])
    red, blue = gains[:, 0] / gains[:, 1], gains[:, 2] / gains[:, 1]
    for ratio, low, high in ((red, 1.9, 2.4), (blue, 1.5, 1.9)):
        assert low - 1e-3 <= ratio.min() <= low + 0.05
        assert high - 0.05 <= ratio.max() <= high + 1e-3
    exposure = 1 / gains[:, 1]
    assert (exposure.mean().item(), exposure.std().item()) == (
        pytest.approx(0.8, abs=0.02),
        pytest.approx(0.1, rel=0.15),
    )
    torch.testing.assert_close(matrices.sum(dim=2), torch.ones(300, 3), atol=1e-4, rtol=0)
    assert bool((matrices.diagonal(dim1=1, dim2=2) > 1).all())  # sensors see colours paler than sRGB has them


def test_dark_and_bright_light_stay_in_range() -> None:
    checks = torch.arange(64).div(16, rounding_mode="floor").remainder(2).float().expand(1, 3, 64, 64)
    frames = synthetic_burst(checks, generator=seeded(1), camera=Camera(torch.full((3,), 0.5), torch.eye(3))).frames
    assert frames.min() == 0
    assert frames.max() == 1


# ---- the whole degradation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 20])
def test_a_burst_has_as_many_frames_as_asked(frames: int) -> None:
    burst = synthetic_burst(torch.rand(1, 3, 48, 64, generator=seeded(0)), generator=seeded(0), frames=frames)
    assert burst.frames.shape == (frames, 4, 6, 8)
    assert (burst.turns, burst.mirrored) == (0, False)


def test_the_seed_decides_and_nothing_else() -> None:
    clean, before = torch.rand(1, 3, 64, 64, generator=seeded(0)), torch.random.get_rng_state()
    first, same, other = (synthetic_burst(clean, generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.frames, same.frames)
    assert torch.equal(first.camera.gains, same.camera.gains)
    assert torch.equal(first.camera.matrix, same.camera.matrix)
    assert not torch.equal(first.frames, other.frames)
    assert not torch.equal(first.camera.gains, other.camera.gains)
    assert torch.equal(before, torch.random.get_rng_state())


def test_frames_differ_in_noise_and_place() -> None:
    frames = synthetic_burst(torch.rand(1, 3, 64, 64, generator=seeded(0)), generator=seeded(0)).frames
    assert len(frames) == 14
    assert not any(torch.equal(frames[0], frame) for frame in frames[1:])


@pytest.mark.parametrize("shape", [(1, 3, 60, 64), (1, 3, 64, 4), (2, 3, 64, 64), (1, 1, 64, 64), (1, 3, 0, 8)])
def test_images_no_burst_can_be_made_of(shape: tuple[int, ...]) -> None:
    with pytest.raises(DPIRError, match=r"expected \(1, 3, H, W\) with sides that are multiples of 8"):
        synthetic_burst(torch.rand(shape))


@pytest.mark.parametrize("frames", [0, 21])
def test_bursts_of_no_or_too_many_frames(frames: int) -> None:
    with pytest.raises(DPIRError, match=f"{frames} frames was asked for: expected 1 to 20"):
        synthetic_burst(torch.rand(1, 3, 64, 64), frames=frames)
