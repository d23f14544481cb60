"""The weights that ship, on the photo that ships: not how good they are, but that they do their work."""

import warnings
from pathlib import Path

import torch

from dp_ir.degradation import imresize
from dp_ir.image import read_image, to_tensor
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
