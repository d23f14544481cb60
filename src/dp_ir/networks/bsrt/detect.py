"""Weight files of BSRT (Algolzw/BSRT): a flat state dict, the weights of the optical flow among the others."""

from __future__ import annotations

import math
from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector


def _count(state: State, prefix: str) -> int:
    """How many numbered modules there are under a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})


def _config(state: State) -> dict[str, Any]:
    embed_dim = state["conv_first.weight"].shape[0]
    n_feats = state["HRconv.weight"].shape[0]
    transformers = ["pre_layers."]
    transformers += [f"layers.{stage}.residual_group.blocks." for stage in range(_count(state, "layers."))]
    tables = [state[f"{prefix}0.attn.relative_position_bias_table"] for prefix in transformers]
    return {
        "burst_size": state["fusion.weight"].shape[1] // n_feats,
        "embed_dim": embed_dim,
        "depths": [_count(state, prefix) for prefix in transformers],
        "num_heads": [table.shape[1] for table in tables],
        "window_size": (math.isqrt(tables[0].shape[0]) + 1) // 2,
        "mlp_ratio": state["pre_layers.0.mlp.fc1.weight"].shape[0] / embed_dim,
        "n_feats": n_feats,
        "deform_groups": state["align.cas_dcnpack.conv_offset_mask.weight"].shape[0] // 27,
    }


DETECTOR = register_detector(
    Detector("bsrt", ("spynet.mean", "conv_flow.weight", "align.cas_dcnpack.conv_offset_mask.weight"), _config)
)
