"""The weights that ship, on the photo that ships: not how good they are, but that they do their work."""

import io
import warnings
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.bundle import list_bundles, read_config, zoo_folder
from dp_ir.degradation import imresize
from dp_ir.degradation.motion_blur import Motion, average
from dp_ir.degradation.synthetic_burst import synthetic_burst
from dp_ir.evaluation.metrics.similarity import PSNR
from dp_ir.image import from_pil, read_image, to_tensor
from dp_ir.image.picture.bands import laplacian_bands
from dp_ir.image.raw.demosaicking import demosaick_bilinear
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task

DEMO = Path(__file__).parents[2] / "docs" / "demo"


@pytest.mark.parametrize("task", ["sr4", "photo"])
def test_shipped_bundles_restore_the_demonstration_photo(task: str) -> None:
    original = _original()
    if task == "sr4":
        observation = imresize(original, 0.25)
    else:  # a JPEG file
        observation = to_tensor(read_image(DEMO / "input.jpg"))[..., 16:64, 40:88]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as that the fusion does not know its partners
        restore = Restoration.from_pretrained(task, device="cpu")
    result = restore(observation, seed=0)
    assert result.nfe == {"restorer": 1, "denoiser": 1, "fusion": 1}

    def error(image: torch.Tensor) -> float:
        return (image - original).square().mean().item()

    def detail(image: torch.Tensor) -> float:
        """Energy of the finest octave, which the restorer cannot know and the sample must invent."""
        return (image - imresize(imresize(image, 0.5), 2)).square().mean().item()

    if task == "sr4":  # of fur there is no better mean than the enlargement, once it was compressed
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
    assert result.nfe == {"restorer": 1, "denoiser": 1, "fusion": 1}
    errors = [(image - original).square().mean().item() for image in (blurred, result.restored, result.image)]
    assert errors[1] < 0.95 * errors[0]
    assert errors[2] < 1.1 * errors[0]  # a sample of the posterior pays for its detail


@pytest.mark.parametrize("quality", [30, 50])
def test_shipped_bundle_cleans_a_jpeg(quality: int) -> None:
    original, file = Image.open(DEMO / "original.png").crop((160, 64, 352, 256)), io.BytesIO()
    original.save(file, "JPEG", quality=quality)
    truth, compressed = (to_tensor(from_pil(image)) for image in (original, Image.open(file)))
    result = _restoration("clean")(compressed, seed=0)
    assert result.nfe == {"restorer": 1, "denoiser": 1, "fusion": 1}
    errors = [(image - truth).square().mean().item() for image in (compressed, result.restored)]
    assert errors[1] < 0.95 * errors[0]


def test_shipped_bundle_leaves_alone_what_needs_nothing() -> None:
    original = _original()
    result = _restoration("clean")(original, seed=0)
    assert PSNR()(result.restored, original).item() > 38
    assert PSNR()(result.image, original).item() > 36


@pytest.mark.parametrize("frames", [2, 14, 20])
def test_shipped_bundle_makes_a_photo_of_a_burst(frames: int) -> None:
    original = _original()
    burst = synthetic_burst(original, generator=torch.Generator().manual_seed(5), frames=frames)
    restore = _restoration("burst")
    result = restore(burst, seed=0)
    first = burst.camera.render(imresize(demosaick_bilinear(burst.frames[:1]), 4, offset=3 / 8))
    restored = to_tensor(result.restored)
    assert restored.shape == original.shape
    assert (restored - original).square().mean() < 0.5 * (first - original).square().mean()


def test_all_bundles_share_one_denoiser() -> None:
    entries = [read_config(zoo_folder() / name).networks["denoiser"] for name in list_bundles()]
    assert len(entries) >= 6
    assert {entry.file for entry in entries} == {"../denoiser/denoiser.safetensors"}
    assert len({entry.sha256 for entry in entries}) == 1


@pytest.fixture(scope="module")
def pieces() -> list[torch.Tensor]:
    """Eight squares of the photo."""
    photo = to_tensor(read_image(DEMO / "original.png"))
    places = [(top, left) for top in range(0, 512, 128) for left in range(0, 512, 128)][::2]
    return [photo[..., top : top + 128, left : left + 128] for top, left in places]


@pytest.mark.parametrize("task", ["sr4", "photo", "clean", "deblur"])
def test_along_the_dial_error_and_fine_detail_rise_on_every_image(task: str, pieces: list[torch.Tensor]) -> None:
    restore = Restoration.from_pretrained(task, device="cpu", precision="float32")
    for number, clean in enumerate(pieces):
        observation = get_task(task).degrade(clean, generator=torch.Generator().manual_seed(number))
        assert isinstance(observation, torch.Tensor)
        results = [restore(observation, seed=number, detail=detail).image for detail in (0.0, 0.2, 0.4, 0.7, 1.0)]
        errors = [float((result - clean).square().mean()) for result in results]
        energies = [float(laplacian_bands(result, 1)[0].square().mean()) for result in results]
        assert all(one < other for one, other in pairwise(errors)), number
        assert all(one < other for one, other in pairwise(energies)), number


def test_the_mean_of_samples_is_nearer_to_the_truth_than_a_sample(pieces: list[torch.Tensor]) -> None:
    restore = Restoration.from_pretrained("sr4", device="cpu")
    for number, clean in enumerate(pieces[:4]):
        result = restore(get_task("sr4").degrade(clean), seed=number, detail=1, num_samples=6)
        of_mean, of_one = ((image - clean).square().mean() for image in (result.mean, result.image))
        assert of_mean < of_one


def test_the_bundle_for_estimates_serves_any_chain() -> None:
    observation = imresize(_original(), 0.25)[..., :32, :32]
    restore = Restoration.from_pretrained("sr4-estimate", device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # which a fusion of one chain would give
        for settings in ({}, {"tau": 200, "steps": 2}, {"sampler": "ddpm", "steps": 3}):
            restore(observation, **settings)
