"""RLFN: a small, fast super-resolution network (Kong et al. 2022, arXiv 2205.07514)."""

from dp_ir.networks.rlfn import detect as detect
from dp_ir.networks.rlfn.model import RLFN

__all__ = ["RLFN"]
