"""Removing motion blur: the camera shook, or things moved, while the picture was taken."""

from dp_ir.degradation.motion_blur import motion_blur
from dp_ir.tasks.task import Task, register_task

DEBLUR = register_task(
    Task(name="deblur", title="motion deblurring", scale=1, channels=3, degrade=motion_blur, border=32)
)
