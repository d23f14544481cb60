"""The camera's pipeline against a transcription of its equations, and its inverse; mosaics of packed planes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dp_ir.errors import DPIRError, ImageReadError
from dp_ir.image.raw.burst import Burst, pack, unpack
from dp_ir.image.raw.camera import Camera, decode, encode


def random_camera(seed: int, batch: tuple[int, ...] = ()) -> Camera:
    """Gains as of daylight and lamps, and a matrix whose rows add up to 1, in which one channel corrects the others."""
    rng = np.random.default_rng(seed)
    gains = rng.uniform((1.2, 0.8, 1.2), (2.6, 1.2, 2.6), (*batch, 3))
    mixing = rng.uniform(-0.5, 0.1, (*batch, 3, 3)) * (1 - np.eye(3))
    matrix = mixing + np.eye(3) * (1 - mixing.sum(-1))[..., None]
    return Camera(torch.from_numpy(gains), torch.from_numpy(matrix))


def photograph(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape))


def transcribed(sensor: np.ndarray, gains: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """One pixel through sections 3.1 to 3.4 of Brooks et al. 2019, the other way round."""
    balanced = [sensor[c] * gains[c] for c in range(3)]
    srgb = [sum(matrix[row][c] * balanced[c] for c in range(3)) for row in range(3)]
    display = [max(min(value, 1.0), 1e-8) ** (1 / 2.2) for value in srgb]
    return np.array([3 * value**2 - 2 * value**3 for value in display])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rendering_is_what_the_equations_say(seed: int) -> None:
    camera, sensor = random_camera(seed), photograph(seed, 1, 3, 2, 3)
    rendered = camera.render(sensor)
    for row in range(2):
        for column in range(3):
            expected = transcribed(sensor[0, :, row, column].numpy(), camera.gains.numpy(), camera.matrix.numpy())
            np.testing.assert_allclose(rendered[0, :, row, column].numpy(), expected, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_inverse_of_the_inverse_is_the_identity(seed: int) -> None:
    """Of photographs everywhere, black and white included; of sensor data wherever they lie inside sRGB."""
    camera, shown = random_camera(seed), photograph(seed, 1, 3, 4, 5)
    shown[0, :, 0, 0], shown[0, :, 0, 1] = 0, 1
    sensor = camera.sensor(shown)
    torch.testing.assert_close(camera.render(sensor), shown, atol=1e-6, rtol=0)
    torch.testing.assert_close(camera.sensor(camera.render(sensor)), sensor, atol=1e-6, rtol=0)


def test_in_single_precision_the_way_there_and_back_costs_no_8_bit_level() -> None:
    camera, shown = random_camera(3), photograph(3, 1, 3, 64, 64).float()
    assert (camera.render(camera.sensor(shown)) - shown).abs().max() < 0.1 / 255


def test_a_batch_has_a_camera_for_each() -> None:
    both, shown = random_camera(5, (2,)), photograph(5, 2, 3, 4, 4)
    alone = [Camera(both.gains[i], both.matrix[i]) for i in range(2)]
    torch.testing.assert_close(both.sensor(shown), torch.cat([alone[i].sensor(shown[i : i + 1]) for i in range(2)]))
    torch.testing.assert_close(both.render(shown), torch.cat([alone[i].render(shown[i : i + 1]) for i in range(2)]))


def test_grey_stays_grey_and_brighter_stays_brighter() -> None:
    camera = random_camera(7)
    grey = torch.linspace(0, 1, 256, dtype=torch.float64).view(1, 1, 1, 256).expand(1, 3, 1, 256)
    rendered = camera.render(grey / camera.gains.view(1, 3, 1, 1))
    torch.testing.assert_close(rendered, rendered[:, :1].expand_as(rendered))
    assert bool((rendered.diff(dim=-1) > 0).all())


def test_the_neutral_camera_only_has_the_curve() -> None:
    image = photograph(0, 1, 3, 3, 3)
    neutral = Camera.neutral()
    torch.testing.assert_close(neutral.linear(image), image)
    torch.testing.assert_close(neutral.render(image), encode(image))
    torch.testing.assert_close(neutral.sensor(image), decode(image))
    assert encode(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0, 1], abs=1e-6)
    assert decode(torch.tensor([0.0, 0.5, 1.0])).tolist() == pytest.approx([0, 0.5**2.2, 1], abs=1e-6)


def test_overexposed_light_is_white() -> None:
    assert encode(torch.tensor([1.5, -0.5])).tolist() == pytest.approx([1, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("gains", "matrix"),
    [
        (torch.ones(4), torch.eye(3)),
        (torch.ones(3), torch.eye(4)),
        (torch.ones(2, 3), torch.eye(3)),
        (torch.tensor([1.0, 0.0, 1.0]), torch.eye(3)),
        (torch.ones(3), torch.ones(3, 3)),
    ],
)
def test_cameras_that_cannot_be(gains: Tensor, matrix: Tensor) -> None:
    with pytest.raises(DPIRError, match="expected"):
        Camera(gains, matrix)


def test_packing_by_hand() -> None:
    mosaic = torch.arange(24).view(4, 6)
    assert pack(mosaic).tolist() == [
        [[0, 2, 4], [12, 14, 16]],  # R
        [[1, 3, 5], [13, 15, 17]],  # G beside R
        [[6, 8, 10], [18, 20, 22]],  # G beside B
        [[7, 9, 11], [19, 21, 23]],  # B
    ]


@settings(max_examples=30, deadline=None)
@given(shape=st.lists(st.integers(1, 3), max_size=2), height=st.integers(1, 5), width=st.integers(1, 5))
def test_unpacking_is_the_inverse(shape: list[int], height: int, width: int) -> None:
    mosaics = torch.rand(*shape, 2 * height, 2 * width)
    planes = pack(mosaics)
    assert planes.shape == (*shape, 4, height, width)
    assert torch.equal(unpack(planes), mosaics)


@pytest.mark.parametrize(
    "frames",
    [
        torch.rand(4, 8, 8),
        torch.rand(2, 3, 8, 8),
        torch.rand(0, 4, 8, 8),
        torch.rand(2, 4, 8, 8).double(),
        torch.full((1, 4, 2, 2), float("nan")),
    ],
)
def test_bursts_that_cannot_be(frames: Tensor) -> None:
    with pytest.raises(ImageReadError, match="expected"):
        Burst(frames)
