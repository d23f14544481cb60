"""Photos as people have them, cleaned at their own size."""

from dp_ir.tasks.clean.task import CLEAN

__all__ = ["CLEAN"]
