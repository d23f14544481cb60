"""The fast 4x restorer of photos as people have them: cleaned at their own size, then enlarged."""

from dp_ir.networks.fast_photo.model import FastPhoto

__all__ = ["FastPhoto"]
