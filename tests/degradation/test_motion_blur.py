"""Blur of single photographs: where lights go, what happens to their energy, and that nothing but the seed decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from torch import Tensor

from dp_ir.degradation.motion_blur import Motion, average, motion_blur, random_motion

SIZE = 64


def still(moments: int = 1) -> Motion:
    return Motion(torch.zeros(moments, 2), torch.zeros(moments), torch.zeros(moments))


def shifted(*path: tuple[float, float]) -> Motion:
    return Motion(torch.tensor(path), torch.zeros(len(path)), torch.zeros(len(path)))


def light(column: int, row: int, size: int = SIZE) -> Tensor:
    image = torch.zeros(1, 3, size, size)
    image[..., row, column] = 1
    return image


def soft_light(column: float, row: float, size: int = SIZE, radius: float = 2) -> Tensor:
    """A round light of a few pixels, which interpolation hardly changes."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * radius**2)).expand(1, 3, size, size)


def centroid(image: Tensor) -> tuple[float, float]:
    plane = image[0, 0].double()
    plane = plane / plane.sum()
    y, x = torch.meshgrid(torch.arange(plane.shape[0]), torch.arange(plane.shape[1]), indexing="ij")
    return float((x * plane).sum()), float((y * plane).sum())


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_motion_nothing_changes() -> None:
    image = torch.rand(1, 3, 20, 31)
    torch.testing.assert_close(average(image, still(5)), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        average(image, still(3), [(torch.rand(1, 1, 20, 31), still(3))]), image, atol=1e-5, rtol=0
    )


def test_a_light_draws_the_path() -> None:
    """Right and down are positive; the longer it stays, the brighter."""
    path = [(-4.0, 0.0), (0.0, 0.0), (0.0, 0.0), (3.0, 2.0), (3.0, -5.0)]
    blurred = average(light(30, 20), shifted(*path))
    expected = torch.zeros(1, 3, SIZE, SIZE)
    for right, down in path:
        expected[..., 20 + int(down), 30 + int(right)] += 1 / len(path)
    torch.testing.assert_close(blurred, expected, atol=1e-4, rtol=0)


def test_the_random_path_keeps_light_and_carries_its_centre() -> None:
    motion = random_motion((SIZE, SIZE), 15.0, 17, seeded(0))
    motion = Motion(motion.shift, torch.zeros(17), torch.zeros(17))
    blurred = average(light(32, 31), motion)
    assert blurred.sum().item() == pytest.approx(3, rel=1e-4)
    right, down = motion.shift.mean(0).tolist()
    assert centroid(blurred) == pytest.approx((32 + right, 31 + down), abs=1e-3)


@pytest.mark.parametrize(
    ("roll", "zoom", "centre"), [(0.3, 0.0, (0.5, 0.5)), (0.0, 0.2, (0.25, 0.75)), (-0.2, -0.1, (0.7, 0.4))]
)
def test_roll_and_zoom_turn_and_scale_around_the_centre(roll: float, zoom: float, centre: tuple[float, float]) -> None:
    motion = Motion(torch.tensor([[2.0, -3.0]]), torch.tensor([roll]), torch.tensor([zoom]), centre)
    start = np.array([40.0, 24.0])
    moved = centroid(average(soft_light(*start), motion))
    # Pixel i of n covers [i, i + 1) / n of the side.
    pivot = np.array(centre) * SIZE - 0.5
    turn = np.array([[math.cos(roll), -math.sin(roll)], [math.sin(roll), math.cos(roll)]])
    expected = pivot + (1 + zoom) * turn @ (start - pivot) + [2.0, -3.0]
    assert moved == pytest.approx(tuple(expected), abs=0.02)


def test_one_moment_equals_scipy_for_oblong_images() -> None:
    height, width, roll, zoom = 40, 72, 0.15, 0.1
    image = torch.rand(1, 3, height, width, generator=seeded(0))
    ours = average(image, Motion(torch.tensor([[1.5, -2.25]]), torch.tensor([roll]), torch.tensor([zoom])))
    turn = np.array([[math.cos(roll), math.sin(roll)], [-math.sin(roll), math.cos(roll)]]) / (1 + zoom)  # rows first
    pivot, shift = np.array([(height - 1) / 2, (width - 1) / 2]), np.array([-2.25, 1.5])
    inverse = turn.T  # output to input, in (row, column)
    offset = pivot - inverse @ (pivot + shift)
    for channel in range(3):
        theirs = affine_transform(image[0, channel].numpy(), inverse, offset, order=1, mode="nearest")
        np.testing.assert_allclose(ours[0, channel].numpy(), theirs, atol=1e-4)


def test_energy_stays_inside_whatever_the_motion() -> None:
    image = torch.zeros(1, 3, SIZE, SIZE)
    image[..., 24:40, 24:40] = torch.rand(1, 3, 16, 16, generator=seeded(0))
    for seed in range(5):
        motion = random_motion((SIZE, SIZE), 12.0, 13, seeded(seed))
        kept = Motion(motion.shift, motion.roll, torch.zeros(13))
        torch.testing.assert_close(average(image, kept).sum(dim=(2, 3)), image.sum(dim=(2, 3)), rtol=0.01, atol=0)


def test_blur_is_stronger_far_from_the_centre_of_a_roll() -> None:
    roll = torch.linspace(-0.1, 0.1, 21)
    motion = Motion(torch.zeros(21, 2), roll, torch.zeros(21))
    near, far = (average(light(column, 32), motion).amax().item() for column in (32, 60))
    assert near > 3 * far


