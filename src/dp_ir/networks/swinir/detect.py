"""Weight files of SwinIR (JingyunLiang/SwinIR): under `params` or `params_ema`, with or without their buffers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dp_ir.networks.layers.swin import attention_mask, relative_position_index
from dp_ir.networks.registry import Detector, State, register_detector

_FIRST = "layers.0.residual_group.blocks.0."
_TABLE = "attn.relative_position_bias_table"
_NAMES = re.compile(
    r"layers\.\d+\.residual_group\.blocks\.\d+\."
    r"(attn_mask|attn\.relative_position_(bias_table|index)|"
    r"(norm[12]|attn\.(qkv|proj)|mlp\.fc[12])\.(weight|bias))"
    r"|(layers\.\d+\.conv|conv_after_body)(\.[024])?\.(weight|bias)"
    r"|(conv_first|patch_embed\.norm|norm|conv_before_upsample\.0|upsample\.\d+|conv_up\d|conv_hr|conv_last)"
    r"\.(weight|bias)"
    r"|absolute_pos_embed"
)
_DEFAULT_IMAGE_SIZE = 64
_LARGEST_MASK = 2**26  # numbers; the released networks have 2**18


@dataclass(frozen=True)
class _SwinIRDetector(Detector):
    """Networks built upon SwinIR (BSRT, HAT) have all its names and more, so no other name may be there."""

    def matches(self, state: State) -> bool:
        return super().matches(state) and _is_swinir(state)


def _is_swinir(state: State) -> bool:
    return _FIRST + _TABLE in state and all(_NAMES.fullmatch(name) for name in state)


def _rename(state: State) -> State:
    """Put the buffers in order: they follow from the sizes, and files come without them, or with some of another."""
    if not _is_swinir(state):
        return state
    window, image_size = _window(state), _image_size(state)
    if (image_size * window) ** 2 > _LARGEST_MASK:
        return state
    index, mask = relative_position_index(window), attention_mask(image_size, window)
    renamed: dict[str, Tensor] = {
        name: value for name, value in state.items() if not name.endswith(("attn_mask", "relative_position_index"))
    }
    for stage, depth in enumerate(_depths(state)):
        for number in range(depth):
            block = f"layers.{stage}.residual_group.blocks.{number}."
            renamed[block + "attn.relative_position_index"] = index
            if number % 2:
                renamed[block + "attn_mask"] = mask
    return renamed


def _window(state: State) -> int:
    return (math.isqrt(state[_FIRST + _TABLE].shape[0]) + 1) // 2


def _image_size(state: State) -> int:
    """Side of the training patches, which only the sizes of the buffers and of an embedding of the position show."""
    window = _window(state)
    if "absolute_pos_embed" in state:
        return math.isqrt(state["absolute_pos_embed"].shape[1])
    counts = {value.shape[0] for name, value in state.items() if name.endswith("attn_mask")}
    per_side = math.isqrt(counts.pop()) if len(counts) == 1 else 0
    return window * (per_side if per_side > 1 else max(2, _DEFAULT_IMAGE_SIZE // window))


def _depths(state: State) -> list[int]:
    blocks = [re.match(r"layers\.(\d+)\.residual_group\.blocks\.(\d+)\.", name) for name in state]
    found = {(int(match[1]), int(match[2])) for match in blocks if match}
    return [sum(stage == number for stage, _ in found) for number in range(max(stage for stage, _ in found) + 1)]


def _head(state: State) -> tuple[str, int]:
    """The upsampler and its factor."""
    if "conv_up1.weight" in state:
        return "nearest+conv", 2 ** sum(bool(re.fullmatch(r"conv_up\d\.weight", name)) for name in state)
    convolutions = [value for name, value in state.items() if re.fullmatch(r"upsample\.\d+\.weight", name)]
    if "conv_before_upsample.0.weight" in state:
        return "pixelshuffle", math.prod(math.isqrt(value.shape[0] // value.shape[1]) for value in convolutions)
    if convolutions:
        out = state["conv_first.weight"].shape[1]
        return "pixelshuffledirect", math.isqrt(convolutions[0].shape[0] // out)
    return "", 1


def _config(state: State) -> dict[str, Any]:
    embed_dim, in_chans = state["conv_first.weight"].shape[:2]
    window, (upsampler, upscale), depths = _window(state), _head(state), _depths(state)
    heads = [state[f"layers.{stage}.residual_group.blocks.0.{_TABLE}"].shape[1] for stage in range(len(depths))]
    return {
        "upscale": upscale,
        "in_chans": in_chans,
        "img_size": _image_size(state),
        "window_size": window,
        # A file does not say this. The released networks against JPEG artefacts, which alone have windows of 7 pixels,
        # work on values of 0 to 255.
        "img_range": 255.0 if window == 7 and not upsampler else 1.0,
        "depths": depths,
        "embed_dim": embed_dim,
        "num_heads": heads,
        "mlp_ratio": state[_FIRST + "mlp.fc1.weight"].shape[0] / embed_dim,
        "upsampler": upsampler,
        "resi_connection": "1conv" if "conv_after_body.weight" in state else "3conv",
        "qkv_bias": _FIRST + "attn.qkv.bias" in state,
        "ape": "absolute_pos_embed" in state,
        "patch_norm": "patch_embed.norm.weight" in state,
    }


DETECTOR = register_detector(
    _SwinIRDetector("swinir", ("conv_first.weight", _FIRST + "attn.qkv.weight", _FIRST + _TABLE), _config, _rename)
)
