"""Every task there is. A new task is a file beside this one and a line here."""

from __future__ import annotations

from dp_ir.checkpoints.architectures import nearest
from dp_ir.errors import DPIRError
from dp_ir.tasks.burst import BURST
from dp_ir.tasks.deblur import DEBLUR
from dp_ir.tasks.photo import CLEAN, PHOTO
from dp_ir.tasks.sr4 import SR4
from dp_ir.tasks.task import Task

TASKS: dict[str, Task] = {task.name: task for task in (SR4, PHOTO, CLEAN, DEBLUR, BURST)}
"""Tasks by name; of those whose images have the same sizes, the field's common ground is first."""


def get_task(name: str) -> Task:
    """The task of that name, such as "sr4".

    Raises:
        DPIRError: there is none; the sentence lists those there are.
    """
    try:
        return TASKS[name]
    except KeyError:
        raise DPIRError(f"There is no task {name!r}{nearest(name, TASKS)}: known are {', '.join(TASKS)}.") from None
