"""The fast fusion network: 3CA at reduced resolution, with the noisy image and an affine way out of the convex hull."""

from dp_ir.networks.fast_fusion.model import FastFusion

__all__ = ["FastFusion"]
