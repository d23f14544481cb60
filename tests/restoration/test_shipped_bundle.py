"""The weights that ship, on the photo that ships: not how good they are, but that they do their work."""

import warnings
from pathlib import Path

import pytest
import torch

from dp_ir.checkpoints.bundle import read_config, shipped_bundles, zoo_folder
from dp_ir.degradation import imresize
from dp_ir.degradation.motion_blur import Motion, average
from dp_ir.degradation.synthetic_burst import synthetic_burst
from dp_ir.image import read_image, to_tensor
from dp_ir.image.demosaicking import demosaick_bilinear
from dp_ir.restoration.pipeline import Restoration

DEMO = Path(__file__).parents[2] / "docs" / "demo"


def test_shipped_bundle_restores_the_demonstration_photo() -> None:
    observation = to_tensor(read_image(DEMO / "input.png"))[..., 16:64, 40:88]
    original = to_tensor(read_image(DEMO / "original.png"))[..., 64:256, 160:352]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that the fusion does not know its partners
        restore = Restoration.from_pretrained("sr4", device="cpu")
    result = restore(observation, seed=0)
    assert result.nfe == {"restorer": 1, "denoiser": 8, "fusion": 8}

    def error(image: torch.Tensor) -> float:
        return (image - original).square().mean().item()

    def detail(image: torch.Tensor) -> float:
        """Energy of the finest octave, which the restorer cannot know and the sample must invent."""
        return (image - imresize(imresize(image, 0.5), 2)).square().mean().item()

    assert error(result.restored) < 0.95 * error(imresize(observation, 4))
    assert error(result.image) < 2 * error(result.restored)  # a sample of the posterior pays twice at most
    assert detail(result.restored) < 0.7 * detail(original)
    assert abs(detail(result.image) - detail(original)) < 0.7 * abs(detail(result.restored) - detail(original))


def _restoration(name: str) -> Restoration:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Restoration.from_pretrained(name, device="cpu")


def _original() -> torch.Tensor:
    return to_tensor(read_image(DEMO / "original.png"))[..., 64:256, 160:352]


def test_shipped_bundle_removes_a_known_blur() -> None:
    original = _original()
    # Six pixels to the right during the exposure, through the camera's response.
    path = torch.stack((torch.linspace(-3, 3, 7), torch.zeros(7)), dim=1)
    blurred = average(original**2.2, Motion(path, torch.zeros(7), torch.zeros(7))) ** (1 / 2.2)
    result = _restoration("deblur")(blurred, seed=0)
    assert result.nfe == {"restorer": 1, "denoiser": 8, "fusion": 8}
    errors = [(image - original).square().mean().item() for image in (blurred, result.restored, result.image)]
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] < 1.1 * errors[0]  # a sample of the posterior pays for its detail


@pytest.mark.parametrize("frames", [2, 14, 20])
def test_shipped_bundle_makes_a_photo_of_a_burst(frames: int) -> None:
    original = _original()
    burst = synthetic_burst(original, generator=torch.Generator().manual_seed(5), frames=frames)
    restore = _restoration("burst")
    result = restore(burst, seed=0, steps=2)
    first = burst.camera.render(imresize(demosaick_bilinear(burst.frames[:1]), 4, offset=3 / 8))
    restored = to_tensor(result.restored)
    assert restored.shape == original.shape
    assert (restored - original).square().mean() < 0.5 * (first - original).square().mean()


def test_all_bundles_share_one_denoiser() -> None:
    entries = [read_config(zoo_folder() / name).networks["denoiser"] for name in shipped_bundles()]
    assert len(entries) >= 4
    assert {entry.file for entry in entries} == {"../denoiser/denoiser.safetensors"}
    assert len({entry.sha256 for entry in entries}) == 1
