"""The fast restorer of images that keep their size, such as blurred ones: a residual U-Net."""

from dp_ir.networks.fast_deblur.model import FastDeblur

__all__ = ["FastDeblur"]
