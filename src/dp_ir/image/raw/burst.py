"""The burst: what a folder of RAW frames becomes on reading, and what every burst is restored from."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dp_ir.errors import ImageReadError
from dp_ir.image.metadata.metadata import Metadata
from dp_ir.image.raw.camera import Camera

MAX_FRAMES = 20
"""Frames of a burst that are used; more add time, but hardly any detail."""


@dataclass(frozen=True, eq=False)
class Burst:
    """Frames of one scene, taken by one camera in quick succession.

    Args:
        frames: (N, 4, h, w), float32 in [0, 1]: linear mosaics, black at 0 and white at 1, packed into the planes R, G,
            G, B of their 2x2 cells. The first frame is the one that is restored.
        camera: how linear sensor RGB is shown.
        turns: quarter turns, counter-clockwise, that make the result upright, after it has been mirrored.
        mirrored: whether the result is mirrored left to right first.
        metadata: of the first frame, for the result.

    Raises:
        ImageReadError: the frames have another shape or type, or are not finite.
    """

    frames: Tensor
    camera: Camera = field(default_factory=Camera.neutral)
    turns: int = 0
    mirrored: bool = False
    metadata: Metadata = field(default_factory=Metadata)

    def __post_init__(self) -> None:
        shape = tuple(self.frames.shape)
        if len(shape) != 4 or shape[1] != 4 or 0 in shape or self.frames.dtype != torch.float32:
            raise ImageReadError(
                f"The frames of a burst have the shape {shape} and type {self.frames.dtype}: expected float32 "
                "(N, 4, h, w), the planes R, G, G, B of N mosaics."
            )
        if not bool(torch.isfinite(self.frames).all()):
            raise ImageReadError("The frames of a burst hold NaN or infinity: expected linear values in [0, 1].")


def pack(mosaic: Tensor) -> Tensor:
    """The mosaic (..., 2h, 2w) of an RGGB sensor as the planes R, G, G, B (..., 4, h, w)."""
    planes = [mosaic[..., row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.stack(planes, dim=-3)


def unpack(planes: Tensor) -> Tensor:
    """The inverse of `pack`."""
    return torch.nn.functional.pixel_shuffle(planes, 2).squeeze(-3)
