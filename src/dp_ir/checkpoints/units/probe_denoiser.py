"""Trying a denoiser on white noise of known level, in the units stated and, where these fail, in others.

The limits lie between what was measured on real networks (FFDNet, in colour and grey, DnCNN and the shipped denoiser),
called as they were made and in every other way that `_calls` knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dp_ir.checkpoints.contract import SIGMA_INPUTS, NetworkInfo, SigmaInput
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.units.probe_picture import ALL_THE_SAME, RANGES, Range, pair, picture, reason, rms, uncallable
from dp_ir.errors import NetworkContractError

Reading = Literal["image", "noise", "unit noise"]
Errors = dict[float, float]
"""Noise level -> what is left, root mean square, as a share of the level."""

_SIDE = 48
# Two levels: what is right by chance at one (a fixed level that is the given one; sigma and 4 sigma**2 at 1/4) is not
# at the other. Low ones, since sigma and sigma**2 are the same where sigma times the width of the range is near 1.
_LEVELS = (0.05, 0.1)
_CLEARLY = 1.2  # wrong statements cost a factor of 1.3 and more, right ones gain at most 1.02 by another
_NOISE_UNITS = (1.0, 2.0, 255.0)  # what the noise level 1 of [0, 1] images is called by networks that mix units


@dataclass(frozen=True)
class _Convention:
    """How a denoiser is called: the contract's fields, a factor on the noise level, and what the result means."""

    value_range: Range
    sigma_input: SigmaInput
    factor: float = 1.0
    reading: Reading = "image"

    def changes(self, stated: _Convention) -> int:
        """How far this is from what was stated; what the contract has no word for counts double."""
        return (
            (self.value_range != stated.value_range)
            + (self.sigma_input != stated.sigma_input)
            + 2 * (self.factor != stated.factor)
            + 2 * (self.reading != stated.reading)
        )


def check_denoiser_units(network: LoadedNetwork) -> str | None:
    """Check a denoiser.

    Returns:
        What is to be warned of; None where it does its work.

    Raises:
        NetworkContractError: it does clearly better otherwise, or it cannot be called.
    """
    info = network.info
    _check_range(info)
    levels = _levels(info)
    stated = _Convention(info.value_range, info.sigma_input)
    errors, failure = dict.fromkeys(levels, math.inf), None
    try:
        errors = {level: _remaining(network, stated, level)["image"] for level in levels}
    except Exception as error:  # a network of any make can fail in any way
        failure = error
    if all(error < _good(level) for level, error in errors.items()):
        return None
    best = _best(network, stated, errors)
    if best is not None and _mean(best[1]) * _CLEARLY < _mean(errors):
        before = f"cannot be called ({reason(failure)})" if failure else f"leaves {_share(errors)}"
        raise NetworkContractError(
            f"With {_words(stated)} the denoiser {before}; used otherwise it leaves {_share(best[1])}: "
            f"{_remedy(best[0], stated)}, or {ALL_THE_SAME}."
        ) from failure
    if failure is not None:
        raise uncallable(network, failure) from failure
    if errors[levels[-1]] < _works(levels[-1]):
        return None
    return (
        f"The denoiser left {_share(errors)} on a test picture (a good one leaves less than half), with "
        f"{_words(stated)} and in every other way that was tried: check its weights, its sigma_range and that it is a "
        "denoiser of ordinary images."
    )


def _check_range(info: NetworkInfo) -> None:
    low, high = info.sigma_range or (0.0, 0.0)
    if low >= 1:
        raise NetworkContractError(
            f"sigma_range is ({low:g}, {high:g}), all of it more noise than image: state it in units where the image "
            f"spans 1, as in sigma_range=({low:g} / 255, {high:g} / 255)."
        )


def _levels(info: NetworkInfo) -> list[float]:
    """The levels to try, rising; none for a network that is for clean images only."""
    low, high = info.sigma_range or (0.0, math.inf)
    return sorted({level for usual in _LEVELS if (level := min(max(usual, low), high)) > 0})


def _good(level: float) -> float:
    """What real denoisers leave, and a tenth: 0.35 to 0.45 at 0.05, 0.28 to 0.33 at 0.1, 0.22 to 0.25 at 0.2."""
    return 0.49 * (0.05 / level) ** 0.42


def _works(level: float) -> float:
    """What something that is to be called a denoiser may leave."""
    return min(0.9, 2 * _good(level))


