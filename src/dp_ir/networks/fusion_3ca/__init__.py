"""The paper's fusion network: convex combination channel attention (3CA) and a convolutional trunk."""

from dp_ir.networks.fusion_3ca.model import Fusion3CA

__all__ = ["Fusion3CA"]
