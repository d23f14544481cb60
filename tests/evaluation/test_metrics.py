"""PSNR, SSIM and luma on closed values; test_calibration.py compares them with scikit-image."""

import math

import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import round_to_8_bit
from dp_ir.evaluation.metrics.similarity import PSNR, SSIM, LinearPSNR, rgb_to_y
from dp_ir.image.camera import Camera


def pair(seed: int = 0, size: tuple[int, int] = (37, 45), batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(batch, 3, *size, generator=generator)
    strength = torch.linspace(0.02, 0.2, batch).view(-1, 1, 1, 1)
    return target + strength * torch.randn(target.shape, generator=generator), target


def as_numpy(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


class TestLuma:
    @pytest.mark.parametrize(
        ("colour", "y"),
        [((0, 0, 0), 16), ((1, 1, 1), 235), ((1, 0, 0), 81.481), ((0, 1, 0), 144.553), ((0, 0, 1), 40.966)],
    )
    def test_closed_values(self, colour, y):
        image = torch.tensor(colour, dtype=torch.float64).view(1, 3, 1, 1)
        assert rgb_to_y(image).item() * 255 == pytest.approx(y, abs=1e-9)

    def test_against_scikit_image(self):
        image = pair()[1]
        expected = np.stack([rgb2ycbcr(as_numpy(one))[..., 0] for one in image])
        np.testing.assert_allclose(rgb_to_y(image.double())[:, 0].numpy() * 255, expected, atol=1e-3)


class TestPSNR:
    def test_constant_error_has_a_closed_value(self):
        target = torch.full((1, 3, 16, 16), 0.5)
        assert PSNR()(target + 0.1, target).item() == pytest.approx(20.0, abs=1e-5)
        # Y compresses the range by 219/255, so the same error is smaller on Y.
        gain = -20 * math.log10(219 / 255)
        assert PSNR(channels="y")(target + 0.1, target).item() == pytest.approx(20.0 + gain, abs=1e-5)

    def test_an_identical_image_leaves_the_mean_of_a_set_a_number(self):
        target = torch.full((2, 3, 16, 16), 0.5)
        output = target.clone()
        output[1] += 0.1
        values = PSNR()(output, target)
        assert values.mean().item() == pytest.approx((100 + 20) / 2, abs=1e-5)
        linear = LinearPSNR().through(Camera(torch.ones(3), torch.eye(3)))
        assert linear(target[:1], target[:1]).item() == 100
        nearly = target[:1].double() + 1e-5  # 100 dB by the formula
        assert PSNR()(nearly, target[:1].double()).item() == pytest.approx(100, abs=1e-6)

    def test_border_hides_what_lies_in_it_and_nothing_else(self):
        target = torch.zeros(1, 3, 20, 20)
        output = target.clone()
        output[..., :4, :] = output[..., -4:, :] = output[..., :, :4] = output[..., :, -4:] = 1.0
        assert PSNR(border=4)(output, target).item() == 100
        assert PSNR(border=3)(output, target).item() < 20

    def test_rounding_clips_and_float_does_not(self):
        target = torch.ones(1, 3, 8, 8)
        assert PSNR(rounding=True)(target + 0.5, target).item() == 100
        assert PSNR()(target + 0.5, target).item() == pytest.approx(-20 * math.log10(0.5), abs=1e-5)
        assert round_to_8_bit(torch.tensor(0.5019)).item() == pytest.approx(128 / 255)

    def test_protocol_tells_settings_apart(self):
        settings = [PSNR(), PSNR(channels="y"), PSNR(border=4), PSNR(rounding=True)]
        assert len({metric.protocol for metric in settings}) == len(settings)

    @pytest.mark.parametrize("shape", [(1, 3, 8, 9), (1, 1, 8, 8), (3, 8, 8)])
    def test_shapes_that_do_not_fit_are_named(self, shape):
        with pytest.raises(DataError, match=r"\(1, 3, 8, 8\)"):
            PSNR()(torch.zeros(1, 3, 8, 8), torch.zeros(shape))

    def test_border_that_leaves_nothing(self):
        with pytest.raises(DataError, match="border of 4"):
            PSNR(border=4)(torch.zeros(1, 3, 8, 40), torch.zeros(1, 3, 8, 40))


class TestSSIM:
    def test_single_image_keeps_its_batch_axis_and_equal_images_give_one(self):
        image = pair(batch=1)[1]
        measured = SSIM()(image, image)
        assert measured.shape == (1,)
        assert measured.item() == pytest.approx(1.0)

    def test_too_small(self):
        with pytest.raises(DataError, match="11x11"):
            SSIM(border=4)(torch.zeros(1, 3, 18, 40), torch.zeros(1, 3, 18, 40))
