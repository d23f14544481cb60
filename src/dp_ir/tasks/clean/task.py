"""Photos as people have them, cleaned at their own size; what a large photo needs."""

from dp_ir.degradation.photo import photo
from dp_ir.tasks.task import Task, register_task

CLEAN = register_task(
    Task(name="clean", title="cleaning photos at their own size", scale=1, channels=3, degrade=photo, border=16)
)
