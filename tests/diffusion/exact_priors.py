"""Priors of single pixels for which E[x0 | noisy] and the probability-flow map are known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """sum_k weights[k] N(means[k], std^2), the same for every pixel."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    std: float

    @property
    def mean(self) -> float:
        return sum(w * m for w, m in zip(self.weights, self.means, strict=True))

    @property
    def variance(self) -> float:
        return self.std**2 + sum(w * (m - self.mean) ** 2 for w, m in zip(self.weights, self.means, strict=True))

    def estimate(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | noisy] by Bayes' rule, component by component."""
        sigma = sigma.reshape(-1, 1, 1, 1)
        total = self.std**2 + sigma**2
        logits = [math.log(w) - (noisy - m) ** 2 / (2 * total) for w, m in zip(self.weights, self.means, strict=True)]
        share = torch.softmax(torch.stack(logits), 0)
        means = torch.stack([(self.std**2 * noisy + sigma**2 * m) / total for m in self.means])
        return (share * means).sum(0)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        part = torch.multinomial(torch.tensor(self.weights), count, replacement=True, generator=generator)
        return torch.tensor(self.means, dtype=torch.float64)[part] + self.std * torch.randn(
            count, generator=generator, dtype=torch.float64
        )

    def quantiles(self, q: Tensor, sigma: float) -> Tensor:
        """Inverse of the distribution function of x0 + sigma eps, by bisection.

        In one dimension the probability flow keeps quantiles, so this is where it carries each of them.
        """
        total = math.sqrt(self.std**2 + sigma**2)
        low = torch.full_like(q, min(self.means) - 12 * total)
        high = torch.full_like(q, max(self.means) + 12 * total)
        for _ in range(100):
            middle = (low + high) / 2
            below = sum(
                w * torch.special.ndtr((middle - m) / total) for w, m in zip(self.weights, self.means, strict=True)
            )
            low, high = torch.where(below < q, middle, low), torch.where(below < q, high, middle)
        return (low + high) / 2


GAUSSIAN = Mixture((1.0,), (0.3,), 0.25)
TWO_GAUSSIANS = Mixture((0.3, 0.7), (0.25, 0.7), 0.06)


def image_of(values: Tensor, batch: int = 1) -> Tensor:
    """Values as the pixels of (B, 3, H, 1) images."""
    return values.reshape(batch, 3, -1, 1)
