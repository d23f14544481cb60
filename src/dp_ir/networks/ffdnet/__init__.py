"""FFDNet: a plain convolutional denoiser that is told the noise level (Zhang et al., TIP 2018, arXiv 1710.04026)."""

from dp_ir.networks.ffdnet.model import FFDNet
from dp_ir.networks.ffdnet.model import detect as detect

__all__ = ["FFDNet"]
