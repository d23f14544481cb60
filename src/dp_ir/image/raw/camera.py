"""From linear sensor RGB to a photograph and back: white balance, colour matrix, gamma and tone curve.

The steps, their order and the curves are those of "Unprocessing Images for Learned Raw Denoising" (Brooks et al. 2019,
arXiv 1811.11127), which synthetic bursts are made with and rendered by throughout the field.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dp_ir.errors import DPIRError

GAMMA = 2.2
_DARKEST = 1e-8  # below it gamma has no usable slope


@dataclass(frozen=True, eq=False)
class Camera:
    """How linear sensor RGB becomes sRGB; for one photograph, or for a batch of B.

    Args:
        gains: (3,) or (B, 3), > 0: what red, green and blue are multiplied by, white balance and exposure together.
        matrix: (3, 3) or (B, 3, 3): white-balanced sensor RGB (column) to linear sRGB. Its rows add up to 1, so that
            grey stays grey.

    Raises:
        DPIRError: a shape does not fit, a gain is not positive, or the matrix cannot be inverted.

    Examples:
        >>> camera = Camera(torch.tensor([2.0, 1.0, 1.5]), torch.eye(3))
        >>> sensor = torch.rand(1, 3, 4, 4) / 2
        >>> bool(torch.allclose(camera.sensor(camera.render(sensor)), sensor, atol=1e-3))
        True
    """

    gains: Tensor
    matrix: Tensor

    def __post_init__(self) -> None:
        if self.gains.shape[-1:] != (3,) or self.matrix.shape != (*self.gains.shape[:-1], 3, 3):
            raise DPIRError(
                f"The gains of a camera have the shape {tuple(self.gains.shape)} and its matrix "
                f"{tuple(self.matrix.shape)}: expected (3,) and (3, 3), or (B, 3) and (B, 3, 3)."
            )
        if not bool((self.gains > 0).all()) or not bool(torch.linalg.det(self.matrix.float()).abs().gt(1e-6).all()):
            raise DPIRError(
                f"The gains of a camera are {self.gains.tolist()} and its matrix is {self.matrix.tolist()}: expected "
                "gains above 0 and a matrix that can be inverted."
            )

    @classmethod
    def neutral(cls) -> Camera:
        """Sensor RGB that is linear sRGB already."""
        return cls(torch.ones(3, dtype=torch.float32), torch.eye(3, dtype=torch.float32))

    def linear(self, sensor: Tensor) -> Tensor:
        """Sensor RGB (B, 3, H, W), white at 1, as linear sRGB (B, 3, H, W); not clipped."""
        return _mixed(self.matrix.to(sensor), sensor * self.gains.to(sensor)[..., None, None])

    def render(self, sensor: Tensor) -> Tensor:
        """Sensor RGB (B, 3, H, W), white at 1, as an sRGB photograph (B, 3, H, W) in [0, 1]."""
        return encode(self.linear(sensor))

    def sensor(self, photograph: Tensor) -> Tensor:
        """The inverse of `render`: an sRGB photograph (B, 3, H, W) in [0, 1] as sensor RGB; not clipped."""
        balanced = _mixed(torch.linalg.inv(self.matrix.float()).to(photograph), decode(photograph))
        return balanced / self.gains.to(photograph)[..., None, None]


def encode(linear: Tensor) -> Tensor:
    """Linear sRGB, any shape, clipped to [0, 1], as display values in [0, 1]: gamma, then a smooth-step tone curve."""
    display = linear.clamp(_DARKEST, 1) ** (1 / GAMMA)
    return (3 - 2 * display) * display**2


def decode(photograph: Tensor) -> Tensor:
    """The inverse of `encode` on [0, 1]."""
    display = 0.5 - torch.sin(torch.asin(1 - 2 * photograph.clamp(0, 1)) / 3)
    return display.clamp_min(_DARKEST) ** GAMMA


def _mixed(matrix: Tensor, image: Tensor) -> Tensor:
    """The matrix (3, 3) or (B, 3, 3) applied to the channels of (B, 3, H, W)."""
    return torch.einsum("...ij,...jhw->...ihw", matrix, image)
