import itertools
import math

import pytest
import torch
from exact_priors import GAUSSIAN, TWO_GAUSSIANS, image_of

from dp_ir.diffusion import SAMPLERS, CallCounter, NoiseSchedule, ddim, ddpm, dpmpp_2m, generators, randn
from dp_ir.diffusion.samplers import linear_steps
from dp_ir.errors import DPIRError, NetworkContractError, ScheduleError

SCHEDULE = NoiseSchedule.cosine()
TAU = 500  # sigma = 0.51
SIGMA_MIN = 1e-4  # what a grid leaves below its last level must not blur the orders measured here
QUANTILES = torch.linspace(0.004, 0.996, 249, dtype=torch.float64)


def transport_error(sampler, prior, steps):
    """Mean distance to the exact probability-flow map over all quantiles."""
    sigmas = SCHEDULE.sigma_grid(TAU, steps, sigma_min=SIGMA_MIN)
    start = prior.quantiles(QUANTILES, float(sigmas[0]))
    end = sampler(prior.estimate, image_of(start), sigmas)
    return float((end.flatten() - prior.quantiles(QUANTILES, 0.0)).abs().mean())


def drawn(prior, pixels, seed=0):
    """Noisy images at sigma(TAU) whose clean pixels come from the prior, float64."""
    generator = torch.Generator().manual_seed(seed)
    clean = prior.draw(pixels, generator)
    return image_of(clean + SCHEDULE.sigma(TAU) * torch.randn(pixels, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpmpp_2m, 2)])
def test_deterministic_samplers_converge_to_the_exact_flow_of_a_gaussian_at_their_order(sampler, order):
    errors = [transport_error(sampler, GAUSSIAN, steps) for steps in (40, 80, 160)]
    rates = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(rate == pytest.approx(order, abs=0.2) for rate in rates)
    assert errors[-1] < (0.02, 1e-3)[order - 1]


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpmpp_2m, 2)])
def test_deterministic_samplers_converge_to_the_exact_flow_of_a_mixture(sampler, order):
    errors = [transport_error(sampler, TWO_GAUSSIANS, steps) for steps in (100, 200, 400)]
    assert all(coarse / fine > 2 ** (order - 0.3) for coarse, fine in itertools.pairwise(errors))
    assert errors[-1] < (0.03, 2e-3)[order - 1]


@pytest.mark.parametrize("prior", [GAUSSIAN, TWO_GAUSSIANS], ids=["gaussian", "mixture"])
@pytest.mark.parametrize(("sampler", "eta"), [(ddpm, None), (ddim, 1.0), (ddim, 0.5), (ddim, None), (dpmpp_2m, None)])
def test_samples_have_the_mean_and_variance_of_the_prior(sampler, eta, prior):
    noisy = drawn(prior, 60_000)
    mean_error, variance_error = [], []
    for steps in (8, 32, 150):
        sigmas = SCHEDULE.sigma_grid(TAU, steps, sigma_min=1e-3)
        sample = sampler(prior.estimate, noisy, sigmas, generators=generators([1]), eta=eta)
        mean_error.append(abs(float(sample.mean()) - prior.mean))
        variance_error.append(abs(float(sample.var()) / prior.variance - 1))
    # Four standard errors of the means of 60,000 pixels, plus what 150 steps leave at order 1.
    assert mean_error[-1] < 4 * math.sqrt(prior.variance / 60_000)
    assert variance_error[-1] < 0.06
    # The second-order solver overshoots at very few steps and is then within the noise of the moments.
    assert variance_error[-1] < max(0.5 * variance_error[0], 0.03)


