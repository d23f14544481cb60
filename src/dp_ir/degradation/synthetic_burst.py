"""Synthetic RAW bursts from photographs: the inverse of a camera, hand shake, a mosaic of few pixels, sensor noise.

Distributions and geometry are those of the data that burst networks are trained and compared on ("Deep Burst
Super-Resolution", Bhat et al. 2021, arXiv 2101.10997, with the cameras of Brooks et al. 2019, arXiv 1811.11127): pixel
m of the first mosaic lies at pixel 4 m of the photograph.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.degradation.sensor_noise import add_sensor_noise
from dp_ir.errors import DPIRError
from dp_ir.image.raw.burst import MAX_FRAMES, Burst
from dp_ir.image.raw.camera import Camera

SCALE = 8
"""Side of the photograph / side of a packed plane: the mosaic has a quarter of its sides, a plane half the mosaic's."""

FRAMES = 14

# CIE XYZ to sensor RGB of four cameras, as raw converters list them, which spans what sensors are like.
_XYZ_TO_SENSOR = (
    ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)),
    ((0.4913, -0.0541, -0.0202), (-0.6130, 1.3513, 0.2906), (-0.1564, 0.2151, 0.7183)),
    ((0.8380, -0.2630, -0.0639), (-0.2887, 1.0725, 0.2496), (-0.0627, 0.1427, 0.5438)),
    ((0.6596, -0.2079, -0.0562), (-0.4782, 1.3016, 0.1933), (-0.0970, 0.1581, 0.5181)),
)
_SRGB_TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
_SHIFT = 24.0  # pixels of the photograph, in either direction
_ROTATION = math.radians(1.0)
_SHOT = (1e-4, 0.012)  # variance per unit of light


def synthetic_burst(
    clean: Tensor, *, generator: torch.Generator | None = None, frames: int = FRAMES, camera: Camera | None = None
) -> Burst:
    """Turn a photograph into the burst that a small sensor behind a shaking hand would have taken.

    Args:
        clean: (1, 3, H, W) in [0, 1], sRGB; H and W are multiples of 8.
        generator: decides camera, motion and noise.
        frames: 1 to 20.
        camera: a given one, instead of a random one.

    Returns:
        A burst of planes (frames, 4, H / 8, W / 8), whose camera renders the photograph back.

    Raises:
        DPIRError: another shape, or another number of frames.
    """
    if clean.shape[:2] != (1, 3) or clean.shape[-2] % SCALE or clean.shape[-1] % SCALE or clean.numel() == 0:
        raise DPIRError(
            f"A burst cannot be made of images {tuple(clean.shape)}: expected (1, 3, H, W) with sides that are "
            f"multiples of {SCALE}."
        )
    if not 1 <= frames <= MAX_FRAMES:
        raise DPIRError(f"A burst of {frames} frames was asked for: expected 1 to {MAX_FRAMES}.")
    camera = camera or random_camera(generator)
    sensor = camera.sensor(clean.float()).clamp(0, 1)
    planes = mosaics(sensor, random_transforms(frames, clean.shape[-2:], generator))
    shot, read = random_noise(generator)
    return Burst(add_sensor_noise(planes, shot, read, generator=generator).clamp(0, 1), camera)


def random_camera(generator: torch.Generator | None = None) -> Camera:
    """A mixture of real colour matrices, with white balance and exposure of daylight photographs."""
    shares = torch.rand(len(_XYZ_TO_SENSOR), generator=generator) + 1e-8
    mixed = torch.einsum("k,kij->ij", shares / shares.sum(), torch.tensor(_XYZ_TO_SENSOR))
    from_srgb = mixed @ torch.tensor(_SRGB_TO_XYZ)
    from_srgb = from_srgb / from_srgb.sum(dim=1, keepdim=True)
    exposure = 1 / (0.8 + 0.1 * torch.randn((), generator=generator)).clamp(0.5, 1.1)
    red, blue = torch.rand(2, generator=generator)
    gains = exposure * torch.stack((1.9 + 0.5 * red, torch.ones(()), 1.5 + 0.4 * blue))
    return Camera(gains, torch.linalg.inv(from_srgb))


def random_noise(generator: torch.Generator | None = None) -> tuple[float, float]:
    """Shot noise (variance per unit of light) and read noise (standard deviation), correlated as in real sensors."""
    low, high = map(math.log, _SHOT)
    shot = low + (high - low) * float(torch.rand((), generator=generator))
    read_variance = 2.18 * shot + 1.2 + 0.26 * float(torch.randn((), generator=generator))
    return math.exp(shot), math.exp(read_variance / 2)


def random_transforms(frames: int, size: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Where each frame sees the scene: (frames, 2, 3), the first the identity.

    A pixel (x, y) of the first frame's grid shows in frame k what lies at `transform[k] @ (x, y, 1)`, in pixels of the
    photograph.
    """
    height, width = size
    shift = (2 * torch.rand(frames, 2, generator=generator) - 1) * _SHIFT
    angle = (2 * torch.rand(frames, generator=generator) - 1) * _ROTATION
    shift[0], angle[0] = 0, 0
    turn = torch.stack((angle.cos(), -angle.sin(), angle.sin(), angle.cos()), dim=1).view(-1, 2, 2)
    centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
    return torch.cat((turn, (centre - turn @ centre + shift)[..., None]), dim=2)


def mosaics(sensor: Tensor, transforms: Tensor) -> Tensor:
    """What the frames of a burst see of linear sensor RGB, without noise.

    A pixel gathers light from 2x2 pixels of the photograph, a quarter of its distance to its neighbours squared, which
    leaves the aliasing that super-resolution of bursts lives on.

    Args:
        sensor: (1, 3, H, W), H and W multiples of 8.
        transforms: (N, 2, 3), see `random_transforms`.

    Returns:
        (N, 4, H / 8, W / 8): the planes R, G, G, B. Beyond the photograph its border is repeated.
    """
    frames = len(transforms)
    height, width = sensor.shape[-2:]
    # gathered[.., 0] lies half a pixel before the first pixel of the photograph.
    gathered = F.avg_pool2d(F.pad(sensor, (1, 1, 1, 1), mode="replicate"), 2, stride=1)
    extent = torch.tensor([width, height])
    planes = []
    for channel, row, column in ((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1)):
        y = torch.arange(height // SCALE) * SCALE + row * SCALE / 2
        x = torch.arange(width // SCALE) * SCALE + column * SCALE / 2
        place = torch.stack((x.expand(len(y), -1), y[:, None].expand(-1, len(x))), dim=-1)
        seen = torch.einsum("nij,hwj->nhwi", transforms[:, :, :2], place) + transforms[:, None, None, :, 2]
        grid = 2 * (seen + 0.5) / extent - 1
        colour = gathered[:, channel : channel + 1].expand(frames, -1, -1, -1)
        planes.append(F.grid_sample(colour, grid, mode="bilinear", padding_mode="border", align_corners=True))
    return torch.cat(planes, dim=1)
