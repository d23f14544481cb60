from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from tiny_runs import run_tiny


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small images of smooth shapes with edges, enough for both splits."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        rng = np.random.default_rng(number)
        y, x = np.mgrid[0:72, 0:88] / 24
        waves = [np.sin(rng.uniform(0.5, 3) * x + rng.uniform(0.5, 3) * y + rng.uniform(0, 6)) for _ in range(3)]
        image = 0.5 + 0.25 * np.stack(waves, -1) + 0.2 * (np.hypot(x - 2, y - 1.5) < rng.uniform(0.3, 1))[..., None]
        Image.fromarray((image.clip(0, 1) * 255).astype(np.uint8)).save(folder / f"photo_{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of LPIPS' backbone, with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet1_1_features.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), path)
    return path


@pytest.fixture
def settings(photos: Path, tmp_path: Path) -> list[str]:
    """Overrides that make any shipped recipe a matter of seconds."""
    return [
        f"data.clean={photos}",
        f"data.cache={tmp_path / 'cache'}",
        "data.validation_fraction=0.3",
        "data.validation_crop=32",
        "data.validation_images=2",
        "optim.batch=4",
        "optim.warm_up=2",
        "log.every=2",
        "log.validate=100",
        "log.checkpoint=3",
        "precision=float32",
    ]


@pytest.fixture
def partners(settings: list[str], tmp_path: Path) -> list[str]:
    restorer = run_tiny("restorer-sr4", settings, tmp_path / "restorer", "optim.steps=2")
    denoiser = run_tiny("denoiser", settings, tmp_path / "denoiser", "optim.steps=2")
    # Nothing can be told by probing networks that were hardly trained.
    probe = [f"partners.{kind}_info.probe=false" for kind in ("restorer", "denoiser")]
    return [f"partners.restorer={restorer}", f"partners.denoiser={denoiser}", *probe]