def test_ancestral_samples_fill_both_modes_by_their_weights():
    prior = TWO_GAUSSIANS
    sigmas = SCHEDULE.sigma_grid(TAU, 150, sigma_min=1e-3)
    sample = ddpm(prior.estimate, drawn(prior, 60_000), sigmas, generators=generators([2]))
    assert float((sample < 0.475).double().mean()) == pytest.approx(0.3, abs=0.008)
    assert float(sample[sample < 0.475].std()) == pytest.approx(prior.std, rel=0.06)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_moments_of_coarse_chains_are_those_of_the_composed_vp_posteriors(eta):
    """Few steps are wrong in a known way: every DDIM(eta) step is affine for a Gaussian prior."""
    prior, steps = GAUSSIAN, [500, 300, 120, 40, 0]
    abar = [float(SCHEDULE.alpha_bar[t]) for t in steps]
    mu, var = 2 * (prior.means[0] - 0.5), 4 * prior.std**2  # in VP units
    mean, variance = math.sqrt(abar[0]) * mu, abar[0] * var + 1 - abar[0]
    for abar_t, abar_s in itertools.pairwise(abar):
        gain = math.sqrt(abar_t) * var / (abar_t * var + 1 - abar_t)
        offset = mu - gain * math.sqrt(abar_t) * mu
        noise = eta**2 * (1 - abar_s) / (1 - abar_t) * (1 - abar_t / abar_s)
        a = math.sqrt((1 - abar_s - noise) / (1 - abar_t))
        b = math.sqrt(abar_s) - a * math.sqrt(abar_t)
        mean, variance = (a + b * gain) * mean + b * offset, (a + b * gain) ** 2 * variance + noise
    sample = ddim(
        prior.estimate,
        drawn(prior, 120_000, seed=3),
        SCHEDULE.sigma(torch.tensor(steps)),
        generators=generators([4]),
        eta=eta,
    )
    assert float(sample.mean()) == pytest.approx(0.5 + mean / 2, abs=4 * math.sqrt(variance / 4 / 120_000))
    assert float(sample.var()) == pytest.approx(variance / 4, rel=0.017)


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine(100, data_range=1.0)])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_in_vp_form_is_our_form(schedule, eta):
    """The published VP update (Song et al., 2021, eq. 12 and 16), written out on x_t, step by step."""
    steps = [round(share * schedule.T) for share in (1, 0.7, 0.4, 0.2, 0.05, 0)]
    shape = (2, 3, 4, 5)
    x_T = randn(shape, generators([1, 2]), dtype=torch.float64)
    prior = TWO_GAUSSIANS

    ours = generators([3, 4])
    x = x_T
    for t, s in itertools.pairwise(steps):
        abar_t, abar_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
        clean = prior.estimate(schedule.vp_to_noisy(x, t), schedule.sigma(t).expand(2))
        x0 = schedule.data_range * (clean - 0.5)
        eps = (x - abar_t.sqrt() * x0) / (1 - abar_t).sqrt()
        std = eta * ((1 - abar_s) / (1 - abar_t)).sqrt() * (1 - abar_t / abar_s).sqrt()
        x = abar_s.sqrt() * x0 + (1 - abar_s - std**2).clamp(min=0).sqrt() * eps
        if std > 0:
            x = x + std * randn(shape, ours, dtype=torch.float64)
    sampled = ddim(
        prior.estimate,
        schedule.vp_to_noisy(x_T, schedule.T),
        schedule.sigma(torch.tensor(steps)),
        generators=generators([3, 4]),
        eta=eta,
    )
    torch.testing.assert_close(sampled, schedule.vp_to_noisy(x, 0), rtol=1e-9, atol=1e-10)


def test_ddpm_in_vp_form_is_our_form():
    """Ancestral steps of eq. 3 on x_t, with the schedule's own posterior."""
    schedule = NoiseSchedule.linear(30)
    shape = (2, 3, 4, 5)
    x = x_T = randn(shape, generators([1, 2]), dtype=torch.float64)
    ours = generators([3, 4])
    for t in range(30, 0, -1):
        clean = TWO_GAUSSIANS.estimate(schedule.vp_to_noisy(x, t), schedule.sigma(t).expand(2))
        mean, variance = schedule.posterior(x, schedule.noisy_to_vp(clean, 0), t)
        x = mean + variance.sqrt() * randn(shape, ours, dtype=torch.float64) if t > 1 else mean
    sampled = ddpm(
        TWO_GAUSSIANS.estimate,
        schedule.vp_to_noisy(x_T, 30),
        schedule.sigma(torch.arange(30, -1, -1)),
        generators=generators([3, 4]),
    )
    torch.testing.assert_close(sampled, schedule.vp_to_noisy(x, 0), rtol=1e-9, atol=1e-10)


