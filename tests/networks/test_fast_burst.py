"""The fast restorer of bursts: where samples are laid, that frames help, and that what does not fit them does not."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
import pytest
import torch
from random_networks import randomised
from torch import Tensor

from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.degradation.sensor_noise import add_sensor_noise
from dp_ir.degradation.synthetic_burst import mosaics, random_transforms
from dp_ir.networks.fast_burst.model import FastBurst, gather


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small() -> FastBurst:
    return FastBurst(channels=(16, 16, 16), blocks=(1, 1, 1))


@lru_cache
def scene(side: int, seed: int = 0) -> Tensor:
    """Noise with the spectrum of photographs, its channels much alike: (1, 3, side, side) linear light."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    frequency[0, 0] = np.inf
    grey, *own = (np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) / frequency).real for _ in range(4))
    channels = np.stack([plane / plane.std() for plane in (grey + 0.3 * part for part in own)])
    return torch.from_numpy(0.3 + 0.1 * channels).float().clamp(0.02, 1)[None]


def to_frames(transforms: Tensor) -> Tensor:
    """What `register` should find: a frame shows at p what lies at transform @ p, four pixels to one of the mosaic."""
    square = torch.cat((transforms, torch.tensor([0.0, 0.0, 1.0]).expand(len(transforms), 1, 3)), dim=1)
    larger = torch.diag(torch.tensor([4.0, 4.0, 1.0]))
    return (torch.linalg.inv(larger) @ torch.linalg.inv(square) @ larger)[:, :2]


def psnr(image: Tensor, truth: Tensor, border: int = 32) -> float:
    inner = (..., slice(border, -border), slice(border, -border))
    return -10 * (image[inner] - truth[inner]).square().mean().log10().item()


# ---- the grid --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_samples_lie_where_their_light_came_from(seed: int | None) -> None:
    """On ramps every sample says where it belongs, so pixels hold their own coordinates, to the pixel they share."""
    side = 128
    transforms = random_transforms(5, (side, side), seeded(seed or 0))[: 1 if seed is None else 5]
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    for truth in (x.float(), y.float()):
        frames = mosaics(truth.expand(1, 3, side, side) / side, transforms)
        light, _, density = gather(frames[None], to_frames(transforms)[None])
        inner = (density > 1e-2) & ((x > 36) & (x < 92) & (y > 36) & (y < 92))
        offset, weight = (side * light / density - truth)[inner], density[inner]
        assert offset.abs().max() < 1.01
        assert (offset * weight).sum() / weight.sum() == pytest.approx(0, abs=0.02)


def test_one_frame_by_hand() -> None:
    """The planes R, G, G, B of a cell lie at every eighth pixel, from 0 or from 4 on."""
    frames = torch.rand(1, 1, 4, 4, 5, generator=seeded(0))
    identity = torch.eye(3)[:2].expand(1, 1, 2, 3)
    light, squares, density = gather(frames, identity)
    assert light.shape == squares.shape == density.shape == (1, 3, 32, 40)
    expected = torch.zeros(3, 32, 40)
    for plane, (colour, down, right) in enumerate([(0, 0, 0), (1, 0, 4), (1, 4, 0), (2, 4, 4)]):
        expected[colour, down::8, right::8] = frames[0, 0, plane]
    torch.testing.assert_close(light[0], expected)
    torch.testing.assert_close(squares[0], expected**2)
    assert torch.equal(density[0] > 0, expected > 0)


def test_every_sample_is_counted_once() -> None:
    transforms = random_transforms(6, (256, 256), seeded(2))
    frames = mosaics(scene(256), transforms)
    density = gather(frames[None], to_frames(transforms)[None])[2]
    inner = density[0, :, 64:-64, 64:-64].sum(dim=(1, 2)) / 128**2
    # Of 64 pixels one is red, two are green and one is blue in each of six frames.
    torch.testing.assert_close(inner, torch.tensor([6, 12, 6]) / 64, rtol=0.05, atol=0)


def test_what_moves_on_its_own_counts_less() -> None:
    transforms = torch.eye(3)[:2].repeat(4, 1, 1)
    frames = mosaics(scene(256), transforms)
    kept = gather(frames[None], transforms[None])[2]
    frames[1:, :, 10:20, 12:22] = 0.9  # a bright thing comes into view
    density = gather(frames[None], transforms[None])[2]
    hidden, untouched = (..., slice(104, 136), slice(120, 152)), (..., slice(200, 240), slice(8, 240))
    assert density[hidden].sum() < 0.3 * kept[hidden].sum()  # a quarter comes from the first frame
    torch.testing.assert_close(density[untouched], kept[untouched])


