"""Reading from text what someone states of a network: fields of `NetworkInfo`, as "value_range=0,255"."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar, get_args

from dp_ir.checkpoints.architectures import nearest
from dp_ir.checkpoints.contract import INPUTS, SIGMA_INPUTS, Tiling, info_from
from dp_ir.errors import NetworkContractError

Value = TypeVar("Value")


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Read fields of `NetworkInfo`, and whether to probe the network, from "KEY=VALUE" texts.

    Args:
        pairs: such as "value_range=0,255", "sigma_range=0,75/255", "sigma_input=map", "scale=4",
            "supports_bfloat16=yes"; where a field may be unknown, "none" says so; "probe=no" leaves out the check of
            all this. The last of several texts with one key counts.

    Returns:
        Fields and their values, ready for `load_restorer` and `load_denoiser`.

    Raises:
        NetworkContractError: no such field, or a value that the field cannot have; the sentence says what it can.

    Examples:
        >>> parse_overrides(["value_range=0,255", "sigma_range=0,75/255", "scale=4"])
        {'value_range': (0.0, 255.0), 'sigma_range': (0.0, 0.29411764705882354), 'scale': 4}
    """
    stated: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        key = _known(key.strip().replace("-", "_"), _FIELDS, pair)
        expected, read = _FIELDS[key]
        try:
            stated[key] = read(text.strip())
            if key != _PROBE:
                info_from({key: stated[key]})  # refuses pairs in the wrong order, negative levels and the like
        except (ValueError, ArithmeticError, KeyError, NetworkContractError) as error:
            raise NetworkContractError(f"{pair!r} cannot be: expected {key}={expected}.") from error
    return stated


def parse_overrides_by_kind(pairs: Sequence[str], kinds: Collection[str]) -> dict[str, dict[str, Any]]:
    """Read "KIND.KEY=VALUE" texts, such as "restorer.value_range=0,255".

    Args:
        pairs: the texts; for what follows the point see `parse_overrides`.
        kinds: which networks may be named.

    Returns:
        Fields per kind of network; kinds that no text names are left out.

    Raises:
        NetworkContractError: as `parse_overrides`, or a text that names none of `kinds`.

    Examples:
        >>> parse_overrides_by_kind(["denoiser.sigma_input=map"], ["restorer", "denoiser"])
        {'denoiser': {'sigma_input': 'map'}}
    """
    texts: dict[str, list[str]] = {}
    for pair in pairs:
        kind, point, rest = pair.partition(".")
        if not point or kind not in kinds or "=" in kind:
            examples = " or ".join(f"{kind}.KEY=VALUE" for kind in kinds)
            raise NetworkContractError(f"{pair!r} does not say which network it is about: expected {examples}.")
        texts.setdefault(kind, []).append(rest)
    return {kind: parse_overrides(rest) for kind, rest in texts.items()}


def _whole(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _pair(text: str) -> tuple[float, float]:
    low, high = (float(Fraction(part.strip())) for part in text.split(","))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(text)
    return low, high


def _or_none(read: Callable[[str], Value]) -> Callable[[str], Value | None]:
    return lambda text: None if text.lower() == "none" else read(text)


def _one_of(words: Mapping[str, Value]) -> Callable[[str], Value]:
    return lambda text: words[text.lower()]


def _known(key: str, known: Collection[str], pair: str) -> str:
    if key not in known or "=" not in pair:
        raise NetworkContractError(
            f"{pair!r} states nothing that is known of networks{nearest(key, known) if key not in known else ''}: "
            f"expected KEY=VALUE, where KEY is one of {', '.join(known)}."
        )
    return key


_PROBE = "probe"
_WHOLE = "a whole number of at least 1"
_BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_TILINGS: dict[str, Any] = {word: word for word in get_args(Tiling)}
_INPUTS: dict[str, Any] = {word: word for word in INPUTS}
_SIGMA_INPUTS: dict[str, Any] = {word: word for word in SIGMA_INPUTS}

_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "scale": (f"{_WHOLE}, or none for whatever it returns", _or_none(_whole)),
    "input": (f"one of {', '.join(INPUTS)}", _one_of(_INPUTS)),
    "channels": (_WHOLE, _whole),
    "multiple_of": (_WHOLE, _whole),
    "minimum_size": (_WHOLE, _whole),
    "value_range": ("LOW,HIGH, such as 0,255 or -1,1", _pair),
    "sigma_range": ("LOW,HIGH in units of [0, 1] images, such as 0,50/255, or none for any level", _or_none(_pair)),
    "sigma_input": (f"one of {', '.join(SIGMA_INPUTS)}", _one_of(_SIGMA_INPUTS)),
    "supports_bfloat16": ("yes or no", _one_of(_BOOLEANS)),
    "tiling": (f"one of {', '.join(_TILINGS)}", _one_of(_TILINGS)),
    "receptive_field": ("a whole number of pixels, or none for not known", _or_none(_whole)),
    _PROBE: ("yes or no", _one_of(_BOOLEANS)),
}
"""Per field of `NetworkInfo` that a restorer or a denoiser has: what its text may be, and how that is read."""