def test_dpmpp_2m_is_exact_when_the_estimate_is_linear_in_log_sigma():
    """With x0(sigma) = a + b log sigma along the path, only the first step and the step to 0 are of first order."""
    a, b = 0.4, 0.07
    sigmas = torch.tensor([0.5, 0.3, 0.1, 0.04], dtype=torch.float64)

    def estimate(noisy, sigma):
        return (a + b * sigma.log()).reshape(-1, 1, 1, 1).expand_as(noisy)

    x = torch.full((1, 3, 2, 2), 0.9, dtype=torch.float64)
    after_first = sigmas[1] / sigmas[0] * x + (1 - sigmas[1] / sigmas[0]) * (a + b * sigmas[0].log())
    # The solver replaces x0 by its value half a step ahead in log sigma, which is its mean over the step.
    expected = after_first
    for t, s in itertools.pairwise(sigmas[1:]):
        expected = s / t * expected + (1 - s / t) * (a + b * (t.log() + s.log()) / 2)
    torch.testing.assert_close(dpmpp_2m(estimate, x, sigmas), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_returns_the_estimate(name):
    noisy = torch.randn(1, 3, 4, 4)
    estimate = 0.5 * noisy
    sampled = SAMPLERS[name](lambda x, s: estimate, noisy, torch.tensor([0.4, 0.0]), generators=generators([0]))
    torch.testing.assert_close(sampled, estimate)


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_alone_is_the_image_in_a_batch(name):
    sigmas = SCHEDULE.sigma_grid(300, 6)
    noisy = torch.randn(3, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    sampler, prior = SAMPLERS[name], TWO_GAUSSIANS
    batch = sampler(prior.estimate, noisy, sigmas, generators=generators([10, 11, 12]))
    for i in range(3):
        alone = sampler(prior.estimate, noisy[i : i + 1], sigmas, generators=generators([10 + i]))
        torch.testing.assert_close(alone, batch[i : i + 1], rtol=1e-5, atol=1e-6)
    again = sampler(prior.estimate, noisy, sigmas, generators=generators([10, 11, 12]))
    assert torch.equal(batch, again)


@pytest.mark.parametrize(("name", "eta"), [("ddpm", None), ("ddim", 0.5)])
def test_seeds_matter_only_where_noise_is_drawn(name, eta):
    sigmas = SCHEDULE.sigma_grid(300, 6)
    noisy = torch.randn(1, 3, 5, 7)

    def sample(seed, eta):
        return SAMPLERS[name](GAUSSIAN.estimate, noisy, sigmas, generators=generators([seed]), eta=eta)

    assert not torch.allclose(sample(1, eta), sample(2, eta))
    assert torch.equal(ddim(GAUSSIAN.estimate, noisy, sigmas), ddim(GAUSSIAN.estimate, noisy, sigmas, eta=0.0))


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_call_per_step_each_reported_to_the_callback(name):
    sigmas = SCHEDULE.sigma_grid(300, 5)
    noisy = torch.randn(2, 3, 4, 4)
    counter, seen = CallCounter(), []
    denoise = counter.wrap("denoiser", GAUSSIAN.estimate)
    SAMPLERS[name](denoise, noisy, sigmas, generators=generators([1, 2]), callback=seen.append)
    assert counter.calls == {"denoiser": 5}
    assert [info.index for info in seen] == list(range(5))
    assert {info.steps for info in seen} == {5}
    assert [info.sigma for info in seen] == sigmas[:-1].tolist()
    assert torch.equal(seen[0].noisy, noisy)
    for info in seen:
        assert torch.equal(info.estimate, GAUSSIAN.estimate(info.noisy, torch.full((2,), info.sigma)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_state_is_float32_or_wider_whatever_the_network_answers(name):
    sigmas = SCHEDULE.sigma_grid(300, 4)
    noisy = torch.randn(1, 3, 4, 4)
    for dtype, state in [
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ]:
        seen = []

        def estimate(x, sigma, seen=seen):
            seen.append((x.dtype, sigma.dtype, sigma.shape))
            return (0.5 * x).to(torch.bfloat16)

        sampled = SAMPLERS[name](estimate, noisy.to(dtype), sigmas, generators=generators([1]))
        assert sampled.dtype == state
        assert set(seen) == {(state, state, torch.Size([1]))}


@pytest.mark.parametrize("name", SAMPLERS)
def test_nothing_is_clipped(name):
    sampled = SAMPLERS[name](
        lambda x, s: torch.full_like(x, 1.7),
        torch.zeros(1, 3, 2, 2),
        SCHEDULE.sigma_grid(200, 4),
        generators=generators([1]),
    )
    torch.testing.assert_close(sampled, torch.full_like(sampled, 1.7))


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
def test_a_grid_may_stop_early_and_be_continued_by_one_step_samplers(name):
    sigmas, ours, noisy = SCHEDULE.sigma_grid(300, 6), generators([1]), torch.randn(1, 3, 4, 4)
    half = SAMPLERS[name](GAUSSIAN.estimate, noisy, sigmas[:4], generators=ours)
    whole = SAMPLERS[name](GAUSSIAN.estimate, half, sigmas[3:], generators=ours)
    torch.testing.assert_close(
        whole, SAMPLERS[name](GAUSSIAN.estimate, noisy, sigmas, generators=generators([1])), rtol=0, atol=0
    )


NOISY = torch.zeros(2, 3, 4, 4)
GRID = torch.tensor([0.5, 0.1, 0.0])


def identity(noisy, sigma):
    return noisy


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda: ddim(identity, NOISY, GRID, eta=-0.1, generators=generators([1, 2])), ScheduleError),
        (lambda: ddim(identity, NOISY, GRID, eta=1.5, generators=generators([1, 2])), ScheduleError),
        (lambda: ddim(identity, NOISY, GRID, eta=math.nan, generators=generators([1, 2])), ScheduleError),
        (lambda: ddim(identity, NOISY, GRID, eta=0.5), ScheduleError),
        (lambda: ddpm(identity, NOISY, GRID), ScheduleError),
        (lambda: ddpm(identity, NOISY, GRID, eta=0.5, generators=generators([1, 2])), ScheduleError),
        (lambda: ddpm(identity, NOISY, GRID, generators=generators([1])), DPIRError),
        (lambda: dpmpp_2m(identity, NOISY, GRID, eta=1.0), ScheduleError),
        (lambda: ddim(identity, NOISY, torch.tensor([0.5])), ScheduleError),
        (lambda: ddim(identity, NOISY, torch.zeros(2, 2)), ScheduleError),
        (lambda: ddim(identity, NOISY, torch.tensor([0.1, 0.5, 0.0])), ScheduleError),
        (lambda: dpmpp_2m(identity, NOISY, torch.tensor([0.5, 0.5, 0.0])), ScheduleError),
        (lambda: dpmpp_2m(identity, NOISY, torch.tensor([0.5, 0.1, -0.1])), ScheduleError),
        (lambda: dpmpp_2m(identity, NOISY, torch.tensor([math.inf, 0.1, 0.0])), ScheduleError),
        (lambda: dpmpp_2m(identity, NOISY, torch.tensor([math.nan, 0.1, 0.0])), ScheduleError),
        (lambda: ddim(lambda x, s: x[:, :1], NOISY, GRID), NetworkContractError),
    ],
)
def test_bad_input_gives_a_named_error_with_one_sentence(wrong, error):
    with pytest.raises(error) as caught:
        wrong()
    assert str(caught.value).endswith(".")
    assert ". " not in str(caught.value).replace("NoiseSchedule.sigma_grid", "")


@pytest.mark.parametrize(("name", "eta"), [("ddpm", None), ("ddim", 0.0), ("ddim", 0.5), ("dpmpp-2m", None)])
def test_steps_as_numbers_taken_band_by_band_are_the_sampler(name, eta):
    """What `linear_steps` says, applied to rows of the image one after the other, is what the sampler returns."""
    sigmas = torch.tensor([0.7, 0.4, 0.2, 0.05, 0.0], dtype=torch.float64)
    noisy = torch.randn(1, 3, 8, 5, generator=torch.Generator().manual_seed(0))
    estimate = lambda x, sigma: torch.tanh(x) * 0.9 + 0.05  # noqa: E731
    expected = SAMPLERS[name](estimate, noisy, sigmas, generators=generators([3]), eta=eta)
    own, x, before = generators([3]), noisy.clone(), None
    for step in linear_steps(SAMPLERS[name], sigmas, eta):
        x0 = estimate(x, step.sigma)
        z = randn(x.shape, own) if step.noise else None
        for row in range(8):
            rows = (slice(None), slice(None), slice(row, row + 1))
            older, fresh = (None if image is None else image[rows] for image in (before, z))
            x[rows] = step.take(x[rows], x0[rows], older, fresh)
        before = x0
    assert torch.equal(x, expected)


def test_steps_of_other_samplers_are_not_known():
    assert linear_steps(lambda *_, **__: None, torch.tensor([1.0, 0.0])) is None