# ---- the network -----------------------------------------------------------------------------------------------------


def test_it_is_small_and_says_what_it_is() -> None:
    assert sum(parameter.numel() for parameter in FastBurst().parameters()) <= 4e6
    info = info_of(FastBurst())
    assert (info.scale, info.channels, info.value_range) == (8, 4, (0.0, 1.0))


@pytest.mark.parametrize("frames", [1, 2, 3, 14, 20])
def test_any_number_of_frames(frames: int) -> None:
    with torch.no_grad():
        restored = randomised(small())(torch.rand(1, frames, 4, 24, 26, generator=seeded(0)))
    assert restored.shape == (1, 3, 192, 208)
    assert bool(torch.isfinite(restored).all())


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (24, 31)])
def test_any_size_behind_its_contract(height: int, width: int) -> None:
    burst = torch.rand(1, 3, 4, height, width, generator=seeded(0))
    with torch.no_grad():
        assert LoadedNetwork("restorer", small())(burst).shape == (1, 3, 8 * height, 8 * width)


def test_no_leak_between_the_bursts_of_a_batch() -> None:
    bursts = torch.stack([mosaics(scene(256, seed), random_transforms(3, (256, 256), seeded(seed))) for seed in (0, 1)])
    network = randomised(small())
    with torch.no_grad():
        together = network(bursts)
        for number in range(2):
            alone = network(bursts[number : number + 1])
            # Registration iterates, so that a last bit at its start is some more in its end.
            assert (together[number : number + 1] - alone).abs().mean() < 1e-3 * alone.abs().mean()


def test_every_parameter_gets_a_gradient() -> None:
    network = randomised(small())
    network(mosaics(scene(128), random_transforms(3, (128, 128), seeded(0)))[None]).square().mean().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in network.parameters())


def test_config_rebuilds_the_network() -> None:
    network = small()
    rebuilt = FastBurst(**network.config)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.config == network.config


@pytest.mark.parametrize("frames", [1, 6])
def test_untrained_it_gives_an_even_colour_back(frames: int) -> None:
    """Red, green and blue at their places, and linear light as it came in."""
    colour = torch.tensor([0.6, 0.3, 0.1])
    planes = colour[[0, 1, 1, 2]].view(4, 1, 1).expand(1, frames, 4, 16, 16)
    with torch.no_grad():
        restored = small()(planes)
    torch.testing.assert_close(restored, colour.view(1, 3, 1, 1).expand_as(restored), atol=2e-3, rtol=0)


def test_untrained_frames_already_take_noise_away() -> None:
    """Twelve frames hold what one has lost; the others' order does not matter."""
    transforms = random_transforms(12, (384, 384), seeded(0))
    clean = mosaics(scene(384), transforms)
    frames = add_sensor_noise(clean, 0.01, 0.02, generator=seeded(1)).clamp(0, 1)[None]
    network = small()
    with torch.no_grad():
        many, one = network(frames), network(frames[:, :1])
        others = network(torch.cat((frames[:, :1], frames[:, 1:].flip(1)), dim=1))
    assert psnr(many, scene(384)) > psnr(one, scene(384)) + 1
    assert (many - others).abs().mean() < 0.01 * (many - one).abs().mean()


def test_samples_of_many_frames_hold_detail_that_one_frame_lacks() -> None:
    """The nearest samples of twelve frames, without any network, against those of one."""
    transforms = random_transforms(12, (384, 384), seeded(3))
    frames = mosaics(scene(384), transforms)[None]
    errors = {}
    for number in (1, 12):
        light, _, density = gather(frames[:, :number], to_frames(transforms)[None, :number])
        sums, weights = light[:, 1:2].clone(), density[:, 1:2].clone()
        for down, right in itertools.product(range(-3, 4), repeat=2):
            near = 1e-3 ** (down**2 + right**2 > 0) / (1 + down**2 + right**2) ** 2
            sums += near * light[:, 1:2].roll((down, right), (2, 3))
            weights += near * density[:, 1:2].roll((down, right), (2, 3))
        errors[number] = psnr(sums / weights.clamp_min(1e-9), scene(384)[:, 1:2])
    assert errors[12] > errors[1] + 1
