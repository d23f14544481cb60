"""The tasks package: each joins how an observation comes about with what a restorer makes of it.

A task is a folder beside this module: `task.py` registers it, and the recipes that train its networks lie beside that.
Nothing else names it.
"""

import importlib
import pkgutil

from dp_ir.tasks.task import TASKS, Task, get_task

__all__ = ["TASKS", "Task", "get_task"]

for _found in pkgutil.iter_modules(__path__):
    if _found.ispkg:
        importlib.import_module(f"{__name__}.{_found.name}")
