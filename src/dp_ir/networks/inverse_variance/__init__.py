"""The analytic fusion: both estimates weighted by the inverse of their error variances, nothing trained."""

from dp_ir.networks.inverse_variance.model import InverseVarianceFusion

__all__ = ["InverseVarianceFusion"]
