"""The fast restorer of RAW bursts: registration, one grid for the samples of all frames, one residual U-Net."""

from dp_ir.networks.fast_burst.model import FastBurst

__all__ = ["FastBurst"]
