"""BSRT: burst super-resolution (Luo et al. 2022, arXiv 2204.08332)."""

from dp_ir.networks.bsrt.model import BSRT
from dp_ir.networks.bsrt.model import detect as detect

__all__ = ["BSRT"]
