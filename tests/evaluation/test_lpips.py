"""LPIPS: where its backbones come from, and what is refused; its values are checked in test_calibration.py."""

import pytest
import torch
import torchvision

from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import CheckpointError, DataError
from dp_ir.evaluation.metrics.lpips import LPIPS, LPIPSFeatures, load_lpips, network_class


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
def images():
    generator = torch.Generator().manual_seed(3)
    target = imresize(torch.rand(3, 3, 12, 14, generator=generator), 5).clamp(0, 1)
    return (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


@pytest.mark.parametrize("scale", ["full", "half"])
def test_zero_for_equal_images(network, images, scale):
    assert LPIPS(network, scale)(images[1], images[1]).tolist() == [0.0, 0.0, 0.0]


def test_batches_do_not_change_the_values(network, images, monkeypatch):
    output, target = images
    together = LPIPS(network)(output, target)
    monkeypatch.setattr("dp_ir.evaluation.metrics.lpips._BATCH_PIXELS", 1)
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


@pytest.mark.parametrize(
    ("backbone", "title", "file"),
    [("alex", "AlexNet", "alexnet-owt-7be5be79.pth"), ("vgg", "VGG16", "vgg16-397923af.pth")],
)
def test_a_missing_backbone_is_named_with_its_file(tmp_path, backbone, title, file):
    with pytest.raises(DataError, match=rf"no {title} backbone.*{file}"):
        load_lpips(tmp_path, backbone)


def test_a_file_of_another_backbone_is_refused(tmp_path, convolutions):
    torch.save(convolutions, tmp_path / "alexnet_features.pth")
    with pytest.raises(CheckpointError, match=r"alexnet_features.* is not AlexNet"):
        load_lpips(tmp_path, "alex")
    with pytest.raises(DataError, match="squeeze, alex, vgg"):
        load_lpips(tmp_path, "resnet")


class Backbone(torch.nn.Module):
    """As much of a network of `load_lpips` as the metric looks at before it runs it."""

    def __init__(self, name):
        super().__init__()
        self.pnet_type, self.net = name, torch.nn.Identity()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, first, second, normalize):
        return torch.zeros(len(first), 1, 1, 1)


@pytest.mark.parametrize(
    ("backbone", "name", "smallest"), [("squeeze", "LPIPS", 17), ("alex", "LPIPS-alex", 31), ("vgg", "LPIPS-vgg", 16)]
)
def test_backbones_have_their_own_names_and_smallest_images(backbone, name, smallest):
    metric, half = LPIPS(Backbone(backbone)), LPIPS(Backbone(backbone), "half")
    assert (metric.name, half.name) == (name, f"{name} 1/2")
    assert metric.protocol.startswith(f"{name}: ")
    assert half.protocol.startswith(f"{name} 1/2: ")
    assert metric(*(torch.zeros(2, 3, smallest, 40),) * 2).shape == (2,)
    with pytest.raises(DataError, match=f"{name} at full scale needs at least {smallest}x{smallest}"):
        metric(*(torch.zeros(2, 3, smallest - 1, 40),) * 2)
    # The limit is that of the network itself.
    features = {"squeeze": "squeezenet1_1", "alex": "alexnet", "vgg": "vgg16"}[backbone]
    with torch.device("meta"):
        layers = getattr(torchvision.models, features)().features
        last = max(index for index, layer in enumerate(layers) if not isinstance(layer, torch.nn.MaxPool2d))
        used = layers[: last + 1]
        used(torch.zeros(1, 3, smallest, smallest))
        with pytest.raises(RuntimeError, match="too small"):
            used(torch.zeros(1, 3, smallest - 1, smallest))


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


def test_features_of_images_that_are_too_small(network):
    features = LPIPSFeatures(network)
    features(torch.zeros(1, 3, 17, 17))
    with pytest.raises(
        DataError, match=r"LPIPS at full scale needs at least 17x17 pixels, but is given 40x16; use larger"
    ):
        features(torch.zeros(1, 3, 16, 40))


def test_the_squared_distance_of_the_features_is_lpips(network, images):
    features = LPIPSFeatures(network)
    maps = zip(*(features(image) for image in images), strict=True)
    distance = sum((one - other).square().sum(1).mean((1, 2)) for one, other in maps)
    expected = LPIPS(network)(*images)
    assert float(expected.min()) > 0
    torch.testing.assert_close(distance.double(), expected, rtol=1e-4, atol=1e-9)


def test_other_weights_have_another_protocol():
    torch.manual_seed(0)
    first, second = (LPIPS(network_class()(net="squeeze", pnet_rand=True)) for _ in range(2))
    assert first.protocol != second.protocol
    assert LPIPS(first.network).protocol == first.protocol
    assert first.name == second.name == "LPIPS"
