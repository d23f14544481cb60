"""Motion blur of single photographs: a camera that shakes during the exposure, and things that move on their own.

What a sensor adds up during an exposure is a sequence of sharp images, so that is how the blur is made here: the
photograph, in linear light, is moved along a random path and averaged, layers of it on paths of their own. Then come
saturation, noise, the camera's response and 8 bits. As in the data sets that are made from video (GoPro, Nah et al.
2017, arXiv 1612.02177), the image of the middle of the exposure is the clean one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.degradation.chance import log_uniform
from dp_ir.degradation.sensor_noise import add_sensor_noise

GAMMA = 2.2
"""The camera's response: display value = linear light to the power of 1 / 2.2."""

_LENGTHS = (1.5, 20.0)  # pixels that the camera moves during an exposure
_STEP = 1.0  # mean distance between two images that are averaged, pixels
_PERSISTENCE = 0.9  # of the velocity from one image to the next
_SATURATED = 0.98  # values from here on may be brighter than the sensor could show
_SHOT = (1e-6, 1e-3)  # variance per unit of light
_READ = (1e-4, 2e-3)  # standard deviation in the dark


@dataclass(frozen=True)
class Motion:
    """Where the image stands at each moment of an exposure, relative to its middle.

    Args:
        shift: (K, 2) in pixels, to the right and down; K is odd.
        roll: (K,) in radians, around `centre`.
        zoom: (K,) relative change of size, around `centre`.
        centre: in units of the image's sides, 0.5 is the middle.
    """

    shift: Tensor
    roll: Tensor
    zoom: Tensor
    centre: tuple[float, float] = (0.5, 0.5)

    def transforms(self, height: int, width: int) -> Tensor:
        """Where each pixel comes from: (K, 2, 3) for `torch.nn.functional.affine_grid` without aligned corners."""
        size = torch.tensor([width / 2, height / 2])
        centre = (2 * torch.tensor(self.centre) - 1) * size  # pixels from the middle of the image
        factor = 1 / (1 + self.zoom)
        turn = torch.stack((self.roll.cos(), self.roll.sin(), -self.roll.sin(), self.roll.cos()), 1).view(-1, 2, 2)
        turn = turn * factor[:, None, None]
        offset = centre - turn @ centre - (turn @ self.shift[..., None])[..., 0]
        # From pixels to the grid's units, in which the image reaches from -1 to 1.
        return torch.cat((turn * size / size[:, None], (offset / size)[..., None]), dim=2)


def motion_blur(clean: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Blur photographs as a handheld camera would, each with a motion, saturation and noise of its own.

    Args:
        clean: (B, 3, H, W) in [0, 1], display values.
        generator: decides everything that is left to chance.

    Returns:
        (B, 3, H, W), multiples of 1/255 in [0, 1].
    """
    return torch.cat([_blur_one(image[None], generator) for image in clean])


def average(linear: Tensor, motion: Motion, layers: Sequence[tuple[Tensor, Motion]] = ()) -> Tensor:
    """The mean of an image over a motion.

    Args:
        linear: (1, 3, H, W), linear light.
        motion: of the camera.
        layers: masks (1, 1, H, W) in [0, 1] of what moves on its own, from back to front, each with its motion
            relative to the camera's; all motions have equally many moments. What a layer uncovers looks as it does.

    Returns:
        (1, 3, H, W), linear light. Beyond the image its border is repeated.
    """
    height, width = linear.shape[-2:]
    cameras = motion.transforms(height, width)
    moved = [(mask, own.transforms(height, width)) for mask, own in layers]
    total = torch.zeros_like(linear)
    for moment in range(len(cameras)):
        scene = linear
        for mask, transforms in moved:
            own = _moved(torch.cat((linear, mask), dim=1), transforms[moment])
            scene = scene + own[:, 3:] * (own[:, :3] - scene)
        total += _moved(scene, cameras[moment])
    return total / len(cameras)


def random_motion(size: tuple[int, int], length: float, moments: int, generator: torch.Generator | None) -> Motion:
    """A path of `length` pixels with a smoothly changing velocity, with a little roll and zoom.

    Args:
        size: height and width of the image.
        length: of the path in pixels.
        moments: images that are averaged, odd.
        generator: of the random numbers.
    """
    kicks = torch.randn(moments, 4, generator=generator)
    velocity = kicks.clone()
    velocity[0] *= 1 / math.sqrt(1 - _PERSISTENCE**2)
    for moment in range(1, moments):
        velocity[moment] += _PERSISTENCE * velocity[moment - 1]
    path = velocity.cumsum(0)
    path = path - path[moments // 2]
    travelled = (path[1:, :2] - path[:-1, :2]).norm(dim=1).sum().clamp_min(1e-6)
    path = path * (length / travelled)
    # Roll and zoom move the corners of the image up to half as far as the shift moves everything.
    share = torch.rand(2, generator=generator) * 0.5
    turned = path[:, 2:] * share / (math.hypot(*size) / 2)
    across, down = torch.rand(2, generator=generator).tolist()
    return Motion(path[:, :2], turned[:, 0], turned[:, 1], (across, down))


def _blur_one(clean: Tensor, generator: torch.Generator | None) -> Tensor:
    size = (clean.shape[-2], clean.shape[-1])
    length = log_uniform(*_LENGTHS, generator)
    layers = int(torch.randint(3, (), generator=generator))
    lengths = [log_uniform(*_LENGTHS, generator) for _ in range(layers)]
    moments = 2 * math.ceil(max([length, *lengths]) / _STEP / 2) + 1
    motion = random_motion(size, length, moments, generator)
    moving = [(_blob(size, generator), random_motion(size, own, moments, generator)) for own in lengths]
    linear = average(_overexposed(clean.float() ** GAMMA, generator), motion, moving)
    noisy = add_sensor_noise(
        linear.clamp(0, 1), log_uniform(*_SHOT, generator), log_uniform(*_READ, generator), generator=generator
    )
    return (noisy.clamp(0, 1) ** (1 / GAMMA)).mul(255).round().div(255)


def _moved(image: Tensor, transform: Tensor) -> Tensor:
    grid = F.affine_grid(transform[None], list(image.shape), align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _overexposed(linear: Tensor, generator: torch.Generator | None) -> Tensor:
    """What was clipped to white may have been up to four times as bright, which is what makes streaks of lights."""
    brightness = 1 + 3 * float(torch.rand((), generator=generator))
    white = linear.amax(1, keepdim=True) >= _SATURATED**GAMMA
    return torch.where(white, linear * brightness, linear)


def _blob(size: tuple[int, int], generator: torch.Generator | None) -> Tensor:
    """A soft-edged region (1, 1, H, W) of irregular shape that covers about a quarter of the image."""
    coarse = torch.randn(1, 1, 6, 6, generator=generator)
    field = F.interpolate(coarse, size=size, mode="bicubic", align_corners=False)
    edge = field.quantile(0.75) if field.numel() < 2**24 else field[..., ::4, ::4].quantile(0.75)
    slope = 24.0 * min(size) / 512  # the edge is some pixels wide whatever the size of the image
    return ((field - edge) * slope).add(0.5).clamp(0, 1)
