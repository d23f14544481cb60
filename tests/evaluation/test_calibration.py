"""Every measure against an independent implementation, a closed form, or a published figure."""

import math
import os
import warnings
from pathlib import Path

import lpips as original
import numpy as np
import pytest
import torch
import torchvision
from scipy import linalg, ndimage
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import nn
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.image.fid import FrechetInceptionDistance

from dp_ir.degradation.bicubic import imresize
from dp_ir.evaluation.metrics.frechet import FID, KID, Features, frechet_distance
from dp_ir.evaluation.metrics.lpips import LPIPS, load_lpips
from dp_ir.evaluation.metrics.names import make_metrics
from dp_ir.evaluation.metrics.similarity import MSSSIM, PSNR, SSIM

ROOT = Path(__file__).parents[2]
# The settings of Wang et al. 2004 in scikit-image's words.
WANG = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "K1": 0.01, "K2": 0.03}


def images(size=(60, 70), noise=0.05, seed=3):
    """Three smooth random scenes with noise of growing strength, as (outputs, targets)."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(3, 3, -(-size[0] // 5), -(-size[1] // 5), generator=generator)
    target = imresize(small, 5).clamp(0, 1)[..., : size[0], : size[1]]
    strength = noise * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1)
    return (target + strength * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


def eight_bit(image):
    return np.round(image.permute(1, 2, 0).numpy().astype(np.float64) * 255).astype(np.uint8)


def luma(image):
    return rgb2ycbcr(image)[4:-4, 4:-4, 0]


class TestPixels:
    """As `dp-ir evaluate` measures them: from 8-bit images, without a border as wide as the scale."""

    @pytest.mark.parametrize(
        ("name", "view", "function", "options", "tolerance"),
        [
            ("psnr", lambda x: x[4:-4, 4:-4], peak_signal_noise_ratio, {}, 1e-9),
            ("psnr-y", luma, peak_signal_noise_ratio, {}, 1e-4),
            ("ssim", lambda x: x[4:-4, 4:-4], structural_similarity, {**WANG, "channel_axis": 2}, 1e-6),
            ("ssim-y", luma, structural_similarity, WANG, 1e-5),
        ],
    )
    def test_against_scikit_image(self, name, view, function, options, tolerance):
        output, target = images()
        expected = [
            function(view(eight_bit(t)), view(eight_bit(o)), data_range=255, **options)
            for o, t in zip(output, target, strict=True)
        ]
        [metric], _ = make_metrics([name], border=4)
        np.testing.assert_allclose(metric(output, target).numpy(), expected, atol=tolerance)


def independent_ms_ssim(first, second):
    """MS-SSIM of two arrays (H, W) with scipy's Gaussian filter, from the formulas of Wang et al. 2003."""
    total, exponents = 1.0, (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    for scale, exponent in enumerate(exponents):
        m1, m2, s11, s22, s12 = (
            ndimage.gaussian_filter(x, 1.5, truncate=3.5)[5:-5, 5:-5]
            for x in (first, second, first * first, second * second, first * second)
        )
        term = (2 * (s12 - m1 * m2) + 0.03**2) / (s11 - m1**2 + s22 - m2**2 + 0.03**2)
        if scale == 4:
            term = term * (2 * m1 * m2 + 0.01**2) / (m1**2 + m2**2 + 0.01**2)
        total *= max(term.mean(), 0) ** exponent
        first, second = (
            x[: x.shape[0] // 2 * 2, : x.shape[1] // 2 * 2].reshape(x.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))
            for x in (first, second)
        )
    return total


class TestMSSSIM:
    def test_against_the_formulas(self):
        output, target = images((187, 203), noise=0.2)
        expected = [
            independent_ms_ssim(
                rgb2ycbcr(o.permute(1, 2, 0).double().numpy())[..., 0] / 255,
                rgb2ycbcr(t.permute(1, 2, 0).double().numpy())[..., 0] / 255,
            )
            for o, t in zip(output, target, strict=True)
        ]
        assert max(expected) < 0.995  # the images differ
        np.testing.assert_allclose(MSSSIM(channels="y")(output, target).numpy(), expected, atol=1e-6)

    def test_against_torchmetrics_where_it_leaves_mirrored_borders_out(self):
        output, target = (image[2:].double() for image in images((180, 187), noise=0.2))
        # Its coarsest scale counts windows over mirrored borders: that one is taken from scikit-image instead.
        finer = multiscale_structural_similarity_index_measure(
            output, target, reduction="none", data_range=1.0, betas=(0.0448, 0.2856, 0.3001, 0.2363, 0.0)
        )
        coarsest = [
            structural_similarity(
                *(nn.functional.avg_pool2d(x, 16).permute(1, 2, 0).numpy() for x in pair),
                data_range=1.0,
                channel_axis=2,
                **WANG,
            )
            for pair in zip(output, target, strict=True)
        ]
        expected = finer.numpy() * np.array(coarsest) ** 0.1333
        np.testing.assert_allclose(MSSSIM()(output, target).numpy(), expected, atol=1e-6)

    def test_closed_value_of_constant_images(self):
        first, second = torch.full((1, 3, 176, 180), 0.5), torch.full((1, 3, 176, 180), 0.7)
        expected = ((2 * 0.35 + 1e-4) / (0.25 + 0.49 + 1e-4)) ** 0.1333  # only the luminance of the coarsest scale
        assert MSSSIM()(first, second).item() == pytest.approx(expected, abs=1e-6)
        assert MSSSIM()(first, first).item() == pytest.approx(1.0)

    def test_a_negative_image_counts_as_nothing(self):
        target = images((176, 176))[1]
        assert MSSSIM()(1 - target, target).tolist() == [0.0, 0.0, 0.0]


@pytest.fixture
def fast_initialisation(monkeypatch):
    """Large networks whose weights are filled by the test: leave them as the memory was."""
    for name in ("normal_", "kaiming_normal_", "kaiming_uniform_", "uniform_", "constant_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)


def random_convolutions(model):
    with torch.device("meta"):
        shapes = {key: value.shape for key, value in getattr(torchvision.models, model)().features.state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.randn(shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5
        if len(shape) == 4
        else 0.1 * torch.randn(shape, generator=generator)
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("backbone", "model", "slices"), [("squeeze", "squeezenet1_1", 7), ("alex", "alexnet", 5), ("vgg", "vgg16", 5)]
)
def test_lpips_against_its_authors_package(backbone, model, slices, tmp_path, fast_initialisation):
    convolutions = random_convolutions(model)
    torch.save(convolutions, tmp_path / f"{model}_features.pth")
    network = load_lpips(tmp_path, backbone)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision by an older convention
        reference = original.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    parts = [getattr(reference.net, f"slice{index}") for index in range(1, slices + 1)]
    layers = {name: layer for part in parts for name, layer in part.named_children()}
    for key, value in convolutions.items():
        name, _, rest = key.partition(".")
        dict(layers[name].named_parameters())[rest].data.copy_(value)

    output, target = images((66, 71), noise=0.1)
    halved = [imresize(image, 0.5).clamp(0, 1) for image in (output, target)]
    for scale, pair in (("full", (output, target)), ("half", halved)):
        with torch.no_grad():
            expected = reference(*pair, normalize=True).flatten().double()
        assert expected.min() > 1e-4  # a comparison of zeros would show nothing
        torch.testing.assert_close(LPIPS(network, scale)(output, target), expected, rtol=1e-4, atol=1e-7)


class Pixels(nn.Module):
    """The features of an image are its values."""

    def forward(self, image):
        return image.flatten(1).float() / 255


def with_statistics(mean, covariance, count, seed):
    """Samples whose mean and covariance are exactly those."""
    sample = np.random.default_rng(seed).standard_normal((count, len(mean)))
    sample -= sample.mean(axis=0)
    sample = sample @ np.linalg.inv(np.linalg.cholesky(np.cov(sample.T))).T
    return torch.from_numpy(sample @ np.linalg.cholesky(covariance).T + mean)


class TestFID:
    def test_closed_form_in_two_dimensions(self):
        c1, c2 = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[0.5, -0.3], [-0.3, 0.8]])
        m1, m2 = np.array([1.0, 2.0]), np.array([0.0, 2.5])
        # The trace of the root of a 2x2 matrix with positive eigenvalues from its trace and determinant.
        root = math.sqrt(np.trace(c1 @ c2) + 2 * math.sqrt(np.linalg.det(c1) * np.linalg.det(c2)))
        expected = 1.0 + 0.25 + np.trace(c1) + np.trace(c2) - 2 * root
        measured = frechet_distance(with_statistics(m1, c1, 50, 0), with_statistics(m2, c2, 31, 1))
        assert measured == pytest.approx(expected, rel=1e-9)

    @pytest.mark.parametrize(("first", "second", "dimension"), [(60, 80, 8), (12, 20, 40)])
    def test_against_scipy_and_torchmetrics(self, first, second, dimension):
        generator = torch.Generator().manual_seed(5)
        mixing = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
        outputs = torch.randn(first, dimension, generator=generator, dtype=torch.float64) @ mixing + 0.2
        targets = torch.randn(second, dimension, generator=generator, dtype=torch.float64)
        measured = frechet_distance(outputs, targets)

        identity = nn.Identity()
        identity.num_features = dimension
        metric = FrechetInceptionDistance(feature=identity)
        metric.update(targets, real=True)
        metric.update(outputs, real=False)
        assert measured == pytest.approx(metric.compute().item(), rel=1e-4)
        if first > dimension:  # the root of a singular matrix is beyond scipy
            c1, c2 = np.cov(outputs.numpy().T), np.cov(targets.numpy().T)
            expected = (outputs.mean(0) - targets.mean(0)).square().sum() + np.trace(
                c1 + c2 - 2 * linalg.sqrtm(c1 @ c2).real
            )
            assert measured == pytest.approx(expected.item(), rel=1e-8)

    def test_of_images_drawn_from_known_gaussians(self):
        generator = torch.Generator().manual_seed(0)
        spread, other = torch.tensor([0.10, 0.05, 0.08]), torch.tensor([0.04, 0.06, 0.12])
        outputs = 0.45 + spread * torch.randn(3000, 3, generator=generator)
        targets = 0.55 + other * torch.randn(3000, 3, generator=generator)
        expected = 3 * 0.1**2 + (spread - other).square().sum().item()
        sets = ([image.view(1, 3, 1, 1) for image in images] for images in (outputs, targets))
        assert FID(Features(Pixels(), 3, "pixels"))(*sets) == pytest.approx(expected, rel=0.05)


def test_kid_against_a_double_sum():
    generator = torch.Generator().manual_seed(1)
    outputs = [torch.rand(1, 3, 2, 2, generator=generator) for _ in range(9)]
    targets = [torch.rand(1, 3, 2, 2, generator=generator) ** 2 for _ in range(9)]
    x, y = (np.stack([eight_bit(image[0]).ravel() / 255.0 for image in side]) for side in (outputs, targets))
    count, dimension = x.shape

    def kernel(a, b):
        return (a @ b / dimension + 1) ** 3

    pairs = [(i, j) for i in range(count) for j in range(count)]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in pairs if i != j) / (count * (count - 1))
    across = sum(kernel(x[i], y[j]) for i, j in pairs) / count**2
    measured = KID(Features(Pixels(), dimension, "pixels"))(outputs, targets)
    assert measured == pytest.approx(1000 * (within - 2 * across), rel=1e-5)


DATA = Path(os.environ.get("DP_IR_DATA") or ROOT.parent / "shared")


@pytest.mark.parametrize(
    ("function", "folder", "needs"),
    [("lpips_checks", "weights", "lpips_samples"), ("bicubic_checks", "data/test", "Set14")],
)
def test_published_figures(function, folder, needs, benchmark):
    """The checks of benchmarks/calibrate.py."""
    if not (DATA / folder / needs).is_dir():
        pytest.skip(f"needs data that are not in the repository: {folder}/{needs} in the folder that DP_IR_DATA names")
    checks = getattr(benchmark("calibrate"), function)(DATA / folder)
    assert len(checks) >= 2
    assert not [check for check in checks if not check.agrees]


def test_every_protocol_names_what_was_measured():
    for metric in (PSNR(), SSIM(), MSSSIM(), MSSSIM(channels="y"), FID(Features(Pixels())), KID(Features(Pixels()))):
        assert metric.protocol.startswith(metric.name)
