"""Photos as people have them, soft, noisy and compressed: made four times larger, or cleaned at their own size."""

from __future__ import annotations

from functools import partial

from dp_ir.degradation.photo import photo
from dp_ir.tasks.task import Task

SCALE = 4

PHOTO = Task(
    name="photo",
    title="4x super-resolution of photos as people have them",
    scale=SCALE,
    channels=3,
    degrade=partial(photo, scale=SCALE),
    border=32,
)

"""Four times larger; what a small photo needs."""

CLEAN = Task(name="clean", title="cleaning photos at their own size", scale=1, channels=3, degrade=photo, border=16)
"""At its own size; what a large photo needs."""
