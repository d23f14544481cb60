"""A restoration of tiny untrained networks, for tests that only need one that runs."""

from pathlib import Path

import torch

from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.networks.unet_denoiser import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration


def tiny_denoiser(**changes) -> UNetDenoiser:
    return UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8, **changes)


def tiny_fusion(**changes) -> FastFusion:
    return FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, **changes)


def tiny_restoration(**changes) -> Restoration:
    """It enlarges four times, with the same weights each time; `changes` are arguments of `Restoration.from_parts`."""
    torch.manual_seed(0)
    networks = {"restorer": FastSR(channels=8, blocks=1), "denoiser": tiny_denoiser(), "fusion": tiny_fusion()}
    return Restoration.from_parts(**{**networks, "device": "cpu", **changes})


def tiny_bundle(folder: Path, **changes) -> Path:
    """The same on disk."""
    tiny_restoration(**changes).save_pretrained(folder)
    return folder
