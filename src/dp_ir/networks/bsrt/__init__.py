"""BSRT: burst super-resolution (Luo et al. 2022, arXiv 2204.08332)."""

from dp_ir.networks.bsrt import detect as detect
from dp_ir.networks.bsrt.model import BSRT

__all__ = ["BSRT"]
