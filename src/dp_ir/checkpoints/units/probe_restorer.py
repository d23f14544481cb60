"""Trying a restorer on a picture whose sharp version is known, in the range stated and, where that fails, in others.

The limits lie between what was measured on real networks (RLFN, CRAFT and the shipped restorer) in the right range and
in wrong ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.units.probe_picture import ALL_THE_SAME, RANGES, Range, pair, picture, reason, rms, uncallable
from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import NetworkContractError

_SIDE = 32  # of an observation that is to be enlarged
_BLURRED_SIDE = 64  # of one that is not
_SHARPENS = 0.8  # error / error of doing nothing: 0.54 to 0.69 in the right range, 0.92 and more in a wrong one
_KEEPS = 0.02  # error of local means, in [0, 1] units: 0.002 in the right range
_CLEARLY_SHARPER = 1.2
_CLEARLY_TRUER = 4.0


@dataclass(frozen=True)
class _Outcome:
    """How a restorer did.

    Args:
        error: its error as a share of that of the observation, plainly enlarged.
        drift: error of its means over squares of 4 x 4 pixels of the observation, in [0, 1] units.
        scale: its scale.
    """

    error: float = math.inf
    drift: float = math.inf
    scale: int = 1

    @property
    def keeps_means(self) -> bool:
        return self.drift < _KEEPS

    @property
    def sharpens(self) -> bool:
        return self.keeps_means and self.error < _SHARPENS

    def __str__(self) -> str:
        if self.keeps_means:
            return f"leaves {100 * self.error:.0f} % of the error of the untouched observation"
        return f"changes the local means of the picture by {self.drift:.2g}"


def doubt_restorer(network: LoadedNetwork) -> str | None:
    """Check a restorer.

    One that neither brings back detail nor changes the local means is let pass: it may be made for another damage.

    Returns:
        What is to be warned of; None where nothing is.

    Raises:
        NetworkContractError: it does clearly better in another range, or it cannot be called.
    """
    given = network.info.value_range
    stated, failure = _Outcome(), None
    try:
        stated = _restore(network, given)
    except Exception as error:  # a network of any make can fail in any way
        failure = error
    if stated.sharpens:
        return None
    others = {value_range: _attempt(network, value_range) for value_range in RANGES if value_range != given}
    best = _better(stated, others)
    if best is not None:
        before = f"cannot be called ({reason(failure)})" if failure else str(stated)
        raise NetworkContractError(
            f"With value_range={pair(given)} the restorer {before}, but with another it {others[best]}: "
            f"pass value_range={pair(best)}, or {ALL_THE_SAME}."
        ) from failure
    if failure is not None:
        raise uncallable(network, failure) from failure
    if stated.keeps_means:
        return None
    truest = min(others, key=lambda value_range: others[value_range].drift)
    hint = f" (which are kept better with {pair(truest)})" if others[truest].keeps_means else ""
    return (
        f"With value_range={pair(given)} the restorer {stated}{hint}: check its weights and its value_range, unless it "
        "is meant to change the light."
    )


def _better(stated: _Outcome, others: dict[Range, _Outcome]) -> Range | None:
    """The range in which a restorer does clearly better."""
    sharpest = min(
        others, key=lambda value_range: others[value_range].error if others[value_range].sharpens else math.inf
    )
    if others[sharpest].sharpens and others[sharpest].error * _CLEARLY_SHARPER < stated.error:
        return sharpest
    truest = min(others, key=lambda value_range: others[value_range].drift)
    # At scale 1 a network may be meant to change the light, and does not do so in a wrong range.
    enlarges = others[truest].scale > 1 and not stated.keeps_means and others[truest].keeps_means
    return truest if enlarges and others[truest].drift * _CLEARLY_TRUER < stated.drift else None


def _attempt(network: LoadedNetwork, value_range: Range) -> _Outcome:
    try:
        return _restore(network, value_range)
    except Exception:  # what cannot be called this way was not made to be
        return _Outcome()


def _restore(network: LoadedNetwork, value_range: Range) -> _Outcome:
    info = replace(network.info, value_range=value_range)
    loaded = LoadedNetwork("restorer", network.module, info, device=network.device, bfloat16=network.autocast)

    def run(scale: int) -> tuple[Tensor, Tensor, Tensor]:
        sharp = picture(scale * _SIDE if scale > 1 else _BLURRED_SIDE, info.channels)
        observation = _observe(sharp, scale)
        return sharp, observation, loaded(observation.to(network.device)).cpu()

    sharp, observation, restored = run(info.scale or 4)
    scale = restored.shape[-1] // observation.shape[-1]
    if restored.shape != sharp.shape:  # the scale was not stated, and is seen only now
        sharp, observation, restored = run(scale)
    plain = imresize(observation, scale) if scale > 1 else observation
    inner = slice(4 * scale, -4 * scale)  # borders are everybody's own
    error, nothing = ((image - sharp)[..., inner, inner] for image in (restored, plain))
    means = F.avg_pool2d(restored, 4 * scale) - F.avg_pool2d(observation, 4)
    return _Outcome(rms(error) / rms(nothing), rms(means), scale)


def _observe(sharp: Tensor, scale: int) -> Tensor:
    """The picture reduced by bicubic interpolation, or blurred by a diagonal motion of 7 pixels."""
    if scale > 1:
        return imresize(sharp, 1 / scale)[..., :_SIDE, :_SIDE]
    kernel = torch.eye(7, dtype=sharp.dtype, device="cpu").expand(sharp.shape[1], 1, 7, 7) / 7
    return F.conv2d(F.pad(sharp, (3, 3, 3, 3), mode="replicate"), kernel, groups=sharp.shape[1])
