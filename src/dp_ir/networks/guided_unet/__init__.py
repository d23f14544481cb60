"""The U-Net of guided diffusion (Dhariwal & Nichol 2021, arXiv 2105.05233), alone and as a denoiser."""

from dp_ir.networks.guided_unet import detect as detect
from dp_ir.networks.guided_unet.model import GuidedDiffusionDenoiser, GuidedUNet

__all__ = ["GuidedDiffusionDenoiser", "GuidedUNet"]
