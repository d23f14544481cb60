"""SwinIR's hyper-parameters read off its state dicts, whatever became of their buffers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spandrel.architectures.HAT import HAT
from spandrel.architectures.SwinIR import SwinIR as Reference
from torch import Tensor

from dp_ir.networks.swinir.detect import DETECTOR
from dp_ir.networks.swinir.model import SwinIR

SMALL: dict[str, Any] = {"img_size": 24, "embed_dim": 12, "depths": [2, 1, 4], "num_heads": [2, 1, 3]}
VARIANTS: dict[str, dict[str, Any]] = {
    "x4": {},
    "x3": {"upscale": 3, "in_chans": 1},
    "x8": {"upscale": 8, "window_size": 6, "patch_norm": False},
    "lightweight x2": {"upsampler": "pixelshuffledirect", "upscale": 2, "mlp_ratio": 1.5},
    "lightweight grey x3": {"upsampler": "pixelshuffledirect", "upscale": 3, "in_chans": 1, "mlp_ratio": 7 / 12},
    "real-world x4": {"upsampler": "nearest+conv", "resi_connection": "3conv"},
    "real-world x2": {"upsampler": "nearest+conv", "upscale": 2, "qkv_bias": False},
    "denoising": {"upsampler": "", "upscale": 1, "img_size": 16},
    "JPEG": {"upsampler": "", "upscale": 1, "window_size": 7, "img_size": 21, "img_range": 255.0},
    "position embedding": {"ape": True, "img_size": 16, "depths": [1], "num_heads": [2]},
}


def _load(state: dict[str, Tensor]) -> SwinIR:
    """As the loader does: rename, recognise, infer, and load strictly."""
    renamed = DETECTOR.rename(state)
    assert DETECTOR.matches(renamed)
    network = SwinIR(**DETECTOR.config(renamed))
    network.load_state_dict(dict(renamed))
    return network


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_config_is_read_off_the_state_dict(variant: str) -> None:
    network = SwinIR(**{**SMALL, **VARIANTS[variant]})
    assert _load(network.state_dict()).config == network.config


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_a_reference_file_loads() -> None:
    config = {**SwinIR(**SMALL).config, "upscale": 2}
    assert _load(Reference(**config).state_dict()).config == config


@pytest.mark.parametrize("upsampler", ["pixelshuffle", ""])
def test_buffers_may_be_missing_or_stale(upsampler: str) -> None:
    network = SwinIR(**{**SMALL, "upsampler": upsampler, "upscale": 4 if upsampler else 1})
    state = network.state_dict()
    parameters = dict(network.named_parameters())
    without_masks = {name: value for name, value in state.items() if not name.endswith("attn_mask")}
    first = "layers.0.residual_group.blocks.1.attn_mask"
    stale = {**state, first: torch.zeros(25, 64, 64), first.replace("blocks.1", "blocks.0"): state[first]}
    image = torch.rand(1, 3, 9, 17)
    with torch.no_grad():
        expected = network.eval()(image)
        for changed in (parameters, without_masks, stale):
            loaded = _load(changed)
            assert {**loaded.config, "img_size": 24} == network.config
            torch.testing.assert_close(loaded.eval()(image), expected)


def test_half_precision_files_load() -> None:
    network = SwinIR(**SMALL)
    assert _load(network.half().state_dict()).config == network.config


def test_other_families_are_left_alone() -> None:
    hat = HAT(img_size=16, window_size=8, embed_dim=12, depths=[2], num_heads=[2], squeeze_factor=2).state_dict()
    burst = {**SwinIR(**SMALL).state_dict(), "spynet.mean": torch.zeros(1), "fusion.weight": torch.zeros(1)}
    for foreign in (hat, burst, {"weight": torch.zeros(2)}, {}):
        renamed = DETECTOR.rename(foreign)
        assert renamed is foreign
        assert not DETECTOR.matches(renamed)
