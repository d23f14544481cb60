"""Photos as people have them, soft, noisy and compressed, made four times larger; what a small photo needs."""

from functools import partial

from dp_ir.degradation.photo import photo
from dp_ir.tasks.task import Task, register_task

SCALE = 4

PHOTO = register_task(
    Task(
        name="photo",
        title="4x super-resolution of photos as people have them",
        scale=SCALE,
        channels=3,
        degrade=partial(photo, scale=SCALE),
        border=32,
    )
)
