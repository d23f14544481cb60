"""What is asked of the three networks: to be callable, and to say a little about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, get_args

from torch import Tensor

from dp_ir.errors import NetworkContractError

SigmaInput = Literal["sigma", "variance", "map", "none"]
SIGMA_INPUTS: tuple[SigmaInput, ...] = get_args(SigmaInput)
InputKind = Literal["image", "burst"]
INPUTS: tuple[InputKind, ...] = get_args(InputKind)
Tiling = Literal["supported", "discouraged"]
TILINGS: tuple[Tiling, ...] = get_args(Tiling)


class Restorer(Protocol):
    """observation -> E[x0 | y]."""

    def __call__(self, observation: Tensor, /) -> Tensor:
        """Map (B, C, h, w) to (B, 3, scale * h, scale * w)."""
        ...


class Denoiser(Protocol):
    """(noisy, sigma) -> E[x0 | noisy] for noisy = clean + sigma * eps."""

    def __call__(self, noisy: Tensor, sigma: Tensor, /) -> Tensor:
        """Map (B, 3, H, W) and (B,) to (B, 3, H, W)."""
        ...


class Fusion(Protocol):
    """(restored, denoised, noisy, sigma) -> E[x0 | y, noisy]; one that sees the dial takes `detail` (B,) after them."""

    def __call__(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor, /) -> Tensor:
        """Map three (B, 3, H, W) and sigma (B,) to (B, 3, H, W)."""
        ...


@dataclass(frozen=True)
class NetworkInfo:
    """What the pipeline must know of a network beside how to call it.

    Args:
        scale: output side / input side; None takes whatever the network returns.
        input: what goes in: an "image" (B, C, h, w), or a "burst" of packed Bayer frames (B, N, 4, h, w).
        channels: channels of the image that goes in, or planes of a frame.
        multiple_of: input sides must be multiples of it; the caller pads and crops.
        minimum_size: smallest input side; the caller pads and crops.
        value_range: pixel values the network works in; [0, 1] is mapped to it and back, sigma included.
        sigma_range: noise levels, in [0, 1] units, a denoiser was trained for; None for any.
        sigma_input: how a denoiser takes the noise level, in units of its value range: "sigma" (B,) as second argument,
            "variance" the same squared, "map" as one more channel of the image, "none" not at all.
        supports_bfloat16: whether it may run in bfloat16 autocast.
        tiling: "supported", or "discouraged" where what is far away in the image changes the result.
        receptive_field: how far away, in pixels of what goes in, the image changes a pixel of the result noticeably;
            None where that is not known. Tiles are computed with as much context.
        detail: the least value of the dial between mean (0) and sample (1) that a fusion sees, as its last argument;
            below it lies a straight line to the restorer's estimate. None for one that does not see the dial.
    """

    scale: int | None = None
    input: InputKind = "image"
    channels: int = 3
    multiple_of: int = 1
    minimum_size: int = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    sigma_range: tuple[float, float] | None = None
    sigma_input: SigmaInput = "sigma"
    supports_bfloat16: bool = False
    tiling: Tiling = "supported"
    receptive_field: int | None = None
    detail: float | None = None

    def __post_init__(self) -> None:
        low, high = self.value_range
        if not low < high:
            raise NetworkContractError(f"value_range is {self.value_range}: expected two numbers, the smaller first.")
        if self.sigma_input not in SIGMA_INPUTS:
            raise NetworkContractError(
                f"sigma_input is {self.sigma_input!r}: expected one of {', '.join(SIGMA_INPUTS)}."
            )
        if self.input not in INPUTS:
            raise NetworkContractError(f"input is {self.input!r}: expected one of {', '.join(INPUTS)}.")
        if self.tiling not in TILINGS:
            raise NetworkContractError(f"tiling is {self.tiling!r}: expected one of {', '.join(TILINGS)}.")
        if self.sigma_range is not None and not 0 <= self.sigma_range[0] <= self.sigma_range[1]:
            raise NetworkContractError(f"sigma_range is {self.sigma_range}: expected two numbers, 0 <= low <= high.")
        if min(self.multiple_of, self.minimum_size, self.channels, 1 if self.scale is None else self.scale) < 1:
            raise NetworkContractError(
                f"scale {self.scale}, channels {self.channels}, multiple_of {self.multiple_of} and minimum_size "
                f"{self.minimum_size} must each be at least 1."
            )
        if self.detail is not None and not 0 < self.detail <= 1:
            raise NetworkContractError(f"detail is {self.detail}: expected a number above 0 and at most 1, or None.")
        if self.receptive_field is not None and self.receptive_field < 0:
            raise NetworkContractError(
                f"receptive_field is {self.receptive_field}: expected a number of pixels of at least 0, or None."
            )


def info_of(network: Any) -> NetworkInfo:
    """What is known of a network: its attribute `info` where it has one, else `own_info`."""
    info = getattr(network, "info", None)
    return info if isinstance(info, NetworkInfo) else own_info(network)


def own_info(network: Any) -> NetworkInfo:
    """What a network says of itself.

    The networks of this package say it in attributes that are named as the fields of `NetworkInfo`. Of any other only
    `scale` and `sigma_range` are read, since an attribute such as `channels` may mean anything there.
    """
    if type(network).__module__.startswith("dp_ir."):
        stated = {name: value for name in _FIELDS if (value := getattr(network, name, None)) is not None}
    else:
        scale, sigma_range = getattr(network, "scale", None), getattr(network, "sigma_range", None)
        stated = {"scale": scale if isinstance(scale, int) else None}
        if isinstance(sigma_range, tuple | list):
            stated["sigma_range"] = sigma_range
    return info_from(stated)


def info_from(stated: Mapping[str, Any]) -> NetworkInfo:
    """A `NetworkInfo` from plain values, as JSON has them: pairs may be lists.

    Raises:
        NetworkContractError: an unknown field, or a value that cannot be.
    """
    pairs = {
        name: (float(value[0]), float(value[1])) for name, value in stated.items() if isinstance(value, list | tuple)
    }
    try:
        return NetworkInfo(**{**stated, **pairs})
    except TypeError as error:
        raise NetworkContractError(f"{error}: what can be stated of a network are {', '.join(_FIELDS)}.") from error


_FIELDS = tuple(item.name for item in fields(NetworkInfo))
