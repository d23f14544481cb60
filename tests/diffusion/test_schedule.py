import json
import math

import numpy as np
import pytest
import torch
from exact_priors import TWO_GAUSSIANS, image_of

from dp_ir.diffusion import NoiseSchedule
from dp_ir.errors import ScheduleError

SCHEDULES = [
    NoiseSchedule.linear(),
    NoiseSchedule.linear(100),
    NoiseSchedule.cosine(),
    NoiseSchedule.cosine(100),
    NoiseSchedule.cosine(7, data_range=1.0),
    NoiseSchedule.from_betas([0.01, 0.2, 0.5]),
    NoiseSchedule.linear(1000, 1e-6, 1e-2),
]


def test_linear_is_the_cumulated_product_of_betas_on_a_line():
    expected = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    np.testing.assert_allclose(NoiseSchedule.linear().alpha_bar[1:].numpy(), expected, rtol=1e-12)


def test_linear_reaches_nearly_the_same_noise_for_every_T():
    ends = [math.log(NoiseSchedule.linear(T).alpha_bar[-1]) for T in (100, 1000, 4000)]
    assert all(abs(end / ends[1] - 1) < 0.15 for end in ends)


def test_cosine_follows_its_formula_wherever_the_cap_is_not_reached():
    schedule = NoiseSchedule.cosine(100, 0.008)
    f = [math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(101)]
    np.testing.assert_allclose(schedule.alpha_bar[:100].numpy(), np.array(f[:100]) / f[0], rtol=1e-10)
    assert float(schedule.alpha_bar[100] / schedule.alpha_bar[99]) == pytest.approx(1 - 0.999, rel=1e-9)


@pytest.mark.parametrize(
    ("schedule", "t", "eight_bit"),
    [
        (NoiseSchedule.linear(), 100, 43.2),
        (NoiseSchedule.linear(), 250, 121.5),
        (NoiseSchedule.linear(), 500, 436.6),
        (NoiseSchedule.cosine(), 100, 21.6),
        (NoiseSchedule.cosine(), 250, 54.2),
        (NoiseSchedule.cosine(), 500, 129.1),
    ],
)
def test_sigma_in_image_units_matches_the_table_of_the_fact_sheet(schedule, t, eight_bit):
    assert float(schedule.sigma(t)) * 255 == pytest.approx(eight_bit, abs=0.06)


