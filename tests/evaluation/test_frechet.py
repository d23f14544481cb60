"""FID and KID on sets of images: sizes, small sets, seeds, and where the weights come from."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dp_ir.datasets.pairs import ImageFiles
from dp_ir.errors import CheckpointError, DataError, ImageReadError
from dp_ir.evaluation.metrics.frechet import (
    FID,
    INCEPTION_FILE,
    KID,
    Features,
    SmallSetWarning,
    load_inception,
)

pytestmark = pytest.mark.filterwarnings("ignore::dp_ir.evaluation.metrics.frechet.SmallSetWarning")


class Colours(nn.Module):
    """Mean, spread and extremes of every channel; counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, image):
        self.calls += 1
        assert image.dtype == torch.uint8
        x = image.flatten(2).float() / 255
        return torch.cat([x.mean(-1), x.std(-1), x.amax(-1), x.amin(-1)], dim=1)


@pytest.fixture
def features():
    return Features(Colours(), 12, "colours")


def scenes(count, seed, brightness=1.0):
    generator = torch.Generator().manual_seed(seed)
    return [brightness * torch.rand(1, 3, 9 + i % 3, 8 + i % 4, generator=generator) for i in range(count)]


@pytest.mark.parametrize("metric", [FID, KID])
def test_sets_of_different_sizes_and_numbers(features, metric):
    same = metric(features)(scenes(40, 0), scenes(30, 1))
    darker = metric(features)(scenes(40, 0, 0.6), scenes(30, 1))
    assert abs(same) < 0.1 * darker


def test_equal_sets(features):
    images = scenes(20, 0)
    assert FID(features)(images, images) == pytest.approx(0, abs=1e-12)
    assert KID(features)(images, images) <= 0  # unbiased: an image is not compared with itself, its twin is
    assert FID(features)(images[::-1], images) == pytest.approx(0, abs=1e-12)


def test_every_image_passes_the_network_once(features):
    targets = scenes(6, 0)
    for output in (scenes(6, 1), scenes(6, 2)):
        FID(features)(output, targets)
        KID(features)(output, targets)
    assert features.network.calls == 18


def test_images_with_equal_bytes_but_other_sides_are_told_apart(features):
    wide, high = torch.arange(24.0).view(1, 3, 2, 4) / 24, torch.arange(24.0).view(1, 3, 4, 2) / 24
    features([wide, high])
    assert features.network.calls == 2


def test_values_are_those_of_eight_bit_images(features):
    images = scenes(5, 0)
    stored = [(image * 255).round() / 255 for image in images]
    torch.testing.assert_close(
        features([image * 3 - 1 for image in images]), features([(i * 3 - 1).clamp(0, 1) for i in images])
    )
    torch.testing.assert_close(features(images), features(stored), rtol=0, atol=0)


def test_few_images_are_warned_of(features):
    with pytest.warns(SmallSetWarning, match="over 5 images"):
        FID(features)(scenes(5, 0), scenes(20, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FID(features)(scenes(12, 0), scenes(12, 1))
        KID(features)(scenes(5, 0), scenes(5, 1))


@pytest.mark.parametrize("metric", [FID, KID])
@pytest.mark.parametrize(("outputs", "targets"), [(0, 0), (1, 5), (5, 1)])
def test_one_image_is_no_distribution(features, metric, outputs, targets):
    with pytest.raises(DataError, match=f"at least two.*{outputs} outputs and {targets} targets"):
        metric(features)(scenes(outputs, 0), scenes(targets, 1))


def test_subsets_are_seeded_and_leave_the_global_generator_alone(features):
    outputs, targets = scenes(30, 0), scenes(30, 1, 0.9)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = KID(features, subsets=5, subset_size=8)(outputs, targets)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(8)
    assert KID(features, subsets=5, subset_size=8)(outputs, targets) == first
    assert KID(features, subsets=5, subset_size=8, seed=1)(outputs, targets) != first


def test_whole_sets_do_not_depend_on_the_seed(features):
    outputs, targets = scenes(10, 0), scenes(10, 1)
    assert KID(features, seed=1)(outputs, targets) == pytest.approx(KID(features)(outputs, targets), rel=1e-9)


def test_shapes_that_do_not_fit(features):
    with pytest.raises(DataError, match=r"\(2, 3, 8, 8\)"):
        features([torch.zeros(2, 3, 8, 8)])
    with pytest.raises(DataError, match=r"must be \(1, 99\).*\(1, 12\)"):
        Features(Colours(), 99)([torch.zeros(1, 3, 8, 8)])


class TestFiles:
    def test_images_of_a_folder(self, tmp_path, features):
        for index in range(4):
            pixels = np.random.default_rng(index).integers(0, 256, (6 + index, 7, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        files = ImageFiles(sorted(tmp_path.iterdir()))
        assert (len(files), len(files[1:])) == (4, 3)
        assert files[3].shape == (1, 3, 9, 7)
        assert FID(features)(files, list(files)) == pytest.approx(0, abs=1e-12)

    def test_a_file_that_is_no_image(self, tmp_path, features):
        (tmp_path / "a.png").write_text("nothing")
        with pytest.raises(ImageReadError, match=r"a\.png"):
            FID(features)(ImageFiles([tmp_path / "a.png"] * 2), scenes(2, 0))


class TestInception:
    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match=INCEPTION_FILE):
            load_inception(tmp_path)

    def test_other_weights_are_refused(self, tmp_path):
        torch.save({"fc.weight": torch.zeros(1008, 2048)}, tmp_path / INCEPTION_FILE)
        with pytest.raises(CheckpointError, match="not the Inception network"):
            load_inception(tmp_path)

    def test_the_network_of_a_file(self, tmp_path, monkeypatch):
        module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
        monkeypatch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        torch.save({"fc.bias": torch.zeros(1008)}, tmp_path / INCEPTION_FILE)
        torch.manual_seed(0)
        inception = load_inception(tmp_path)
        output = inception([torch.rand(1, 3, 20, 30), torch.rand(1, 3, 40, 10)])
        assert output.shape == (2, 2048)
        assert not inception.network.training
        assert "299x299" in FID(inception).protocol
