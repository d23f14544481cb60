"""The wiring of LPIPS against the original authors' package, with the same random backbone in both."""

import urllib.error
import warnings

import lpips as original
import pytest
import torch
import torchvision

from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import CheckpointError, DataError, MissingExtraError
from dp_ir.evaluation import extras
from dp_ir.evaluation.lpips import LPIPS, load_lpips


@pytest.fixture(scope="module")
def convolutions():
    torch.manual_seed(0)
    return torchvision.models.squeezenet1_1(weights=None).features.state_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, convolutions):
    path = tmp_path_factory.mktemp("weights")
    torch.save(convolutions, path / "squeezenet1_1_features.pth")
    return path


@pytest.fixture(scope="module")
def network(folder):
    return load_lpips(folder)


@pytest.fixture(scope="module")
def reference(convolutions):
    """The package of LPIPS' own authors, its backbone filled layer by layer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision by an older convention
        module = original.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    slices = [getattr(module.net, f"slice{index}") for index in range(1, 8)]
    layers = {name: layer for part in slices for name, layer in part.named_children()}
    for key, value in convolutions.items():
        name, _, rest = key.partition(".")
        dict(layers[name].named_parameters())[rest].data.copy_(value)
    return module


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(3)
    target = imresize(torch.rand(3, 3, 12, 14, generator=generator), 5).clamp(0, 1)
    return (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def test_full_scale_equals_the_original(network, reference, images):
    output, target = images
    with torch.no_grad():
        expected = reference(output, target, normalize=True).flatten()
    assert expected.min() > 1e-3  # a comparison of zeros would show nothing
    torch.testing.assert_close(LPIPS(network)(output, target), expected.double(), rtol=1e-4, atol=1e-7)


def test_half_scale_reduces_both_images(network, reference, images):
    output, target = images
    with torch.no_grad():
        expected = reference(
            imresize(output, 0.5).clamp(0, 1), imresize(target, 0.5).clamp(0, 1), normalize=True
        ).flatten()
    measured = LPIPS(network, "half")(output, target)
    torch.testing.assert_close(measured, expected.double(), rtol=1e-4, atol=1e-7)
    assert not torch.allclose(measured, LPIPS(network)(output, target), rtol=1e-2)


@pytest.mark.parametrize("scale", ["full", "half"])
def test_zero_for_equal_images(network, images, scale):
    assert LPIPS(network, scale)(images[1], images[1]).tolist() == [0.0, 0.0, 0.0]


def test_batches_do_not_change_the_values(network, images, monkeypatch):
    output, target = images
    together = LPIPS(network)(output, target)
    monkeypatch.setattr("dp_ir.evaluation.lpips._BATCH_PIXELS", 1)
    torch.testing.assert_close(LPIPS(network)(output, target), together, rtol=1e-5, atol=1e-8)


def test_values_outside_the_range_are_clipped(network, images):
    output, target = images
    beyond = torch.where(output > 0.9, output + 1.0, output)
    metric = LPIPS(network)
    torch.testing.assert_close(metric(beyond, target), metric(torch.where(output > 0.9, 1.0, output), target))


def test_torchvisions_own_file_is_read(tmp_path, convolutions, network, images):
    state = {f"features.{key}": value for key, value in convolutions.items()}
    state["classifier.1.weight"] = torch.zeros(1000, 512, 1, 1)
    torch.save(state, tmp_path / "squeezenet1_1-b8a52dc0.pth")
    torch.testing.assert_close(LPIPS(load_lpips(tmp_path))(*images), LPIPS(network)(*images))


def test_neither_on_disk_nor_to_be_downloaded(monkeypatch, tmp_path):
    def no_internet(*args, **kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_internet)
    with pytest.raises(DataError, match=r"internet.*--weights"):
        load_lpips()


def test_missing_file_and_folder_without_backbone(tmp_path):
    with pytest.raises(DataError, match="no file"):
        load_lpips(tmp_path / "absent.pth")
    with pytest.raises(DataError, match=r"squeezenet1_1_features\.pth"):
        load_lpips(tmp_path)


def test_other_weights_are_refused(tmp_path, convolutions):
    torch.save({"0.weight": torch.zeros(8, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not SqueezeNet"):
        load_lpips(tmp_path / "other.pth")
    torch.save({**convolutions, "13.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match="51 tensors"):
        load_lpips(tmp_path / "more.pth")


def test_too_small_an_image(network):
    small = torch.zeros(1, 3, 32, 64)
    assert LPIPS(network)(small, small).item() == 0
    with pytest.raises(DataError, match=r"half scale needs at least 17x17.*32x16"):
        LPIPS(network, "half")(small, small)


def test_missing_package_names_the_extra(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"torchvision.*dp-ir\[eval\]"):
        load_lpips()