def test_data_range_scales_sigma():
    wide, narrow = NoiseSchedule.cosine(), NoiseSchedule.cosine(data_range=1.0)
    t = torch.arange(1001)
    torch.testing.assert_close(2 * wide.sigma(t), narrow.sigma(t), rtol=1e-14, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_step_inverts_sigma_at_whole_and_fractional_steps(schedule):
    t = torch.linspace(0, schedule.T, 5 * schedule.T + 3, dtype=torch.float64)
    torch.testing.assert_close(schedule.step(schedule.sigma(t)), t, rtol=1e-7, atol=1e-6)
    sigma = torch.linspace(0, float(schedule.sigma(schedule.T)), 501, dtype=torch.float64)
    torch.testing.assert_close(schedule.sigma(schedule.step(sigma)), sigma, rtol=1e-9, atol=1e-9)
    assert bool((schedule.sigma(t).diff() > 0).all())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_whole_steps_are_read_off_exactly(schedule):
    assert torch.equal(schedule.alpha_bar_at(torch.arange(schedule.T + 1)), schedule.alpha_bar)
    middle = schedule.alpha_bar_at(0.5)
    assert float(middle) == pytest.approx(math.sqrt(schedule.alpha_bar[1]), rel=1e-14)


@pytest.mark.parametrize("schedule", [*SCHEDULES, NoiseSchedule(torch.tensor([1, 0.7, 0.1]), 1.5)])
def test_config_survives_json_exactly(schedule):
    back = NoiseSchedule.from_config(json.loads(json.dumps(schedule.to_config())))
    assert back == schedule
    assert hash(back) == hash(schedule)
    assert back.to_config() == schedule.to_config()


def test_config_of_the_usual_schedule_is_short():
    assert NoiseSchedule.cosine().to_config() == {"name": "cosine", "T": 1000, "s": 0.008, "data_range": 2.0}
    assert NoiseSchedule.from_config({"name": "cosine"}) == NoiseSchedule.cosine()
    assert NoiseSchedule.cosine() != NoiseSchedule.cosine(data_range=1.0)
    assert NoiseSchedule.cosine() != NoiseSchedule.linear()
    assert NoiseSchedule.cosine() != "cosine"


def test_from_sigmas_puts_the_levels_on_whole_steps():
    levels = torch.tensor([0, 0.01, 0.1, 0.4], dtype=torch.float64)
    for data_range in (1.0, 2.0):
        schedule = NoiseSchedule.from_sigmas(levels, data_range=data_range)
        torch.testing.assert_close(schedule.sigma(torch.arange(4)), levels, rtol=1e-11, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_eq1_composes_to_eq2(schedule):
    one, nothing = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    mean, variance = one, nothing
    for t in range(1, schedule.T + 1):
        scale, noise = schedule.forward_step(one, t, nothing), schedule.forward_step(nothing, t, one)
        mean, variance = scale * mean, scale**2 * variance + noise**2
    torch.testing.assert_close(mean, schedule.diffuse(one, schedule.T, nothing), rtol=1e-11, atol=1e-15)
    torch.testing.assert_close(variance, schedule.diffuse(nothing, schedule.T, one) ** 2, rtol=1e-11, atol=0)


def test_eq3_is_bayes_rule_on_the_joint_gaussian():
    schedule = NoiseSchedule.cosine(100)
    for t, s in [(1, 0), (2, 1), (40, 39), (40, 12), (100, 99), (100, 3)]:
        # x_s = sqrt(abar_s) x0 + e, x_t = sqrt(r) x_s + f: condition the joint normal of (x_s, x_t) on x_t.
        abar_s, abar_t = float(schedule.alpha_bar[s]), float(schedule.alpha_bar[t])
        r = abar_t / abar_s
        var_s, cov, var_t = 1 - abar_s, math.sqrt(r) * (1 - abar_s), 1 - abar_t
        x_t, x0 = 0.8, -0.3
        mean = math.sqrt(abar_s) * x0 + cov / var_t * (x_t - math.sqrt(abar_t) * x0)
        variance = var_s - cov**2 / var_t
        got_mean, got_variance = schedule.posterior(
            torch.full((2, 3, 1, 1), x_t, dtype=torch.float64), torch.full((2, 3, 1, 1), x0, dtype=torch.float64), t, s
        )
        torch.testing.assert_close(got_mean, torch.full_like(got_mean, mean), rtol=1e-10, atol=1e-12)
        assert float(got_variance) == pytest.approx(variance, rel=1e-9, abs=1e-14)
        if s == t - 1:
            default = schedule.posterior_coefficients(t)
            assert default == schedule.posterior_coefficients(t, s)


def test_a_step_per_image_is_the_same_as_image_by_image():
    schedule = NoiseSchedule.linear()
    x, eps = torch.rand(3, 3, 4, 5), torch.randn(3, 3, 4, 5)
    t = torch.tensor([5, 500, 1000])
    for function in (
        lambda i, t: schedule.diffuse(x[i], t, eps[i]),
        lambda i, t: schedule.forward_step(x[i], t, eps[i]),
        lambda i, t: schedule.posterior(x[i], eps[i], t)[0],
        lambda i, t: schedule.conditional_score(x[i], eps[i], t),
        lambda i, t: schedule.noisy_to_vp(x[i], t),
        lambda i, t: schedule.vp_to_noisy(x[i], t),
    ):
        batch = function(slice(None), t)
        assert batch.dtype == torch.float32
        for i in range(3):
            assert torch.equal(batch[i : i + 1], function(slice(i, i + 1), int(t[i])))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noisy_and_vp_are_two_views_of_one_image(schedule):
    generator = torch.Generator().manual_seed(1)
    clean = torch.rand(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    eps = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    for t in (0, 0.4, 1, schedule.T / 2, schedule.T):
        noisy = clean + schedule.sigma(t) * eps
        x_t = schedule.diffuse(schedule.data_range * (clean - 0.5), t, eps)
        torch.testing.assert_close(schedule.noisy_to_vp(noisy, t), x_t, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(schedule.vp_to_noisy(x_t, t), noisy, rtol=1e-10, atol=1e-10)


def test_conditional_score_is_the_gradient_of_the_log_density():
    schedule = NoiseSchedule.cosine(50)
    prior = TWO_GAUSSIANS
    for t in (3, 20, 44.5):
        abar = float(schedule.alpha_bar_at(t))
        x_t = image_of(torch.linspace(-2, 2, 60, dtype=torch.float64)).requires_grad_()
        # The density of x_t: components at sqrt(abar) * 2 (m - 1/2), variance abar * 4 std^2 + 1 - abar.
        variance = abar * 4 * prior.std**2 + 1 - abar
        parts = [
            math.log(w) - (x_t - math.sqrt(abar) * 2 * (m - 0.5)) ** 2 / (2 * variance)
            for w, m in zip(prior.weights, prior.means, strict=True)
        ]
        (gradient,) = torch.autograd.grad(torch.logsumexp(torch.stack(parts), 0).sum(), x_t)
        with torch.no_grad():
            clean = prior.estimate(schedule.vp_to_noisy(x_t, t), schedule.sigma(t).reshape(1))
            score = schedule.conditional_score(x_t, 2 * (clean - 0.5), t)
        torch.testing.assert_close(score, gradient, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("schedule", [NoiseSchedule.linear(), NoiseSchedule.cosine(100)])
def test_grids_fall_from_sigma_tau_to_zero(schedule):
    tau = 0.3 * schedule.T
    for spacing in ("log-sigma", "uniform-t"):
        for steps in (1, 2, 8):
            grid = schedule.sigma_grid(tau, steps, spacing, sigma_min=0.005)
            assert grid.dtype == torch.float64
            assert grid.shape == (steps + 1,)
            assert grid[0] == schedule.sigma(tau)
            assert grid[-1] == 0
            assert bool((grid.diff() < 0).all())
    log = schedule.sigma_grid(tau, 8, "log-sigma", sigma_min=0.005)
    assert float(log[-2]) == pytest.approx(0.005, rel=1e-12)
    ratios = log[1:-1] / log[:-2]
    torch.testing.assert_close(ratios, ratios[:1].expand(7), rtol=1e-12, atol=0)
    uniform = schedule.step(schedule.sigma_grid(tau, 6, "uniform-t"))
    torch.testing.assert_close(uniform, torch.linspace(tau, 0, 7, dtype=torch.float64), rtol=1e-7, atol=1e-6)


def test_the_callers_tensor_is_not_shared():
    alpha_bar = torch.tensor([1.0, 0.5])
    schedule = NoiseSchedule(alpha_bar)
    alpha_bar[1] = 0.9
    assert schedule.alpha_bar[1] == 0.5


COSINE = NoiseSchedule.cosine(100)
IMAGE = torch.zeros(1, 3, 2, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: NoiseSchedule.linear(0),
        lambda: NoiseSchedule.linear(10.5),
        lambda: NoiseSchedule.linear(True),
        lambda: NoiseSchedule.linear(10),  # 20 / T reaches 2
        lambda: NoiseSchedule.linear(10, 0.0, 0.5),
        lambda: NoiseSchedule.linear(10, 0.1, 1.0),
        lambda: NoiseSchedule.cosine(0),
        lambda: NoiseSchedule.cosine(10, -0.1),
        lambda: NoiseSchedule.cosine(10, math.nan),
        lambda: NoiseSchedule.cosine(10, data_range=0.0),
        lambda: NoiseSchedule.cosine(10, data_range=math.inf),
        lambda: NoiseSchedule.from_betas([]),
        lambda: NoiseSchedule.from_betas([0.1, math.nan]),
        lambda: NoiseSchedule.from_betas([0.1, -0.1]),
        lambda: NoiseSchedule.from_betas([[0.1, 0.2]]),
        lambda: NoiseSchedule.from_sigmas([0.1, 0.2]),
        lambda: NoiseSchedule.from_sigmas([0, 0.2, 0.1]),
        lambda: NoiseSchedule(torch.tensor([1.0])),
        lambda: NoiseSchedule(torch.tensor([1.0, 0.5, 0.0])),
        lambda: NoiseSchedule(torch.tensor([1.0, 0.5, math.nan])),
        lambda: NoiseSchedule.from_config({"name": "sine"}),
        lambda: NoiseSchedule.from_config({"T": 3}),
        lambda: NoiseSchedule.from_config({"name": "cosine", "length": 3}),
        lambda: NoiseSchedule.from_config({"name": "cosine", "T": "many"}),
        lambda: NoiseSchedule.from_config({"name": "cosine", "T": 10, "s": "small"}),
        lambda: NoiseSchedule.from_config({"name": ["cosine"]}),
        lambda: NoiseSchedule.from_config({"name": "cosine", "data_range": "wide"}),
        lambda: NoiseSchedule.from_config({"name": "betas", "betas": "none"}),
        lambda: NoiseSchedule.from_config({"name": "alpha-bar"}),
        lambda: NoiseSchedule.from_config("cosine"),
        lambda: COSINE.sigma(-1),
        lambda: COSINE.sigma(100.5),
        lambda: COSINE.sigma(math.nan),
        lambda: COSINE.sigma(torch.tensor([1, 101])),
        lambda: COSINE.step(-0.1),
        lambda: COSINE.step(1e6),
        lambda: COSINE.step(math.nan),
        lambda: COSINE.sigma_grid(0, 4),
        lambda: COSINE.sigma_grid(101, 4),
        lambda: COSINE.sigma_grid(50, 0),
        lambda: COSINE.sigma_grid(50, 2.5),
        lambda: COSINE.sigma_grid(50, True),
        lambda: COSINE.sigma_grid(50, 4, "even"),
        lambda: COSINE.sigma_grid(50, 4, sigma_min=0.0),
        lambda: COSINE.sigma_grid(50, 4, sigma_min=3.0),
        lambda: COSINE.forward_step(IMAGE, 0, IMAGE),
        lambda: COSINE.forward_step(IMAGE, 1.5, IMAGE),
        lambda: COSINE.posterior(IMAGE, IMAGE, 0),
        lambda: COSINE.posterior(IMAGE, IMAGE, 3, 4),
        lambda: COSINE.posterior(IMAGE, IMAGE, 0.5),
        lambda: COSINE.conditional_score(IMAGE, IMAGE, 0),
    ],
)
def test_bad_input_gives_a_named_error_with_one_sentence(wrong):
    with pytest.raises(ScheduleError) as caught:
        wrong()
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert ". " not in message
