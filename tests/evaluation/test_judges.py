"""What training is judged by: what the figures are called, with and without the weights of LPIPS."""

import pytest
import torch
import torchvision

from dp_ir.evaluation.judges import judges

OF_SAMPLES = {
    "band1",
    "band2",
    "psnr_mean",
    "spread_error_pixels",
    "spread_error_band1",
    "spread_error_band2",
}


def test_without_weights():
    given = judges(None)
    assert set(given["metrics"]) == {"psnr"}
    assert set(given["sample_metrics"]) == OF_SAMPLES
    assert given["perceptual"] is None


def test_with_the_weights_of_lpips(tmp_path):
    torch.save(torchvision.models.squeezenet1_1(weights=None).features.state_dict(), tmp_path / "squeezenet.pth")
    given = judges(tmp_path / "squeezenet.pth")
    assert set(given["metrics"]) == {"psnr", "lpips", "lpips_half"}
    assert set(given["sample_metrics"]) == OF_SAMPLES
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    # Each is what it is called.
    assert given["metrics"]["psnr"].name == "PSNR"
    assert given["metrics"]["lpips"].scale == "full"
    assert given["metrics"]["lpips_half"].scale == "half"
    assert len(given["perceptual"](image)) == 7


def test_figures_of_samples_are_means_over_images():
    generator = torch.Generator().manual_seed(0)
    truths = [torch.rand(1, 3, 24, 24, generator=generator) for _ in range(2)]
    drawn = [truth + 0.1 * torch.randn(4, 3, 24, 24, generator=generator) for truth in truths]
    for name, judge in judges(None)["sample_metrics"].items():
        both, each = judge(drawn, truths), [judge(drawn[i : i + 1], truths[i : i + 1]) for i in range(2)]
        if not name.startswith("spread_error"):  # of all images together
            assert both == pytest.approx(sum(each) / 2)
    band = judges(None)["sample_metrics"]["band1"]
    assert band(drawn, truths) == pytest.approx(band([samples[:1] for samples in drawn], truths))  # of the first sample
