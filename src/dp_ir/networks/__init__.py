"""Network architectures: modules only, without files, tasks or training."""

from dp_ir.networks.bsrt import BSRT
from dp_ir.networks.drunet import DRUNet
from dp_ir.networks.epsilon_denoiser import EpsilonDenoiser, cosine_alphas_cumprod, linear_alphas_cumprod
from dp_ir.networks.fast_burst import FastBurst
from dp_ir.networks.fast_deblur import FastDeblur
from dp_ir.networks.fast_photo import FastPhoto
from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.ffdnet import FFDNet
from dp_ir.networks.fftformer import FFTformer
from dp_ir.networks.fusion_3ca import Fusion3CA
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.networks.fusion_inverse_variance import InverseVarianceFusion
from dp_ir.networks.guided_unet import GuidedDiffusionDenoiser, GuidedUNet
from dp_ir.networks.mirnet import MIRNet, mirnet_s
from dp_ir.networks.rlfn import RLFN
from dp_ir.networks.rrdb import RRDBNet
from dp_ir.networks.swinir import SwinIR
from dp_ir.networks.unet_bridge import UNetBridge
from dp_ir.networks.unet_denoiser import UNetDenoiser

__all__ = [
    "BSRT",
    "RLFN",
    "DRUNet",
    "EpsilonDenoiser",
    "FFDNet",
    "FFTformer",
    "FastBurst",
    "FastDeblur",
    "FastFusion",
    "FastPhoto",
    "FastSR",
    "Fusion3CA",
    "GuidedDiffusionDenoiser",
    "GuidedUNet",
    "InverseVarianceFusion",
    "MIRNet",
    "RRDBNet",
    "SwinIR",
    "UNetBridge",
    "UNetDenoiser",
    "cosine_alphas_cumprod",
    "linear_alphas_cumprod",
    "mirnet_s",
]
