"""4x super-resolution of photos that were reduced by MATLAB's bicubic filter, the field's common ground."""

from __future__ import annotations

import torch
from torch import Tensor

from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DPIRError
from dp_ir.tasks.task import Task, register_task

SCALE = 4


def degrade(clean: Tensor, /, *, generator: torch.Generator | None = None) -> Tensor:
    """Reduce to a quarter and round to 8 bits, as the published low-resolution files are.

    Args:
        clean: (B, 3, H, W) in [0, 1]; H and W are multiples of 4.
        generator: not used, nothing here is left to chance.

    Returns:
        (B, 3, H / 4, W / 4), multiples of 1/255 in [0, 1].

    Raises:
        DPIRError: a side is not a multiple of 4, so that pixels would not line up.
    """
    height, width = clean.shape[-2:]
    if height % SCALE or width % SCALE or not height or not width:
        raise DPIRError(
            f"A clean image of {width}x{height} pixels cannot be reduced to a quarter: crop it with SR4.crop."
        )
    return imresize(clean, 1 / SCALE).mul(255).round().clamp(0, 255).div(255)


SR4 = register_task(
    Task(
        name="sr4",
        title="4x super-resolution",
        scale=SCALE,
        channels=3,
        degrade=degrade,
        border=16,
        common=True,
    )
)
