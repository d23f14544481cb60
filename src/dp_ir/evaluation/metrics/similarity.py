"""PSNR, SSIM and MS-SSIM, each with a protocol that states colour space, border and rounding.

A metric is a small frozen object: called with outputs and targets ``(B, 3, H, W)`` in [0, 1] it gives one value per
image, ``(B,)`` float64 on the CPU, and its `protocol` says in one line how the number came about. SSIM and MS-SSIM are
not torchmetrics': that pads the images, so its SSIM is another number, and takes three to ten times as long.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import check_pair, round_to_8_bit
from dp_ir.image.camera import Camera

Channels = Literal["rgb", "y"]

_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
# Exponents of the five scales, the finest first (Wang, Simoncelli and Bovik 2003, section 3.2).
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# ITU-R BT.601 in studio range, for R, G, B in [0, 1] and Y in 16..235: the coefficients MATLAB documents for rgb2ycbcr.
_Y_OFFSET = 16.0
_Y_WEIGHTS = (65.481, 128.553, 24.966)


def rgb_to_y(image: Tensor) -> Tensor:
    """Luma of MATLAB's rgb2ycbcr (ITU-R BT.601, studio range), divided by 255.

    Args:
        image: (B, 3, H, W), sRGB-encoded RGB in [0, 1].

    Returns:
        (B, 1, H, W) in [16/255, 235/255]: black is 16/255, white 235/255.
    """
    weights = torch.tensor(_Y_WEIGHTS, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return ((image * weights).sum(dim=1, keepdim=True) + _Y_OFFSET) / 255.0


@dataclass(frozen=True)
class PixelMetric(ABC):
    """What PSNR, SSIM and MS-SSIM share.

    Args:
        channels: "rgb" (each channel by itself, then their mean) or "y" (`rgb_to_y`).
        border: pixels left out on every side; by custom the scale, for super-resolution.
        rounding: clip both images to [0, 1] and round them to 8 bits first, as if read from files. Off: no clipping.
    """

    channels: Channels = "rgb"
    border: int = 0
    rounding: bool = False
    label: ClassVar[str]
    smallest: ClassVar[int] = 1
    """Side of an image inside the border, in pixels."""
    higher_is_better: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Short name."""
        return f"{self.label}-Y" if self.channels == "y" else self.label

    @property
    @abstractmethod
    def protocol(self) -> str:
        """How the number came about."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Outputs and targets (B, 3, H, W) in [0, 1] -> values (B,).

        Raises:
            DataError: unequal shapes, or images that are too small.
        """
        check_pair(output, target)
        height, width = output.shape[-2:]
        rows, columns = (slice(self.border, side - self.border) for side in (height, width))
        if min(height, width) - 2 * self.border < self.smallest:
            raise DataError(
                f"{self.label} needs at least {self.smallest}x{self.smallest} pixels inside the border of "
                f"{self.border}, but the image has {width}x{height} with it; use larger images or a smaller border."
            )
        prepared = []
        for image in (output, target):
            image = image.detach().to(device="cpu", dtype=torch.float64)
            image = round_to_8_bit(image) if self.rounding else image
            image = rgb_to_y(image) if self.channels == "y" else image
            prepared.append(image[..., rows, columns])
        return self._values(*prepared)

    @abstractmethod
    def _values(self, output: Tensor, target: Tensor) -> Tensor:
        """Images (B, C, H, W) in float64, as they are to be compared -> values (B,)."""

    @property
    def _described(self) -> str:
        colour = "RGB" if self.channels == "rgb" else "Y of BT.601 in studio range (MATLAB rgb2ycbcr)"
        levels = "clipped and rounded to 8 bits first" if self.rounding else "float, neither clipped nor rounded"
        return f"{colour}, border {self.border}, {levels}"


HIGHEST_PSNR = 100.0
"""dB: an error of a thousandth of what rounding to 8 bits may leave; images count as equal from here on."""


@dataclass(frozen=True)
class PSNR(PixelMetric):
    """Peak signal-to-noise ratio in dB: ``-10 log10(mean squared error)`` with a peak of 1 (255 for 8-bit images).

    Equal images give `HIGHEST_PSNR`, and so does what differs by less, so that every mean is a number. Arguments and
    errors as of `PixelMetric`; in RGB the error is averaged over the three channels.

    Example:
        >>> PSNR(channels="y", border=4)(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 32, 32))
        tensor([100., 100.], dtype=torch.float64)
    """

    label = "PSNR"

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return f"{self.name} in dB: {self._described}; peak 255; mean over images"

    def _values(self, output: Tensor, target: Tensor) -> Tensor:
        decibels = -10.0 * (output - target).square().mean(dim=(1, 2, 3)).log10()
        return decibels.clamp(max=HIGHEST_PSNR)


