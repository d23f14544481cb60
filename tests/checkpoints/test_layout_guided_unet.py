"""Hyper-parameters of the guided-diffusion U-Net from its state dict."""

from __future__ import annotations

import json

import pytest
import torch

from dp_ir.networks.guided_unet.detect import DETECTOR
from dp_ir.networks.guided_unet.model import GuidedDiffusionDenoiser, GuidedUNet

IMPROVED = {"num_heads": 4, "resblock_updown": False}


def _released(config, **schedule):
    """The state dict as it is published, and the denoiser it should make."""
    with torch.device("meta"):
        return GuidedUNet(**config).state_dict(), GuidedDiffusionDenoiser(**config, **schedule)


@pytest.mark.parametrize(
    ("config", "schedule"),
    [
        ({}, {}),  # 256x256_diffusion_uncond
        ({"model_channels": 128, "num_res_blocks": 1, "attention_rates": [16]}, {}),  # FFHQ
        ({"channel_mult": [0.5, 1, 1, 2, 2, 4, 4], "attention_rates": [16, 32, 64]}, {}),  # 512x512
        ({"model_channels": 64, "channel_mult": [1, 3], "num_res_blocks": 3, "attention_rates": [1, 2]}, {}),
        ({"model_channels": 64, "channel_mult": [1, 2, 3], "num_res_blocks": 1, "attention_rates": []}, {}),
        ({"model_channels": 64, "channel_mult": [2], "num_res_blocks": 2, "attention_rates": [1]}, {}),
        ({"model_channels": 64, "channel_mult": [1, 1], "attention_rates": [2], "learn_sigma": False}, {}),
        ({"model_channels": 64, "channel_mult": [1, 1], "attention_rates": [], "use_scale_shift_norm": False}, {}),
        (  # ImageNet-64 of improved-diffusion
            {
                "model_channels": 128,
                "channel_mult": [1, 2, 3, 4],
                "num_res_blocks": 3,
                "attention_rates": [4, 8],
                **IMPROVED,
            },
            {"schedule": "cosine", "steps": 4000},
        ),
        (  # LSUN of improved-diffusion
            {
                "model_channels": 128,
                "attention_rates": [16],
                **IMPROVED,
                "num_heads": 1,
                "use_scale_shift_norm": False,
            },
            {"schedule": "linear", "steps": 1000},
        ),
    ],
)
def test_hyper_parameters_are_found(config, schedule):
    state, expected = _released(config, **schedule)
    renamed = DETECTOR.rename(state)
    assert DETECTOR.matches(renamed)
    found = DETECTOR.config(renamed)
    assert json.loads(json.dumps(found)) == found
    with torch.device("meta"):
        rebuilt = GuidedDiffusionDenoiser(**found)
    assert rebuilt.config == expected.config
    assert {name: value.shape for name, value in rebuilt.state_dict().items()} == {
        name: value.shape for name, value in renamed.items()
    }


def test_a_denoiser_saved_by_this_package_is_known_again():
    _, denoiser = _released({"model_channels": 64, "channel_mult": [1, 2], "attention_rates": [2]})
    state = denoiser.state_dict()
    assert DETECTOR.rename(state) == state
    assert DETECTOR.matches(state)


def test_networks_with_classes_are_refused():
    state = dict(_released({"model_channels": 64, "channel_mult": [1]})[0])
    state["label_emb.weight"] = torch.zeros(1000, 256, device="meta")
    with pytest.raises(ValueError, match="1000 classes"):
        DETECTOR.config(DETECTOR.rename(state))


def test_networks_that_enlarge_are_refused():
    state = dict(_released({"model_channels": 64, "channel_mult": [1]})[0])
    state["input_blocks.0.0.weight"] = torch.zeros(64, 6, 3, 3, device="meta")
    with pytest.raises(ValueError, match="6 channels to 6"):
        DETECTOR.config(DETECTOR.rename(state))


def test_other_families_are_left_alone():
    state = {"time_embed.0.weight": torch.zeros(4, 1), "input_blocks.0.0.weight": torch.zeros(4, 3, 3, 3)}
    assert DETECTOR.rename(state) == state
    assert not DETECTOR.matches(state)
