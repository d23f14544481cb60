"""4x super-resolution of bicubic reductions."""

from dp_ir.tasks.sr4.task import SR4

__all__ = ["SR4"]
