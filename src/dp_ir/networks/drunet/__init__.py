"""DRUNet: the residual U-Net denoiser of DPIR (Zhang et al., TPAMI 2021, arXiv 2008.13751)."""

from dp_ir.networks.drunet import detect as detect
from dp_ir.networks.drunet.model import DRUNet

__all__ = ["DRUNet"]
