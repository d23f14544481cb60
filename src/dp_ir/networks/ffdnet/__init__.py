"""FFDNet: a plain convolutional denoiser that is told the noise level (Zhang et al., TIP 2018, arXiv 1710.04026)."""

from dp_ir.networks.ffdnet import detect as detect
from dp_ir.networks.ffdnet.model import FFDNet

__all__ = ["FFDNet"]
