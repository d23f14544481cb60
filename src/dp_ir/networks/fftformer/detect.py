"""Weight files of FFTformer (kkkls/FFTformer): a flat state dict."""

from __future__ import annotations

import math
from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector


def _count(state: State, level: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{level}.")})


def _expansion(state: State, dim: int) -> float:
    """The roundest factor that gives the hidden channels of all resolutions, which are rounded down."""
    hidden = {
        dim * 2**level: state[f"encoder_level{level + 1}.0.ffn.project_out.weight"].shape[1] for level in range(3)
    }
    exact = hidden[4 * dim] / (4 * dim)
    for digits in range(8):
        factor = math.ceil(exact * 10**digits) / 10**digits
        if all(int(channels * factor) == found for channels, found in hidden.items()):
            return factor
    return exact


def _config(state: State) -> dict[str, Any]:
    dim, channels = state["patch_embed.proj.weight"].shape[:2]
    return {
        "channels": channels,
        "dim": dim,
        "num_blocks": [_count(state, f"encoder_level{level}") for level in (1, 2, 3)],
        "num_refinement_blocks": _count(state, "refinement"),
        "ffn_expansion_factor": _expansion(state, dim),
        "bias": "encoder_level1.0.ffn.project_in.bias" in state,
    }


DETECTOR = register_detector(
    Detector(
        "fftformer",
        (
            "patch_embed.proj.weight",
            "encoder_level1.0.ffn.fft",
            "encoder_level2.0.ffn.project_out.weight",
            "encoder_level3.0.ffn.project_out.weight",
            "decoder_level1.0.attn.to_hidden_dw.weight",
            "refinement.0.norm1.body.weight",
            "fuse1.att_channel.ffn.fft",
        ),
        _config,
    )
)
