"""The network of bridge methods (InDI, PMRF): a residual U-Net that sees a mixture of the clean image and a start."""

from dp_ir.networks.unet_bridge.model import UNetBridge

__all__ = ["UNetBridge"]
