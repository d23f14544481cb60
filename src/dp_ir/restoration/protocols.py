"""What the pipeline asks of the three networks: to be callable, and to say a little about themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from torch import Tensor, nn

from dp_ir.checkpoints.architectures import architecture_of


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
    """(restored, denoised, noisy, sigma) -> E[x0 | y, noisy]."""

    def __call__(self, restored: Tensor, denoised: Tensor, noisy: Tensor, sigma: Tensor, /) -> Tensor:
        """Map three (B, 3, H, W) and sigma (B,) to (B, 3, H, W)."""
        ...


@dataclass(frozen=True)
class NetworkInfo:
    """What the pipeline must know of a network beside how to call it.

    Args:
        scale: output side / input side; None takes whatever the network returns.
        channels: channels of the input.
        size_multiple: input sides must be multiples of it; the pipeline pads and crops.
        value_range: pixel values the network works in; the pipeline maps [0, 1] to it and back, sigma included.
        sigma_range: noise levels, in [0, 1] units, a denoiser was trained for; None for any.
        half_safe: whether it may run in bfloat16 autocast.
    """

    scale: int | None = None
    channels: int = 3
    size_multiple: int = 1
    value_range: tuple[float, float] = (0.0, 1.0)
    sigma_range: tuple[float, float] | None = None
    half_safe: bool = False


def info_of(network: Any) -> NetworkInfo:
    """What a network says of itself: its attribute `info` where it has one, else its attributes `scale`, `sigma_range`.

    The networks of this package take images of any size and run in bfloat16; of others neither is assumed to be known,
    so they are given images as they are, in float32.
    """
    if isinstance(info := getattr(network, "info", None), NetworkInfo):
        return info
    scale, sigma_range = getattr(network, "scale", None), getattr(network, "sigma_range", None)
    return replace(
        NetworkInfo(),
        scale=scale if isinstance(scale, int) else None,
        sigma_range=(float(sigma_range[0]), float(sigma_range[1])) if isinstance(sigma_range, tuple | list) else None,
        half_safe=isinstance(network, nn.Module) and architecture_of(network) is not None,
    )
