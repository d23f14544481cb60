"""Degradations that `bars.py` makes images with and that nothing is trained on: what one kind of file is like."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from dp_ir.degradation.chance import uniform
from dp_ir.degradation.photo import Compression, compressed, gaussian_blur, resized
from dp_ir.tasks import Task, get_task


def strong(clean: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """A photo (1, 3, H, W) that is soft, noisy and compressed all at once, at a quarter of its sides."""
    deviation = uniform(1.2, 2.8, generator)  # pixels of the clean photo
    size = clean.shape[-2] // 4, clean.shape[-1] // 4
    image = resized(gaussian_blur(clean, (deviation, deviation)), size, "bicubic")
    image = image + uniform(1, 6, generator) / 255 * torch.randn(image.shape, generator=generator)
    quality = int(torch.randint(60, 91, (), generator=generator))
    return compressed(image, Compression("JPEG", quality))


def jpeg(clean: Tensor, *, quality: int, generator: torch.Generator | None = None) -> Tensor:
    """A photo (1, 3, H, W) as a JPEG file has it, its colour at half the resolution."""
    return compressed(clean, Compression("JPEG", quality))


def untouched(clean: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """The photo itself."""
    return clean


def _at_its_size(name: str, degrade: object) -> Task:
    return Task(name=name, title=name, scale=1, channels=3, degrade=degrade, border=0)  # type: ignore[arg-type]


BAR_TASKS: dict[str, Task] = {
    "photo-strong": Task(
        name="photo-strong", title="small photos in a bad state", scale=4, channels=3, degrade=strong, border=0
    ),
    "untouched": _at_its_size("untouched", untouched),
    **{f"jpeg-{quality}": _at_its_size(f"jpeg-{quality}", partial(jpeg, quality=quality)) for quality in (30, 50, 80)},
}
"""By name."""


def bar_task(name: str) -> Task:
    """A task of the package or of this file; raises DPIRError as `get_task`."""
    return BAR_TASKS.get(name) or get_task(name)
