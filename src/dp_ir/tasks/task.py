"""What a task is: how an observation comes about and what the restorer makes of its size; and which there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dp_ir.checkpoints.architectures import nearest
from dp_ir.errors import DPIRError
from dp_ir.image.raw.burst import Burst


class Degradation(Protocol):
    """clean -> observation."""

    def __call__(self, clean: Tensor, /, *, generator: torch.Generator | None = None) -> Tensor | Burst:
        """Degrade clean (1, 3, H, W) in [0, 1] to an image or a burst; without chance the generator is not used."""
        ...


@dataclass(frozen=True)
class Task:
    """One restoration task.

    Args:
        name: as in bundles and on the command line.
        title: what a person would call it.
        scale: side of the restored image / side of the observation, of a burst its packed planes.
        channels: channels of the observation.
        degrade: how observations come about in training and evaluation; takes sides that are multiples of `scale`.
        border: pixels around a piece of a clean image that its observation depends on, a multiple of `scale`.
        takes_bursts: whether an observation is a burst of RAW frames instead of an image.
        common: whether published networks for images of these sizes are usually for this task.
    """

    name: str
    title: str
    scale: int
    channels: int
    degrade: Degradation
    border: int
    takes_bursts: bool = False
    common: bool = False

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


TASKS: dict[str, Task] = {}
"""Tasks by name."""


def register_task(task: Task) -> Task:
    """Make a task known, and give it back; raises ValueError where another has its name."""
    if task.name in TASKS:
        raise ValueError(f"The name {task.name!r} belongs to another task already: choose another.")
    TASKS[task.name] = task
    return task


def get_task(name: str) -> Task:
    """The task of that name, such as "sr4".

    Raises:
        DPIRError: there is none; the sentence lists those there are.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise DPIRError(f"There is no task {name!r}{nearest(name, TASKS)}: known are {', '.join(TASKS)}.") from None
