"""What the probes of denoisers and restorers share: a picture, and words for what they find."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import NetworkContractError

Range = tuple[float, float]

ALL_THE_SAME = "leave this check out with probe=False (on the command line: probe=no)"

RANGES: tuple[Range, ...] = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
"""Value ranges that networks are published for."""


def picture(side: int, channels: int) -> Tensor:
    """A clean picture (1, channels, side, side) in [0, 1]: a ramp, a disc, a bar and a fine grating, in colours.

    It stays some way off black and white, where networks that were trained on clipped noise behave otherwise, and has
    texture, without which too much smoothing would go unseen.
    """
    axis = torch.arange(side, dtype=torch.float32, device="cpu") / side
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    ramp = 0.15 + 0.35 * (1 - torch.cos(math.pi * (x + y) / 2))
    disc = (x - 0.36) ** 2 + (y - 0.36) ** 2 < 0.2**2
    bar = (x - y - 0.45).abs() < 0.1
    grating = 0.08 * torch.sin(2 * math.pi * (10 * x + 5 * y)) * torch.sigmoid(20 * (y - x - 0.2))
    tint = torch.sin(2 * math.pi * (x - 0.3 * y))
    planes = []
    for hue, on_disc, on_bar in ((0.06, 0.75, 0.15), (-0.02, 0.2, 0.25), (-0.04, 0.3, 0.55)):
        plane = torch.where(disc, on_disc, ramp + hue * tint)
        planes.append(torch.where(bar, on_bar, plane) + grating)
    image = torch.stack(planes)[None]
    return image if channels == 3 else image.mean(dim=1, keepdim=True)


def rms(error: Tensor) -> float:
    """Root mean square."""
    return float(error.square().mean().sqrt())


def pair(value_range: Range) -> str:
    """A value range as it is written in a call."""
    return f"({value_range[0]:g}, {value_range[1]:g})"


def reason(error: Exception) -> str:
    """What an error says, in one short line."""
    return " ".join(str(error).split())[:160].rstrip(".:") or type(error).__name__


def uncallable(network: LoadedNetwork, failure: Exception) -> NetworkContractError:
    """The error for a network that fails as stated and under every other convention."""
    if isinstance(failure, NetworkContractError):
        return failure
    return NetworkContractError(
        f"The {network.kind} cannot be called as its contract says ({type(failure).__name__}: {reason(failure)}): "
        "state its channels, scale, multiple of the sides and, for a denoiser, sigma_input as they are."
    )