def _remaining(network: LoadedNetwork, call: _Convention, level: float) -> dict[Reading, float]:
    """What is left of noise of this level, as a share of it, for each way to read the result."""
    info = replace(network.info, value_range=call.value_range, sigma_input=call.sigma_input)
    inner = _scaled(network.module, call.sigma_input, call.factor)
    loaded = LoadedNetwork("denoiser", inner, info, device=network.device, bfloat16=network.autocast)
    clean = picture(_SIDE, info.channels)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=clean.dtype, device="cpu")
    noisy = clean + level * noise
    result = loaded(noisy.to(network.device), torch.tensor([level], device=network.device)).cpu()
    low, high = call.value_range
    raw = low + (high - low) * result
    readings: dict[Reading, Tensor] = {
        "image": result,
        "noise": noisy - raw / (high - low),
        "unit noise": noisy - level * raw,
    }
    return {reading: rms(image - clean) / level for reading, image in readings.items()}


def _scaled(network: Any, sigma_input: SigmaInput, factor: float) -> Any:
    """The network with its noise level multiplied, where it sees one."""
    if factor == 1:
        return network
    if sigma_input == "map":
        return lambda image: network(torch.cat((image[:, :-1], factor * image[:, -1:]), dim=1))
    return lambda image, sigma: network(image, factor * sigma)


def _best(network: LoadedNetwork, stated: _Convention, errors: Errors) -> tuple[_Convention, Errors] | None:
    """The convention that leaves least, and what it leaves; it beats the stated one at every level."""
    calls = _calls(stated)
    left: dict[_Convention, Errors] = {}
    for level, before in errors.items():
        now = {convention: error for call in calls for convention, error in _attempt(network, call, level).items()}
        left = {
            convention: {**left.get(convention, {}), level: error}
            for convention, error in now.items()
            if error < min(_works(level), before / 1.05) and (convention in left or not left)
        }
        if not left:
            return None
        least = min(map(_mean, left.values()))
        left = {convention: shares for convention, shares in left.items() if _mean(shares) < 1.25 * least}
        calls = list(dict.fromkeys(replace(convention, reading="image") for convention in left))
    if not left:
        return None
    least = min(map(_mean, left.values()))
    # Between equals, such as the ranges of a network that does not care, the one nearest to what was stated.
    equals = [item for item in left.items() if _mean(item[1]) <= 1.01 * least]
    return min(equals, key=lambda item: (item[0].changes(stated), _mean(item[1])))


def _calls(stated: _Convention) -> list[_Convention]:
    """All ways to call a denoiser."""
    return [
        _Convention(value_range, sigma_input, factor)
        for value_range in dict.fromkeys((stated.value_range, *RANGES))
        for sigma_input in SIGMA_INPUTS
        for factor in _factors(value_range, sigma_input)
    ]


def _factors(value_range: Range, sigma_input: SigmaInput) -> list[float]:
    if sigma_input not in ("sigma", "map"):
        return [1.0]
    return list(dict.fromkeys((1.0, *(unit / (value_range[1] - value_range[0]) for unit in _NOISE_UNITS))))


def _attempt(network: LoadedNetwork, call: _Convention, level: float) -> dict[_Convention, float]:
    try:
        remaining = _remaining(network, call, level)
    except Exception:  # what cannot be called this way was not made to be
        return {}
    return {replace(call, reading=reading): error for reading, error in remaining.items()}


def _remedy(best: _Convention, stated: _Convention) -> str:
    keywords = []
    if best.value_range != stated.value_range:
        keywords.append(f"value_range={pair(best.value_range)}")
    if best.sigma_input != stated.sigma_input:
        keywords.append(f"sigma_input={best.sigma_input!r}")
    remedies = [f"pass {', '.join(keywords)}"] if keywords else []
    if best.factor != 1:
        remedies.append(f"wrap it in a function that multiplies the noise level it gets by {best.factor:.6g}")
    if best.reading != "image":
        noise = "what it returns" if best.reading == "noise" else "sigma times what it returns"
        remedies.append(f"wrap it in a function that subtracts {noise}, the noise, from the image")
    return " and ".join(remedies)


def _words(convention: _Convention) -> str:
    return f"value_range={pair(convention.value_range)} and sigma_input={convention.sigma_input!r}"


def _share(errors: Errors) -> str:
    mean = _mean(errors)
    return f"{100 * mean:.0f} % of the noise" if mean < 2 else f"{mean:.0f} times the noise"


def _mean(errors: Errors) -> float:
    """Geometric mean; infinite where one is."""
    return math.exp(sum(math.log(max(error, 1e-12)) for error in errors.values()) / len(errors))