@dataclass(frozen=True)
class LinearPSNR:
    """PSNR of what the sensor would have seen: the camera's rendering is taken back from output and target.

    Args:
        border: pixels left out on every side.
        camera: of the image.

    Example:
        >>> camera = Camera(torch.tensor([2.0, 1.0, 1.5]), torch.eye(3))
        >>> LinearPSNR().through(camera)(torch.full((1, 3, 8, 8), 0.5), torch.full((1, 3, 8, 8), 0.5))
        tensor([100.], dtype=torch.float64)
    """

    border: int = 0
    camera: Camera | None = None

    name = "PSNR linear"
    higher_is_better = True

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"{self.name} in dB: RGB of the sensor (tone curve, colour matrix and white balance of the camera taken "
            f"back), border {self.border}, not rounded to 8 bits; peak 1; mean over images"
        )

    def through(self, camera: Camera | None) -> LinearPSNR:
        """The same for the images of one camera."""
        return replace(self, camera=camera)

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Photographs (B, 3, H, W) in [0, 1] -> dB (B,); raises DataError for unequal shapes and without a camera."""
        if self.camera is None:
            raise DataError(f"{self.name} needs the camera of an image, which only bursts have: leave it out.")
        sensors = [self.camera.sensor(image.detach().cpu().double()) for image in (output, target)]
        return PSNR(border=self.border)(*sensors)


@dataclass(frozen=True)
class SSIM(PixelMetric):
    """Structural similarity (Wang et al. 2004): Gaussian window 11x11 of sigma 1.5, K = 0.01, 0.03.

    Only windows that lie wholly inside the image count. Arguments and errors as of `PixelMetric`.
    """

    label = "SSIM"
    smallest = _SSIM_WINDOW

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"{self.name}: {self._described}; Gaussian window 11x11 of sigma 1.5, K1 0.01, K2 0.03, data range 255, "
            "population covariance, windows inside the image"
        )

    def _values(self, output: Tensor, target: Tensor) -> Tensor:
        return _similarity(output, target)[0]


@dataclass(frozen=True)
class MSSSIM(PixelMetric):
    """Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003) over five scales, each half the one before.

    The product of the contrast-structure terms of four scales and of the SSIM of the coarsest, each to its exponent;
    in RGB each term is the mean over the channels, and a negative one counts as 0. Windows and constants as for `SSIM`,
    arguments and errors as of `PixelMetric`.
    """

    label = "MS-SSIM"
    smallest = _SSIM_WINDOW * 2 ** (len(_MS_SSIM_WEIGHTS) - 1)  # the window, at the coarsest scale

    @property
    def protocol(self) -> str:
        """How the number came about."""
        return (
            f"{self.name}: {self._described}; five scales by 2x2 means, exponents "
            f"{', '.join(map(str, _MS_SSIM_WEIGHTS))}, negative terms 0, else as SSIM (Gaussian window 11x11 of sigma "
            "1.5, K1 0.01, K2 0.03, windows inside the image)"
        )

    def _values(self, output: Tensor, target: Tensor) -> Tensor:
        product = torch.ones(len(output), dtype=torch.float64)
        for weight in _MS_SSIM_WEIGHTS[:-1]:
            product = product * _similarity(output, target)[1].clamp(min=0.0) ** weight
            output, target = F.avg_pool2d(output, 2), F.avg_pool2d(target, 2)
        return product * _similarity(output, target)[0].clamp(min=0.0) ** _MS_SSIM_WEIGHTS[-1]


def _similarity(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure term, both (B,): means over the windows inside the images and over channels."""
    moments = _windowed(torch.stack([first, second, first * first, second * second, first * second]))
    mean1, mean2, square1, square2, product = moments.unbind()
    contrast = (2.0 * (product - mean1 * mean2) + _C2) / (square1 - mean1**2 + square2 - mean2**2 + _C2)
    luminance = (2.0 * mean1 * mean2 + _C1) / (mean1**2 + mean2**2 + _C1)
    return (luminance * contrast).mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


def _windowed(images: Tensor) -> Tensor:
    """Means under the Gaussian window at every place where it lies inside: (..., H, W) -> (..., H - 10, W - 10)."""
    offsets = torch.arange(_SSIM_WINDOW, dtype=torch.float64) - _SSIM_WINDOW // 2
    window = torch.exp(-0.5 * (offsets / _SSIM_SIGMA) ** 2)
    for axis in (-2, -1):
        # Shifted sums: a convolution in float64 takes many times as long.
        length = images.shape[axis] - _SSIM_WINDOW + 1
        shifted = (weight * images.narrow(axis, i, length) for i, weight in enumerate((window / window.sum()).tolist()))
        images = sum(shifted, torch.zeros((), dtype=images.dtype))
    return images
