"""Motion deblurring."""

from dp_ir.tasks.deblur.task import DEBLUR

__all__ = ["DEBLUR"]
