"""FFTformer: deblurring with attention and feed-forward layers in the frequency domain (Kong et al., CVPR 2023)."""

from dp_ir.networks.fftformer import detect as detect
from dp_ir.networks.fftformer.model import FFTformer

__all__ = ["FFTformer"]
