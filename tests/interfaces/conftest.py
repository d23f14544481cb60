"""A tiny bundle with random weights, photos, and the command line run in this process."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dp_ir.interfaces.cli import app
from dp_ir.networks.fast_sr import FastSR
from dp_ir.networks.fusion_fast import FastFusion
from dp_ir.networks.unet_denoiser import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration


def random_weights(network: torch.nn.Module) -> torch.nn.Module:
    """Weights that are nowhere 0, so that every input of the network matters."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


def tiny_restoration(**settings) -> Restoration:
    """Restores four times larger in three steps; the denoiser knows noise levels from 0.01 to 0.5."""
    return Restoration.from_parts(
        restorer=random_weights(FastSR(channels=8, blocks=1)),
        denoiser=random_weights(UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8, sigma_range=(0.01, 0.5))),
        fusion=random_weights(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8)),
        **{"tau": 300, "steps": 3, "sigma_min": 0.05, "task": "sr4", "licence": "Apache-2.0", **settings},
        device="cpu",
    )


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    tiny_restoration().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def photo_pixels():
    """(12, 16, 3) uint8: smooth colours, as a photo has."""
    y, x = np.mgrid[0:12, 0:16]
    return np.stack([16 * x, 20 * y, 8 * (x + y)], axis=-1).astype(np.uint8)


@pytest.fixture
def photos(tmp_path, photo_pixels):
    """A folder `in` with a.jpg and b.png."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(photo_pixels).save(folder / "a.jpg", quality=95)
    Image.fromarray(photo_pixels[:, ::-1].copy()).save(folder / "b.png")
    return folder


@pytest.fixture
def dp_ir():
    """The command line: dp_ir("restore", ...) gives exit_code, stdout and stderr."""

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


def listing(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
