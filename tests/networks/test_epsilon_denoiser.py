"""A noise predictor as a denoiser, with a predictor that is known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import SigmaRangeError
from dp_ir.networks.epsilon_denoiser import EpsilonDenoiser, cosine_alphas_cumprod, linear_alphas_cumprod

MEAN, STD = 0.2, 0.35


class GaussianPredictor(nn.Module):
    """E[eps | x_t] for pixels of N(MEAN, STD^2), at any real step of a schedule; three more channels as a variance."""

    def __init__(self, abar, step_scale=1.0):
        super().__init__()
        self.log_sigma = ((1 - abar) / abar).log() / 2
        self.step_scale = step_scale
        self.steps = []

    def forward(self, x_t, t):
        self.steps.append(t)
        t = t.double() / self.step_scale
        below = t.floor().long().clamp(max=len(self.log_sigma) - 2)
        sigma = torch.lerp(self.log_sigma[below], self.log_sigma[below + 1], t - below).exp()[:, None, None, None]
        abar = 1 / (1 + sigma**2)
        centred = x_t - abar.sqrt() * MEAN
        eps = (1 - abar).sqrt() * centred / (abar * STD**2 + 1 - abar)
        return torch.cat((eps, torch.full_like(eps, math.nan)), dim=1).to(x_t.dtype)


def _posterior_mean(noisy, sigma):
    sigma = sigma[:, None, None, None]
    return (STD**2 * noisy + sigma**2 * MEAN) / (STD**2 + sigma**2)


@pytest.mark.parametrize(
    ("abar", "step_scale"),
    [
        (linear_alphas_cumprod(), 1.0),
        (cosine_alphas_cumprod(4000), 0.25),
        (torch.tensor([0.9, 0.5, 0.1]).double(), 1.0),
    ],
)
def test_gives_the_posterior_mean_at_every_noise_level(abar, step_scale):
    predictor = GaussianPredictor(abar, step_scale)
    denoiser = EpsilonDenoiser(predictor, alphas_cumprod=abar, step_scale=step_scale)
    low, high = (2 * limit for limit in denoiser.sigma_range)
    sigma = torch.logspace(math.log10(low), math.log10(min(high, 50)), 60).clamp(low, high)
    generator = torch.Generator().manual_seed(0)
    noisy = MEAN + STD * torch.randn(60, 3, 4, 5, generator=generator)
    noisy = noisy + sigma[:, None, None, None] * torch.randn(60, 3, 4, 5, generator=generator)
    torch.testing.assert_close(denoiser(noisy, sigma), _posterior_mean(noisy, sigma), rtol=1e-5, atol=2e-5)
    steps = predictor.steps[0] / step_scale
    assert bool((steps[1:] >= steps[:-1]).all())
    assert 0 <= float(steps[0]) < 1e-3
    assert float(steps[-1]) <= len(abar) - 1


def test_whole_steps_are_met_exactly():
    predictor = GaussianPredictor(linear_alphas_cumprod())
    denoiser = EpsilonDenoiser(predictor)
    denoiser(torch.zeros(1000, 3, 1, 1), denoiser.sigmas)
    assert torch.equal(predictor.steps[0], torch.arange(1000.0))


def test_steps_are_those_of_the_schedule_of_this_package():
    """`NoiseSchedule` counts its steps from 1, in [0, 1] units."""
    schedule, denoiser = NoiseSchedule.linear(), EpsilonDenoiser(nn.Identity())
    steps = torch.arange(1, 1001)
    torch.testing.assert_close(denoiser.step(2 * schedule.sigma(steps)), (steps - 1).float(), rtol=0, atol=2e-3)
    torch.testing.assert_close(linear_alphas_cumprod(), schedule.alpha_bar[1:])
    torch.testing.assert_close(linear_alphas_cumprod(50), NoiseSchedule.linear(50).alpha_bar[1:])
    torch.testing.assert_close(cosine_alphas_cumprod(), NoiseSchedule.cosine().alpha_bar[1:])
    assert denoiser.sigma_range == pytest.approx((float(schedule.sigma(1)), float(schedule.sigma(1000))), rel=1e-6)


def test_between_whole_steps_log_sigma_is_linear():
    denoiser = EpsilonDenoiser(nn.Identity())
    middle = (denoiser.sigmas[:-1].double() * denoiser.sigmas[1:]).sqrt().float()
    torch.testing.assert_close(denoiser.step(middle), torch.arange(999) + 0.5, rtol=0, atol=1e-3)


def test_images_of_a_batch_keep_their_own_noise_levels():
    denoiser = EpsilonDenoiser(GaussianPredictor(linear_alphas_cumprod()))
    noisy, sigma = torch.randn(4, 3, 3, 2), torch.tensor([0.02, 3.0, 0.5, 0.011])
    together = denoiser(noisy, sigma)
    alone = torch.cat([denoiser(noisy[i : i + 1], sigma[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [0.0, 0.0099, 158.0, math.nan, math.inf])
def test_noise_levels_outside_the_schedule_are_refused(wrong):
    denoiser = EpsilonDenoiser(nn.Identity())
    with pytest.raises(SigmaRangeError, match=r"0.01 to 157.4"):
        denoiser(torch.zeros(2, 3, 1, 1), torch.tensor([0.5, wrong]))


def test_limits_survive_rounding():
    denoiser = EpsilonDenoiser(nn.Identity())
    low, high = denoiser.sigma_range
    sigma = torch.tensor([low * (1 - 1e-6), high * (1 + 1e-6)]) * 2
    assert denoiser.step(sigma).tolist() == [0.0, 999.0]


@pytest.mark.parametrize(
    "wrong",
    [
        torch.tensor([0.5]),
        torch.tensor([0.5, 0.6]),
        torch.tensor([1.0, 0.5]),
        torch.tensor([0.5, 0.0]),
        torch.rand(2, 2),
    ],
)
def test_what_is_no_schedule_is_refused(wrong):
    with pytest.raises(ValueError, match="alphas_cumprod"):
        EpsilonDenoiser(nn.Identity(), alphas_cumprod=wrong)


def test_adds_nothing_to_the_state_of_the_network():
    network = nn.Conv2d(3, 3, 1)
    denoiser = EpsilonDenoiser(network)
    assert set(denoiser.state_dict()) == {"network.weight", "network.bias"}
    assert denoiser.multiple_of == 1
