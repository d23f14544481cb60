"""A tiny bundle with random weights, photos, and the command line run in this process."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dp_ir.batch.manifest import MANIFEST
from dp_ir.interfaces.cli import app
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.ffdnet.model import FFDNet
from dp_ir.networks.rlfn.model import RLFN
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
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


def enlarging_rlfn() -> RLFN:
    """Enlarges four times by repeating pixels, which it does in any range of values."""
    network = RLFN(channels=4, attention_channels=2, blocks=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for colour in range(3):
            network.conv_1.weight[colour, colour, 1, 1] = 1
            network.upsampler[0].weight[16 * colour : 16 * colour + 16, colour, 1, 1] = 1
        for channel in range(4):
            network.block_1.c5.weight[channel, channel] = 1
        network.block_1.esa.conv4.bias.fill_(50)  # the attention lets all through
    return network.eval()


def averaging_ffdnet() -> FFDNet:
    """Replaces each square of 2x2 pixels by its mean, which leaves half of the noise."""
    network = FFDNet(nc=12, nb=2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for colour in range(3):
            squares = slice(4 * colour, 4 * colour + 4)
            network.model[0].weight[squares, squares, 1, 1] = torch.eye(4)
            network.model[2].weight[squares, squares, 1, 1] = 0.25
    return network.eval()


@pytest.fixture
def rlfn_file(tmp_path):
    """As it would be published: wrapped, of another precision, and saved by data-parallel training."""
    state = {f"module.{name}": value.half() for name, value in enlarging_rlfn().state_dict().items()}
    torch.save({"params": state, "epoch": 7}, tmp_path / "rlfn_x4.pth")
    return tmp_path / "rlfn_x4.pth"


@pytest.fixture
def ffdnet_file(tmp_path):
    torch.save(averaging_ffdnet().state_dict(), tmp_path / "ffdnet_color.pth")
    return tmp_path / "ffdnet_color.pth"


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
    """Every file below a folder, hidden ones too, but for the manifest."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return sorted(path.relative_to(folder).as_posix() for path in files)
