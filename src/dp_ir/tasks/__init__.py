"""The tasks floor: each task in one file, joining how an observation comes about with what a restorer makes of it."""

from dp_ir.tasks.registry import TASKS, get_task
from dp_ir.tasks.task import Task

__all__ = ["TASKS", "Task", "get_task"]
