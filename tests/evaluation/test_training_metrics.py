"""What training is judged by: what the figures are called, with and without the weights of LPIPS."""

import pytest
import torch
import torchvision

from dp_ir.evaluation.metrics.spread import SpreadError
from dp_ir.evaluation.metrics.training_metrics import sample_figures, training_metrics

OF_SAMPLES = {
    "band1",
    "band2",
    "colour_band1",
    "colour_band2",
    "psnr_mean",
    "spread_error_pixels",
    "spread_error_band1",
    "spread_error_band2",
}


def test_without_weights():
    given = training_metrics(None)
    assert set(given["metrics"]) == {"psnr"}
    assert given["sample_metrics"] is sample_figures
    assert given["perceptual"] is None


def test_with_the_weights_of_lpips(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), tmp_path / "squeezenet.pth")
    given = training_metrics(tmp_path / "squeezenet.pth")
    assert set(given["metrics"]) == {"psnr", "lpips", "lpips_half"}
    assert given["sample_metrics"] is sample_figures
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    # Each is what it is called.
    assert given["metrics"]["psnr"].name == "PSNR"
    assert given["metrics"]["lpips"].scale == "full"
    assert given["metrics"]["lpips_half"].scale == "half"
    assert len(given["perceptual"](image)) == 7


def test_figures_of_samples():
    generator = torch.Generator().manual_seed(0)
    truths = [torch.rand(1, 3, 24, 24, generator=generator) for _ in range(2)]
    drawn = [truth + 0.1 * torch.randn(4, 3, 24, 24, generator=generator) for truth in truths]
    figures = sample_figures(drawn, truths)
    assert set(figures) == OF_SAMPLES
    each = [sample_figures(drawn[i : i + 1], truths[i : i + 1]) for i in range(2)]
    for name in ("band1", "band2", "colour_band1", "colour_band2", "psnr_mean"):  # means over images
        assert figures[name] == pytest.approx(sum(alone[name] for alone in each) / 2)
    clipped = [samples.clamp(0, 1) for samples in drawn]
    for part in ("pixels", "band 1", "band 2"):  # of all images together, as files have them
        expected = SpreadError(part)(clipped, truths)
        assert figures[f"spread_error_{part.replace(' ', '')}"] == pytest.approx(expected)
    assert figures["band1"] == sample_figures([torch.cat((s[:1], s[2:3])) for s in drawn], truths)["band1"]  # the first
