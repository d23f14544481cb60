"""SwinIR (Liang et al. 2021, arXiv 2108.10257): restoration by attention within shifted windows."""

from dp_ir.networks.swinir import detect as detect
from dp_ir.networks.swinir.model import SwinIR

__all__ = ["SwinIR"]
