"""Weight files of RLFN (bytedance/RLFN): a flat state dict."""

from __future__ import annotations

import math
from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector


def _config(state: State) -> dict[str, Any]:
    channels, in_channels = state["conv_1.weight"].shape[:2]
    return {
        "channels": channels,
        "attention_channels": state["block_1.esa.conv1.weight"].shape[0],
        "blocks": len({name.split(".")[0] for name in state if name.startswith("block_")}),
        "scale": math.isqrt(state["upsampler.0.weight"].shape[0] // in_channels),
        "in_channels": in_channels,
    }


DETECTOR = register_detector(
    Detector(
        "rlfn", ("conv_1.weight", "block_1.c1_r.weight", "block_1.esa.conv_f.weight", "upsampler.0.weight"), _config
    )
)
