"""What a task is: how an observation comes about and what the restorer makes of its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dp_ir.errors import DPIRError


class Degradation(Protocol):
    """clean -> observation."""

    def __call__(self, clean: Tensor, /, *, generator: torch.Generator | None = None) -> Tensor:
        """Degrade clean (B, 3, H, W) in [0, 1]; a degradation without chance does not use the generator."""
        ...


@dataclass(frozen=True)
class Task:
    """One restoration task.

    Args:
        name: as in bundles and on the command line.
        title: what a person would call it.
        scale: side of the restored image / side of the observation.
        channels: channels of the observation.
        degrade: how observations come about in training and evaluation; takes sides that are multiples of `scale`.
    """

    name: str
    title: str
    scale: int
    channels: int
    degrade: Degradation

    def crop(self, clean: Tensor) -> Tensor:
        """Cut clean (B, 3, H, W) at the right and the bottom to sides that are multiples of `scale`.

        Raises:
            DPIRError: the image is smaller than `scale` pixels.
        """
        height, width = (side - side % self.scale for side in clean.shape[-2:])
        if not height or not width:
            raise DPIRError(
                f"A clean image {clean.shape[-1]}x{clean.shape[-2]} is too small for {self.name}: expected at least "
                f"{self.scale}x{self.scale} pixels."
            )
        return clean[..., :height, :width]
