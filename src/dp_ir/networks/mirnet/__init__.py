"""MIRNet (Zamir et al., ECCV 2020, arXiv 2003.06792), from the original 31.8 M parameters down to MIRNet-S."""

from dp_ir.networks.mirnet import detect as detect
from dp_ir.networks.mirnet.model import MIRNet, mirnet_s

__all__ = ["MIRNet", "mirnet_s"]
