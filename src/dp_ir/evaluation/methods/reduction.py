"""Bicubic reduction as a matrix: what methods that know how the observation came about work with.

The reduction of `degradation.bicubic.imresize` is separable, y = R x C^T for each channel, so the singular values of
the whole are products of those of two small matrices R and C, and everything below costs a few matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DataError

ROUNDING_STD = 1.0 / 255.0 / 12.0**0.5
"""Standard deviation of the rounding to 8 bits, in [0, 1] units: that of a uniform error one grey level wide."""


@dataclass(frozen=True, eq=False)
class Reduction:
    """The bicubic reduction of images (B, C, H, W) to (B, C, h, w) with h = H / scale, w = W / scale.

    With R = U1 diag(s1) V1^T for the columns and C = U2 diag(s2) V2^T for the rows of an image, the coefficients of an
    image are V1^T x V2, those of an observation U1^T y U2, and the reduction multiplies coefficient (i, j) by
    s1_i s2_j. It has full row rank, so every observation is the reduction of some image.

    Args:
        rows: (U1 (h, h), s1 (h,), V1 (H, H)), of one column of an image.
        columns: (U2 (w, w), s2 (w,), V2 (W, W)), of one row of an image.
    """

    rows: tuple[Tensor, Tensor, Tensor]
    columns: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, observation: Tensor, scale: int) -> Reduction:
        """The reduction that gave an observation (B, 3, h, w), in its dtype and on its device.

        Raises:
            DataError: the observation is no image (B, 3, h, w).
        """
        if observation.ndim != 4 or observation.shape[1] != 3:
            raise DataError(
                f"The observation has the shape {tuple(observation.shape)}, but methods that undo a bicubic reduction "
                "need RGB images, (B, 3, h, w): leave them out for anything else."
            )
        height, width = observation.shape[-2:]
        rows, columns = (tuple(part.to(observation) for part in _decompose(side, scale)) for side in (height, width))
        return cls(rows, columns)  # type: ignore[arg-type]  # three parts each

    @property
    def singular_values(self) -> Tensor:
        """(1, 1, H, W): the factor of each coefficient of an image; 0 beyond the first (h, w)."""
        values = self.rows[1][:, None] * self.columns[1]
        return self._pad(values[None, None])

    def __call__(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, h, w), as `imresize(image, 1 / scale)`."""
        return self.from_observed(self.singular_values * self.to_coefficients(image))

    def adjoint(self, observation: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, H, W), the transpose."""
        return self.from_coefficients(self.singular_values * self.to_observed(observation))

    def pseudo_inverse(self, observation: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, H, W): the smallest image whose reduction is the observation."""
        values = self.singular_values
        inverse = torch.where(values > 0, 1.0 / values, 0.0)
        return self.from_coefficients(inverse * self.to_observed(observation))

    def consistent(self, image: Tensor, observation: Tensor) -> Tensor:
        """The image nearest to `image` whose reduction is the observation."""
        return image + self.pseudo_inverse(observation - self(image))

    def to_coefficients(self, image: Tensor) -> Tensor:
        """V^T of the singular value decomposition, (B, C, H, W) -> (B, C, H, W)."""
        return self.rows[2].T @ image @ self.columns[2]

    def from_coefficients(self, coefficients: Tensor) -> Tensor:
        """V, the inverse and transpose of `to_coefficients`."""
        return self.rows[2] @ coefficients @ self.columns[2].T

    def to_observed(self, observation: Tensor) -> Tensor:
        """U^T, (B, C, h, w) -> (B, C, H, W), with zeros where no coefficient is observed."""
        return self._pad(self.rows[0].T @ observation @ self.columns[0])

    def from_observed(self, coefficients: Tensor) -> Tensor:
        """U, (B, C, H, W) -> (B, C, h, w), of the observed coefficients."""
        height, width = len(self.rows[1]), len(self.columns[1])
        return self.rows[0] @ coefficients[..., :height, :width] @ self.columns[0].T

    def _pad(self, observed: Tensor) -> Tensor:
        (height, width), (full, wide) = observed.shape[-2:], (len(self.rows[2]), len(self.columns[2]))
        return torch.nn.functional.pad(observed, (0, wide - width, 0, full - height))


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # cached tensors must serve calls with gradients as well, whoever comes first
def _decompose(side: int, scale: int) -> tuple[Tensor, Tensor, Tensor]:
    """U (n, n), s (n,) and V (scale n, scale n) of the reduction of one line of pixels to n = `side`, float64."""
    lines = torch.eye(scale * side, dtype=torch.float64)[:, None, :, None]  # one image of one column per unit vector
    matrix = imresize(lines, 1 / scale)[:, 0, :, 0].T
    left, values, right = torch.linalg.svd(matrix, full_matrices=True)
    return left.contiguous(), values, right.T.contiguous()