@pytest.mark.parametrize("seed", range(4))
def test_random_motions_differ_from_place_to_place(seed: int) -> None:
    motion = random_motion((SIZE, SIZE), 20.0, 21, seeded(seed))
    corners = [(0, 0), (SIZE, 0), (0, SIZE), (SIZE, SIZE)]
    moved = []
    for x, y in corners:
        pivot = np.array(motion.centre) * SIZE
        from_pivot = np.array([x, y]) - pivot
        turned = np.stack([np.cos(motion.roll.numpy()), np.sin(motion.roll.numpy())], 1)
        moved.append(
            (1 + motion.zoom.numpy())[:, None]
            * np.stack(
                [
                    turned[:, 0] * from_pivot[0] - turned[:, 1] * from_pivot[1],
                    turned[:, 1] * from_pivot[0] + turned[:, 0] * from_pivot[1],
                ],
                1,
            )
            - from_pivot
        )
    spread = np.ptp(np.stack(moved), axis=0)
    assert spread.max() > 0.5  # pixels


def test_a_random_path_is_as_long_as_asked_and_stands_still_in_the_middle() -> None:
    for seed, (length, moments) in enumerate([(2.0, 3), (10.0, 11), (30.0, 31)]):
        motion = random_motion((SIZE, 2 * SIZE), length, moments, seeded(seed))
        assert motion.shift.diff(dim=0).norm(dim=1).sum().item() == pytest.approx(length, rel=1e-3)
        middle = moments // 2
        assert motion.shift[middle].tolist() == [0, 0]
        assert (motion.roll[middle].item(), motion.zoom[middle].item()) == (0, 0)


def test_a_layer_moves_on_its_own() -> None:
    """A square that moves to the right over a scene that stands still: nothing else changes."""
    scene, mask = torch.full((1, 3, SIZE, SIZE), 0.2), torch.zeros(1, 1, SIZE, SIZE)
    scene[..., 28:36, 20:28] = 0.9
    mask[..., 28:36, 20:28] = 1
    path = [(-4.0, 0.0), (0.0, 0.0), (4.0, 0.0)]
    blurred = average(scene, still(3), [(mask, shifted(*path))])
    expected = torch.zeros_like(scene)
    for right, _ in path:
        moment = scene.clone()  # where the layer was, the scene shows what it shows
        moment[..., 28:36, 20 + int(right) : 28 + int(right)] = 0.9
        expected += moment / 3
    torch.testing.assert_close(blurred, expected, atol=1e-4, rtol=0)


def test_layers_ride_on_the_camera() -> None:
    """A layer that is the whole image moves as the camera and as itself; the last layer lies in front."""
    image, everything = soft_light(30, 30), torch.ones(1, 1, SIZE, SIZE)
    camera, own = shifted((0.0, 0.0), (4.0, 0.0)), shifted((0.0, 0.0), (0.0, 6.0))
    torch.testing.assert_close(
        average(image, camera, [(everything, own)]), average(image, shifted((0.0, 0.0), (4.0, 6.0))), atol=1e-4, rtol=0
    )
    hidden = shifted((9.0, 9.0), (9.0, 9.0))
    torch.testing.assert_close(
        average(image, camera, [(everything, hidden), (everything, own)]),
        average(image, camera, [(everything, own)]),
        atol=1e-4,
        rtol=0,
    )


# ---- the whole degradation -------------------------------------------------------------------------------------------


def test_the_result_is_an_8_bit_image_of_the_same_size() -> None:
    blurred = motion_blur(torch.rand(2, 3, 40, 56, generator=seeded(0)), generator=seeded(1))
    assert blurred.shape == (2, 3, 40, 56)
    assert blurred.dtype == torch.float32
    assert blurred.min() >= 0
    assert blurred.max() <= 1
    levels = blurred * 255
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)


def test_the_seed_decides_and_nothing_else() -> None:
    clean, before = torch.rand(1, 3, 32, 32, generator=seeded(0)), torch.random.get_rng_state()
    first, same, other = (motion_blur(clean, generator=seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_each_image_of_a_batch_has_a_motion_of_its_own() -> None:
    clean = torch.rand(1, 3, 32, 32, generator=seeded(0)).expand(2, 3, 32, 32)
    first, second = motion_blur(clean, generator=seeded(3))
    assert not torch.equal(first, second)


def test_flat_scenes_only_get_noise() -> None:
    """Motion of an even surface is not seen; the noise stays within what the sensor is said to have."""
    for seed in range(6):
        clean = torch.full((1, 3, 64, 64), 0.5)
        light = motion_blur(clean, generator=seeded(seed)).double() ** 2.2
        assert light.mean().item() == pytest.approx(0.5**2.2, abs=2e-3)
        assert light.std().item() <= 1.2 * math.sqrt(1e-3 * 0.5**2.2 + 2e-3**2)


def test_details_are_lost() -> None:
    checks = torch.arange(SIZE).view(1, -1).add(torch.arange(SIZE).view(-1, 1)).remainder(8).lt(4)
    clean = (0.2 + 0.6 * checks.float()).expand(1, 3, SIZE, SIZE)
    contrast = [motion_blur(clean, generator=seeded(seed))[..., 8:-8, 8:-8].std().item() for seed in range(12)]
    assert max(contrast) <= 1.02 * clean.std().item()
    assert np.median(contrast) < 0.75 * clean.std().item()


def test_clipped_lights_were_brighter_than_white() -> None:
    """The streak of a white light holds more than that of one just below white, whatever else is drawn alike."""
    ratios = []
    for seed in range(5):
        streaks = []
        for level in (1.0, 0.97):
            clean = torch.zeros(1, 3, SIZE, SIZE)
            clean[..., 30:34, 30:34] = level
            streaks.append((motion_blur(clean, generator=seeded(seed)).double() ** 2.2).clamp_min(2e-3).sum().item())
        ratios.append(streaks[0] / streaks[1])
    assert min(ratios) > 0.99
    assert max(ratios) > 1.3
