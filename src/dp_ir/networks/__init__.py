"""Network architectures, a folder each: modules only, without files, tasks or training."""

import importlib
import pkgutil

from dp_ir.networks.bsrt.model import BSRT
from dp_ir.networks.drunet.model import DRUNet
from dp_ir.networks.epsilon_denoiser import EpsilonDenoiser, cosine_alphas_cumprod, linear_alphas_cumprod
from dp_ir.networks.fast_burst.model import FastBurst
from dp_ir.networks.fast_deblur.model import FastDeblur
from dp_ir.networks.fast_fusion import FastFusion
from dp_ir.networks.fast_photo.model import FastPhoto
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.ffdnet.model import FFDNet
from dp_ir.networks.fftformer.model import FFTformer
from dp_ir.networks.fusion_3ca.model import Fusion3CA
from dp_ir.networks.guided_unet.model import GuidedDiffusionDenoiser, GuidedUNet
from dp_ir.networks.inverse_variance import InverseVarianceFusion
from dp_ir.networks.mirnet.model import MIRNet, mirnet_s
from dp_ir.networks.registry import ARCHITECTURES, DETECTORS
from dp_ir.networks.rlfn.model import RLFN
from dp_ir.networks.rrdb.model import RRDBNet
from dp_ir.networks.swinir.model import SwinIR
from dp_ir.networks.unet_bridge.model import UNetBridge
from dp_ir.networks.unet_denoiser.model import UNetDenoiser

__all__ = [
    "ARCHITECTURES",
    "BSRT",
    "DETECTORS",
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

for _found in pkgutil.iter_modules(__path__):  # those whose folders nobody listed above
    if _found.ispkg:
        importlib.import_module(f"{__name__}.{_found.name}")
