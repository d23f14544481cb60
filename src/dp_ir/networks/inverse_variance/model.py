"""The analytic fusion: both estimates weighted by the inverse of their error variances, nothing trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.networks.registry import register_network


@register_network("inverse-variance")
class InverseVarianceFusion(nn.Module):
    """E[x0 | y, x_t] as if the errors of restorer and denoiser were independent, white and Gaussian.

    Then the best linear combination is w restored + (1 - w) denoised with w = D(sigma) / (R + D(sigma)), where R and
    D(sigma) are the mean squared errors of the two; log D is interpolated over log sigma, and constant beyond the ends.

    Args:
        restored_error: R, in squared [0, 1] units.
        sigmas: rising noise levels at which the denoiser's error was measured, in [0, 1] units.
        denoised_errors: D at these levels.
    """

    supports_bfloat16 = True
    restored_error: Tensor
    _log_sigmas: Tensor
    _log_errors: Tensor

    def __init__(self, *, restored_error: float, sigmas: Sequence[float], denoised_errors: Sequence[float]) -> None:
        super().__init__()
        if len(sigmas) != len(denoised_errors) or list(sigmas) != sorted(set(sigmas)) or len(sigmas) < 2:
            raise ValueError("sigmas must rise, at least two of them, with one denoised error for each.")
        if min(restored_error, *sigmas, *denoised_errors) <= 0:
            raise ValueError("noise levels and errors must be greater than 0.")
        self.config: dict[str, Any] = {
            "restored_error": restored_error,
            "sigmas": list(sigmas),
            "denoised_errors": list(denoised_errors),
        }
        self.register_buffer("restored_error", torch.tensor(restored_error))
        self.register_buffer("_log_sigmas", torch.tensor(sigmas).log(), persistent=False)
        self.register_buffer("_log_errors", torch.tensor(denoised_errors).log(), persistent=False)

    def weight(self, sigma: Tensor) -> Tensor:
        """Weight of the restored image at noise levels sigma (B,) in [0, 1] units; in (0, 1)."""
        place = sigma.float().clamp_min(1e-6).log()
        upper = torch.searchsorted(self._log_sigmas, place).clamp(1, len(self._log_sigmas) - 1)
        low, high = self._log_sigmas[upper - 1], self._log_sigmas[upper]
        share = ((place - low) / (high - low)).clamp(0, 1)
        error = torch.lerp(self._log_errors[upper - 1], self._log_errors[upper], share).exp()
        return error / (error + self.restored_error)

    def forward(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """Fuse the estimates; shapes and units as in `Fusion3CA.forward`."""
        w = self.weight(sigma)[:, None, None, None].to(restored.dtype)
        return w * restored + (1 - w) * denoised
