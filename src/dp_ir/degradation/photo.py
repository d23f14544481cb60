"""What happens to a photo until a person has it: blur, noise, sharpening, reductions and compression, each by chance.

The steps are those of the published practice for blind super-resolution (BSRGAN, Zhang et al. 2021, arXiv 2103.14006;
Real-ESRGAN, Wang et al. 2021, arXiv 2107.10833), in the order in which they happen to a photo: a lens blurs, a sensor
adds noise, a camera sharpens and compresses, then whoever passes the photo on makes it smaller and compresses it again.
Their strengths are milder than there, which is what keeps a network from smoothing what was hardly degraded:

- qualities lie around what programs write unless they are told otherwise: cameras 88 to 97, Pillow and cwebp 75, sharp
  80, WordPress 82, ImageMagick 92;
- noise has a standard deviation of at most 6 of 255 grey levels after the camera, the blur of a lens one of at most 0.7
  pixels of the photo as it is passed on;
- a quarter of the photos is only made smaller, and compressed little or not at all.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from dp_ir.degradation.chance import chance, log_uniform, uniform
from dp_ir.degradation.sensor_noise import add_sensor_noise
from dp_ir.errors import DPIRError

GAMMA = 2.2
"""Linear light = display value to the power of 2.2."""

Filter = Literal["area", "bilinear", "bicubic"]
Format = Literal["JPEG", "WEBP"]

_NEARLY_CLEAN = 0.25  # share of the photos
_BLUR = (0.08, 0.7)  # standard deviation along each axis, pixels of the photo as it is passed on
_FROM_CAMERA = (1.0, 3.0)  # sides of the camera's photo over those of the one that is passed on
_ENLARGED = (0.6, 1.0)  # the same of a photo that was once smaller
_SHOT, _READ = (1e-5, 2e-3), (1e-4, 5e-3)  # variance per unit of light, standard deviation in the dark
_GAUSSIAN = (0.3 / 255, 6.0 / 255)
_AMOUNT, _RADIUS = (0.1, 0.8), (0.5, 1.5)  # of sharpening; pixels
_CAMERA_QUALITY, _QUALITY = (88, 97), (30, 96)


@dataclass(frozen=True)
class Compression:
    """How a photo is compressed.

    Args:
        format: "JPEG" or "WEBP".
        quality: 1 to 100, as Pillow counts it.
        full_colour: colour at full resolution; WebP always halves it.
    """

    format: Format
    quality: int
    full_colour: bool = False


def photo(clean: Tensor, *, scale: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Degrade photos as if they had been taken, made smaller and passed on, each in its own way.

    Args:
        clean: (B, 3, H, W) in [0, 1], display values; H and W are multiples of `scale`.
        scale: side of the clean photo over that of the observation.
        generator: decides everything that is left to chance.

    Returns:
        (B, 3, H / scale, W / scale), multiples of 1/255 in [0, 1].

    Raises:
        DPIRError: a side is not a multiple of `scale`.
    """
    if clean.shape[-2] % scale or clean.shape[-1] % scale or not clean.numel():
        raise DPIRError(
            f"A clean image of {clean.shape[-1]}x{clean.shape[-2]} pixels cannot be made {scale} times smaller: its "
            f"sides must be multiples of {scale}."
        )
    return torch.cat([_one_photo(image[None], scale, generator) for image in clean])


