"""Photos as people have them: each step against another implementation, all of them together by what they must keep."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dp_ir.degradation.photo import Compression, compressed, gaussian_blur, photo, resized, sharpened
from dp_ir.errors import DPIRError


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(side: int, seed: int = 0) -> Tensor:
    """Something with edges, gradients and a little texture, (1, 3, side, side)."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    texture = 0.03 * torch.randn(side, side, generator=seeded(seed))
    planes = (0.2 + 0.6 * x, 0.5 + 0.3 * torch.sin(9 * y), (0.3 + 0.4 * (x + y > 0.9)).float())
    return (torch.stack(planes)[None] + texture).clamp(0, 1)


@pytest.mark.parametrize("deviation", [0.6, 1.3, 2.8])
def test_round_blur_is_the_gaussian_of_scipy(deviation: float) -> None:
    image = scene(40)
    expected = gaussian_filter(image.numpy(), (0, 0, deviation, deviation), mode="nearest", truncate=3.5)
    np.testing.assert_allclose(gaussian_blur(image, (deviation, deviation)).numpy(), expected, atol=3e-3)


@pytest.mark.parametrize("angle", [0.0, 0.4, 2.0])
def test_long_blur_has_its_covariance(angle: float) -> None:
    point = torch.zeros(1, 1, 61, 61)
    point[..., 30, 30] = 1
    spread = gaussian_blur(point, (3.0, 1.0), angle)[0, 0].double()
    y, x = torch.meshgrid(*2 * (torch.arange(-30.0, 31, dtype=torch.float64),), indexing="ij")
    found = torch.stack([(spread * a * b).sum() for a, b in ((x, x), (x, y), (y, y))])
    cos, sin = math.cos(angle), math.sin(angle)
    expected = torch.tensor([9 * cos**2 + sin**2, 8 * cos * sin, 9 * sin**2 + cos**2], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=0.06, rtol=0.02)
    assert float(spread.sum()) == pytest.approx(1, abs=1e-6)


def test_sharpening_adds_what_a_blur_takes_away() -> None:
    image = scene(48) * 0.5 + 0.25
    blurred = gaussian_filter(image.numpy(), (0, 0, 1.2, 1.2), mode="nearest", truncate=3.5)
    expected = (image.numpy() + 0.8 * (image.numpy() - blurred)).clip(0, 1)
    np.testing.assert_allclose(sharpened(image, 0.8, 1.2).numpy(), expected, atol=3e-3)
    flat = torch.full((1, 3, 9, 9), 0.4)
    torch.testing.assert_close(sharpened(flat, 0.8, 1.5), flat)


@pytest.mark.parametrize("filter", ["area", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(16, 16), (23, 17), (40, 40), (57, 66)])
def test_resizing_keeps_gradients(filter: str, size: tuple[int, int]) -> None:
    y, x = torch.meshgrid((torch.arange(40) + 0.5) / 40, (torch.arange(40) + 0.5) / 40, indexing="ij")
    wanted_y, wanted_x = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in size), indexing="ij")
    result = resized((0.3 * x + 0.6 * y)[None, None], size, filter)[0, 0]  # type: ignore[arg-type]
    inner = (slice(4, -4), slice(4, -4))
    torch.testing.assert_close(result[inner], (0.3 * wanted_x + 0.6 * wanted_y)[inner], atol=0.012, rtol=0)


def test_files_are_those_that_pillow_writes() -> None:
    image = scene(37)
    levels = (image[0] * 255).round().byte().permute(1, 2, 0).numpy()
    for quality in (40, 75, 95):
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=quality)
        expected = np.array(Image.open(file))
        found = compressed(image, Compression("JPEG", quality))[0] * 255
        np.testing.assert_array_equal(found.permute(1, 2, 0).round().numpy(), expected)


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_lower_quality_leaves_less(format: str) -> None:
    image = scene(64)
    errors = [
        float((compressed(image, Compression(format, quality)) - image).square().mean())  # type: ignore[arg-type]
        for quality in (10, 40, 70, 95)
    ]
    assert errors == sorted(errors, reverse=True)


def test_blocks_begin_where_they_are_said_to() -> None:
    noise = torch.rand(1, 1, 64, 64, generator=seeded(1)).expand(-1, 3, -1, -1)
    for phase in ((0, 0), (3, 6)):
        image = compressed(noise * 0.3 + 0.3, Compression("JPEG", 4), phase)[0, 1]
        across = (image[:, 1:] - image[:, :-1]).abs().mean(0)
        down = (image[1:] - image[:-1]).abs().mean(1)
        for steps, start in ((down, phase[0]), (across, phase[1])):
            # The last pixel before a block is 7, 15, ... from the start of the blocks, which is `start` to the left.
            blocks = torch.stack([steps[offset::8].mean() for offset in range(8)])
            assert int(blocks.argmax()) == (7 - start) % 8


@pytest.mark.parametrize("scale", [1, 4])
def test_only_seed_and_image_decide(scale: int) -> None:
    clean = torch.cat([scene(64, seed) for seed in range(2)])
    both = photo(clean, scale=scale, generator=seeded(7))
    assert both.shape == (2, 3, 64 // scale, 64 // scale)
    assert torch.equal(both, photo(clean, scale=scale, generator=seeded(7)))
    assert not torch.equal(both, photo(clean, scale=scale, generator=seeded(8)))
    assert torch.equal(both[:1], photo(clean[:1], scale=scale, generator=seeded(7)))
    torch.testing.assert_close(both * 255, (both * 255).round(), atol=1e-4, rtol=0)
    assert 0 <= float(both.min()) <= float(both.max()) <= 1


@pytest.mark.parametrize("scale", [1, 4])
def test_photos_are_as_different_as_those_of_people(scale: int) -> None:
    """Brightness and colour stay; about a quarter is hardly changed, and nothing is beyond recognition."""
    clean = scene(128)
    reduced = resized(clean, (128 // scale, 128 // scale), "bicubic").clamp(0, 1)
    quality = []
    for seed in range(80):
        observation = photo(clean, scale=scale, generator=seeded(seed))
        assert (observation - reduced).mean((0, 2, 3)).abs().max() < 0.02
        quality.append(-10 * math.log10(float((observation - reduced).square().mean())))
    assert min(quality) > 18
    assert np.percentile(quality, 80) > np.percentile(quality, 20) + 4
    assert np.median(quality) < 35


def test_sides_that_do_not_divide_are_refused() -> None:
    with pytest.raises(DPIRError, match=r"30x32 .* multiples of 4"):
        photo(torch.zeros(1, 3, 32, 30), scale=4)
