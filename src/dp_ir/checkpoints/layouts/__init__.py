"""Layouts of published weight files, one family a module."""

from dp_ir.checkpoints.layouts import bsrt, drunet, ffdnet, fftformer, guided_unet, mirnet, rlfn, rrdb, swinir
from dp_ir.checkpoints.layouts.layout import Layout, State

LAYOUTS: tuple[Layout, ...] = tuple(
    module.LAYOUT for module in (bsrt, drunet, ffdnet, fftformer, guided_unet, mirnet, rlfn, rrdb, swinir)
)
"""All layouts; at most one matches a state dict."""

__all__ = ["LAYOUTS", "Layout", "State"]
