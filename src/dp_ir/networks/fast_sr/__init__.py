"""The fast 4x restorer: a residual network at the observation's own resolution."""

from dp_ir.networks.fast_sr.model import FastSR

__all__ = ["FastSR"]
