"""RRDBNet, the network of ESRGAN (Wang et al. 2018, arXiv 1809.00219) and Real-ESRGAN (2021, arXiv 2107.10833)."""

from dp_ir.networks.rrdb import detect as detect
from dp_ir.networks.rrdb.model import RRDBNet

__all__ = ["RRDBNet"]