def _one_photo(clean: Tensor, scale: int, generator: torch.Generator | None) -> Tensor:
    size = (clean.shape[-2] // scale, clean.shape[-1] // scale)
    if chance(_NEARLY_CLEAN, generator):
        image = resized(clean.float(), size, _random_filter(generator))
        return compressed(image, _random_compression((88, 98), generator)) if chance(0.5, generator) else _levels(image)

    image = _taken(clean.float(), scale, size, generator)
    image = resized(image, size, _random_filter(generator))
    if chance(0.25, generator):
        image = sharpened(image, uniform(*_AMOUNT, generator), uniform(*_RADIUS, generator))
    image = compressed(image, _random_compression(_QUALITY, generator), _random_phase(generator))
    if chance(0.15, generator):
        image = compressed(image, _random_compression(_QUALITY, generator), _random_phase(generator))
    return image


def _taken(clean: Tensor, scale: int, size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """What a camera makes of a scene, before it is passed on in a given size."""
    deviations = [scale * log_uniform(*_BLUR, generator) for _ in range(2)]
    if chance(0.5, generator):
        deviations[1] = deviations[0]
    image = gaussian_blur(clean, deviations, uniform(0, math.pi, generator))
    if scale > 1:
        larger = log_uniform(*(_ENLARGED if chance(0.1, generator) else _FROM_CAMERA), generator)
        taken = [min(round(larger * side), scale * side) for side in size]
        image = resized(image, (max(1, taken[0]), max(1, taken[1])), _random_filter(generator))
    image = _noisy(image, generator)
    if chance(0.3, generator):
        image = sharpened(image, uniform(*_AMOUNT, generator), uniform(*_RADIUS, generator))
    if chance(0.7, generator):
        quality = int(torch.randint(_CAMERA_QUALITY[0], _CAMERA_QUALITY[1] + 1, (), generator=generator))
        image = compressed(image, Compression("JPEG", quality, chance(0.3, generator)), _random_phase(generator))
    return image


def _noisy(image: Tensor, generator: torch.Generator | None) -> Tensor:
    """With the noise of a sensor, or with what is left of it after a camera's own processing, grey or coloured."""
    if chance(0.5, generator):
        shot, read = log_uniform(*_SHOT, generator), log_uniform(*_READ, generator)
        linear = add_sensor_noise(image.clamp(0, 1) ** GAMMA, shot, read, generator=generator)
        image = linear.clamp(0, 1) ** (1 / GAMMA)
    if chance(0.5, generator):
        shape = (1, 1 if chance(0.4, generator) else 3, *image.shape[-2:])
        image = image + log_uniform(*_GAUSSIAN, generator) * torch.randn(shape, generator=generator)
    return image.clamp(0, 1)


def gaussian_blur(image: Tensor, deviations: Sequence[float], angle: float = 0.0) -> Tensor:
    """Blur with a Gaussian that may be longer in one direction.

    Args:
        image: (B, C, H, W).
        deviations: standard deviations along the first axis and across it, in pixels.
        angle: of the first axis to the right, in radians, turning from right to down.

    Returns:
        The same shape. Beyond the image its border is repeated.
    """
    radius = math.ceil(3.5 * max(deviations))
    if not radius:
        return image
    offset = torch.arange(-radius, radius + 1, dtype=torch.float64)
    down, right = torch.meshgrid(offset, offset, indexing="ij")
    along = right * math.cos(angle) + down * math.sin(angle)
    across = down * math.cos(angle) - right * math.sin(angle)
    # A narrow Gaussian is sampled as if it were at least a quarter of a pixel wide, below which nothing is left of it.
    first, second = (max(deviation, 0.25) for deviation in deviations)
    kernel = torch.exp(-((along / first) ** 2 + (across / second) ** 2) / 2)
    padded = F.pad(image, (radius,) * 4, mode="replicate")
    size = padded.shape[-2:]
    # The kernel is its own mirror image, so that the order of its pixels does not matter; what wraps around is cut off.
    spectrum = torch.fft.rfft2((kernel / kernel.sum()).to(image), size)
    return torch.fft.irfft2(torch.fft.rfft2(padded) * spectrum, size)[..., 2 * radius :, 2 * radius :]


def resized(image: Tensor, size: tuple[int, int], filter: Filter) -> Tensor:
    """Resize (B, C, H, W) to (height, width); reductions are antialiased, nothing is clipped."""
    if tuple(image.shape[-2:]) == size:
        return image
    if filter == "area":
        return F.interpolate(image, size, mode="area")
    return F.interpolate(image, size, mode=filter, align_corners=False, antialias=True)


def sharpened(image: Tensor, amount: float, deviation: float) -> Tensor:
    """Unsharp masking: `amount` times what a Gaussian blur takes away is added; (B, C, H, W), clipped to [0, 1]."""
    return (image + amount * (image - gaussian_blur(image, (deviation, deviation)))).clamp(0, 1)


def compressed(image: Tensor, compression: Compression, phase: tuple[int, int] = (0, 0)) -> Tensor:
    """What is left of images after they were written to a file and read from it.

    Args:
        image: (B, 3, H, W) in [0, 1].
        compression: of the file.
        phase: how many pixels above and to the left of the image the blocks of the compression begin, each below 16.

    Returns:
        The same shape, multiples of 1/255 in [0, 1].
    """
    top, left = phase
    padded = F.pad(image.clamp(0, 1), (left, 0, top, 0), mode="replicate")
    results = []
    for levels in (padded * 255).round().byte().permute(0, 2, 3, 1):
        file = io.BytesIO()
        own = {"subsampling": 0 if compression.full_colour else 2} if compression.format == "JPEG" else {"method": 2}
        Image.fromarray(levels.numpy()).save(file, compression.format, quality=compression.quality, **own)
        with Image.open(file) as written:
            pixels = np.array(written.convert("RGB"))
        results.append(torch.from_numpy(pixels).permute(2, 0, 1)[:, top:, left:])
    return torch.stack(results).to(image) / 255


def _levels(image: Tensor) -> Tensor:
    return (image.clamp(0, 1) * 255).round() / 255


def _random_filter(generator: torch.Generator | None) -> Filter:
    filters: tuple[Filter, ...] = ("area", "bilinear", "bicubic", "bicubic")
    return filters[int(torch.randint(len(filters), (), generator=generator))]


def _random_compression(qualities: tuple[int, int], generator: torch.Generator | None) -> Compression:
    quality = int(torch.randint(qualities[0], qualities[1] + 1, (), generator=generator))
    return Compression("WEBP" if chance(0.15, generator) else "JPEG", quality, chance(0.25, generator))


def _random_phase(generator: torch.Generator | None) -> tuple[int, int]:
    down, right = torch.randint(16, (2,), generator=generator).tolist()
    return down, right
