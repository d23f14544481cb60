"""The fast denoiser: a residual U-Net, preconditioned by the noise level."""

from dp_ir.networks.unet_denoiser.model import UNetDenoiser

__all__ = ["UNetDenoiser"]
