"""Network architectures: modules only, without files, tasks or training."""

from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.fusion_3ca import Fusion3CA
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.networks.mirnet import MIRNet, mirnet_s
from dp_ir.networks.unet_denoiser import UNetDenoiser

__all__ = ["FastFusion", "FastSR", "Fusion3CA", "MIRNet", "UNetDenoiser", "mirnet_s"]
