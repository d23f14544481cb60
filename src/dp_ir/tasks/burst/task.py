"""Joint demosaicking, denoising and super-resolution of a burst of RAW frames: four times the mosaic's resolution."""

from dp_ir.degradation.synthetic_burst import SCALE, synthetic_burst
from dp_ir.tasks.task import Task, register_task

BURST = register_task(
    Task(
        name="burst",
        title="burst joint demosaicking, denoising and 4x super-resolution",
        scale=SCALE,
        channels=4,
        degrade=synthetic_burst,
        border=32,
        takes_bursts=True,
        common=True,
    )
)
