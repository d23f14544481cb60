"""Bursts of RAW frames."""

from dp_ir.tasks.burst.task import BURST

__all__ = ["BURST"]
