"""Weight files of MIRNet (swz30/MIRNet): denoising, super-resolution and enhancement share one layout."""

from __future__ import annotations

from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector

_BLOCK = "body.0.body.0"


def _count(state: State, prefix: str, suffix: str) -> int:
    """How many numbers stand between the two in the names of a state dict."""
    return len(
        {name[len(prefix) : -len(suffix)] for name in state if name.startswith(prefix) and name.endswith(suffix)}
    )


def _config(state: State) -> dict[str, Any]:
    """The noise levels of a network that is told them are not in its weights: `sigma_range` stays at its default."""
    n_feat, inputs, kernel_size, _ = state["conv_in.weight"].shape
    channels = state["conv_out.weight"].shape[0]
    if inputs not in (channels, channels + 1):
        raise ValueError(
            f"This MIRNet maps {inputs} channels to {channels}: expected as many, or one more for the noise level."
        )
    return {
        "n_feat": n_feat,
        "n_rrg": len({name.split(".")[1] for name in state if name.startswith("body.")}),
        "n_msrb": _count(state, "body.0.body.", ".blocks.0.0.conv1x1.weight"),
        "height": _count(state, f"{_BLOCK}.blocks.", ".0.conv1x1.weight"),
        "width": _count(state, f"{_BLOCK}.blocks.0.", ".conv1x1.weight"),
        "kernel_size": kernel_size,
        "bias": "conv_in.bias" in state,
        "channels": channels,
        "sigma_map": inputs == channels + 1,
    }


DETECTOR = register_detector(
    Detector(
        "mirnet",
        (
            "conv_in.weight",
            f"{_BLOCK}.blocks.0.0.SA.spatial.conv.weight",
            f"{_BLOCK}.blocks.0.0.CA.conv_du.0.weight",
            f"{_BLOCK}.selective_kernel.0.conv_du.0.weight",
            f"{_BLOCK}.conv_out.weight",
            "conv_out.weight",
        ),
        _config,
    )
)
