"""The energy score of local features: what a sampler is trained for so that its samples have the right spread.

For m samples s_j drawn independently for one observation, the truth x0 and features f, the loss is

    L = 1/m sum_j ||f(s_j) - f(x0)||^b - w / (2 m (m - 1)) sum_{i != j} ||f(s_i) - f(s_j)||^b,    0 < b < 2.

With the spread weight w = 1 its expectation is the energy score, a strictly proper scoring rule (Gneiting and Raftery,
2007, section 4.2): the minimum is the conditional distribution of the vector at each place. The pairs are divided by
m (m - 1), not by m^2, so that the expectation does not depend on m (Ferro, 2014). With w = 0 the minimum has no spread
at all: for b = 1 it is the median. Between the two lies the dial of `spread_weight`; above 1 there is no minimum, since
rare outliers pay. ||.|| is the norm of the few values at one place, and L their mean over places
and feature maps, so that the score judges textures where they are, not whole images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.image.picture.bands import laplacian_bands
from dp_ir.image.picture.ycbcr import to_ycbcr

Features = Callable[[Tensor], Sequence[Tensor]]
"""Images (N, 3, H, W) in [0, 1] -> feature maps (N, C, h, w) of any sizes; the values at one place are one vector."""

_PATCH, _STRIDE = 5, 2
# Typical deviations from a mean, of the three finest bands and of the low-pass: of luma, and of the colour differences.
_LUMA_SCALES, _COLOUR_SCALES = (0.03, 0.04, 0.05, 0.15), (0.01, 0.01, 0.01, 0.03)
_SAME = 1e-12  # added to squared distances: where two vectors are the same the norm has no gradient


@dataclass(frozen=True)
class Term:
    """A kind of features in the score.

    Args:
        features: gives the feature maps.
        weight: of the term.
        patch: side of the square of places whose values are one vector.
        stride: distance of these squares.
        name: for sentences about it.
    """

    features: Features
    weight: float = 1.0
    patch: int = 1
    stride: int = 1
    name: str = "a term of the score"


def band_term(weight: float = 1.0) -> Term:
    """Patches of 5x5 pixels of three Laplacian bands and of what is left, each in units of its usual error.

    Luma and the two colour differences are scored apart: their errors are so much smaller than those of luma that in
    one norm with it they hardly count, and samples then get coloured noise that photographs do not have.
    """

    def features(image: Tensor) -> list[Tensor]:
        bands = laplacian_bands(to_ycbcr(image), len(_LUMA_SCALES) - 1)
        luma = [band[:, :1] / scale for band, scale in zip(bands, _LUMA_SCALES, strict=True)]
        # The norm of a patch is divided by the root of its number of values: 5 * 5 by the mean over the patch, 2 here.
        colour = [band[:, 1:] / (scale * math.sqrt(2)) for band, scale in zip(bands, _COLOUR_SCALES, strict=True)]
        return [*luma, *colour]

    return Term(features, weight, _PATCH, _STRIDE)


def energy_score(
    samples: Tensor, target: Tensor, terms: Sequence[Term], spread_weight: Tensor | float = 1.0, exponent: float = 1.0
) -> Tensor:
    """The loss L above.

    Args:
        samples: (m, B, 3, H, W), m >= 2 independent samples for each of B observations, in [0, 1] units; float32 or
            wider, as the features must be.
        target: (B, 3, H, W), the truths.
        terms: the features.
        spread_weight: w, one or one per observation (B,), in [0, 1].
        exponent: b, in (0, 2).

    Returns:
        (B,): the sum over the terms of weight times the mean over feature maps and places.
    """
    draws, batch = samples.shape[:2]
    weight = torch.as_tensor(spread_weight).to(samples)
    score = samples.new_zeros(batch)
    for term in terms:
        with torch.no_grad():
            truths = term.features(target)
        maps = term.features(samples.flatten(0, 1))
        for truth, drawn in zip(truths, maps, strict=True):
            ours = drawn.view(draws, batch, *drawn.shape[1:])
            error = torch.stack([_distance(one, truth, term, exponent) for one in ours]).mean(0)
            pairs = [_distance(ours[i], ours[j], term, exponent) for i in range(draws) for j in range(i)]
            spread = torch.stack(pairs).mean(0)
            score = score + term.weight / len(maps) * (error - weight / 2 * spread)
    return score


def _distance(first: Tensor, second: Tensor, term: Term, exponent: float) -> Tensor:
    """Mean over places of the norm between feature maps (B, C, h, w) to the power of the exponent: (B,)."""
    squared = (first - second).square().sum(dim=1, keepdim=True)
    if term.patch > 1:
        patch = min(term.patch, *squared.shape[-2:])
        squared = F.avg_pool2d(squared, patch, term.stride)
    return (squared + _SAME).pow(exponent / 2).mean(dim=(1, 2, 3))


def spread_weight(detail: Tensor, exponent: float = 1.0) -> Tensor:
    """The spread weight with which samples have `detail` times the posterior's standard deviation.

    For a Gaussian posterior and a right mean the best Gaussian samples have D times the posterior's variance, where
    D = q / (2 - q) and q = w^(2 / (2 - b)). With D = detail^2 that is w = (2 D / (1 + D))^((2 - b) / 2): the dial is
    linear in the deviation, as the straight line from the mean to a sample. (Below w = 1 samples that are no Gaussian
    score a little better: the posterior without its tails.)

    Args:
        detail: in [0, 1], any shape.
        exponent: b, in (0, 2).
    """
    share = detail.square()
    return (2 * share / (1 + share)).pow((2 - exponent) / 2)
