import itertools
import math

import pytest
import torch

from dp_ir.diffusion import NoiseSchedule, ddim, ddpm, generators, jump, jump_coefficients, randn
from dp_ir.errors import DPIRError, ScheduleError

SCHEDULES = {
    "linear-1000": NoiseSchedule.linear(),
    "linear-100": NoiseSchedule.linear(100),
    "cosine-1000": NoiseSchedule.cosine(),
    "cosine-100": NoiseSchedule.cosine(100),
    "sr3 (large abar_T)": NoiseSchedule.linear(1000, 1e-6, 1e-2),
    "three steps": NoiseSchedule.from_betas([0.1, 0.2, 0.3]),
}


def chain_of(start, tau, stride):
    return [*range(start, tau, -stride), tau]


def composed(schedule, chain, eta, variance="posterior"):
    """(K, M, V) by composing the DDIM(eta) posteriors q(x_s | x_t, x0) one after the other."""
    abar = schedule.alpha_bar.tolist()
    K, M, V = 1.0, 0.0, 0.0
    for t, s in itertools.pairwise(chain):
        noise = eta**2 * (1 - abar[s]) / (1 - abar[t]) * (1 - abar[t] / abar[s])
        a = math.sqrt((1 - abar[s] - noise) / (1 - abar[t]))
        b = math.sqrt(abar[s]) - a * math.sqrt(abar[t])
        if variance == "beta":
            noise = 1 - abar[t] / abar[s]
        K, M, V = a * K, a * M + b, a**2 * V + noise
    return K, M, V


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("stride", [1, 3, 7])
@pytest.mark.parametrize("name", SCHEDULES)
def test_closed_form_is_the_composition_of_the_steps(name, stride, eta):
    schedule = SCHEDULES[name]
    for share in (0.1, 0.34, 0.5, 0.8):
        tau = max(1, int(share * schedule.T))
        chain = chain_of(schedule.T, tau, stride)
        got = jump_coefficients(schedule, tau, eta=eta, steps=chain)
        assert got == pytest.approx(composed(schedule, chain, eta), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_ancestral_jump_composes_the_papers_own_posteriors(name):
    """Eq. 3 as printed, with alpha_t and the posterior variance, from T down to tau: an exact product of its a's."""
    schedule = SCHEDULES[name]
    abar, tau = schedule.alpha_bar.tolist(), max(1, schedule.T // 4)
    K, M, V = 1.0, 0.0, 0.0
    for t in range(schedule.T, tau, -1):
        alpha = abar[t] / abar[t - 1]
        a = math.sqrt(alpha) * (1 - abar[t - 1]) / (1 - abar[t])
        b = math.sqrt(abar[t - 1]) * (1 - alpha) / (1 - abar[t])
        K, M, V = a * K, a * M + b, a**2 * V + (1 - abar[t - 1]) * (1 - alpha) / (1 - abar[t])
    assert jump_coefficients(schedule, tau) == pytest.approx((K, M, V), rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("stride", [1, 5])
@pytest.mark.parametrize("name", SCHEDULES)
def test_beta_variance(name, stride):
    schedule = SCHEDULES[name]
    tau = max(1, schedule.T // 10)
    chain = chain_of(schedule.T, tau, stride)
    got = jump_coefficients(schedule, tau, steps=chain, variance="beta")
    assert got == pytest.approx(composed(schedule, chain, 1.0, "beta"), rel=1e-11, abs=1e-12)


def test_beta_variance_has_the_size_the_fact_sheet_states():
    for name, tau, ratio in [("linear-1000", 100, 1.012), ("cosine-100", 10, 1.132)]:
        schedule = SCHEDULES[name]
        V = jump_coefficients(schedule, tau, variance="beta").V
        assert V / (1 - float(schedule.alpha_bar[tau])) == pytest.approx(ratio, abs=6e-4)


def test_finite_abar_T_is_not_neglected():
    schedule = SCHEDULES["sr3 (large abar_T)"]
    for tau, ratio in [(250, 0.9976), (500, 0.983), (900, 0.619)]:
        M = jump_coefficients(schedule, tau).M
        assert M / math.sqrt(schedule.alpha_bar[tau]) == pytest.approx(ratio, abs=6e-4)


def test_only_the_middle_etas_depend_on_the_stride():
    schedule = SCHEDULES["cosine-100"]
    for eta, same in [(0.0, True), (1.0, True), (0.5, False)]:
        fine, coarse = (jump_coefficients(schedule, 30, eta=eta, steps=chain_of(100, 30, n)) for n in (1, 35))
        assert (fine == pytest.approx(coarse, rel=1e-9, abs=1e-12)) is same


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_jumps_compose(eta):
    """Two jumps in a row, meeting at a fractional step, are one."""
    schedule = SCHEDULES["linear-100"]
    first = jump_coefficients(schedule, 60.25, eta=eta)
    second = jump_coefficients(schedule, 12.5, start=60.25, eta=eta)
    chain = [*range(100, 60, -1), 60.25, *range(60, 12, -1), 12.5]
    K, M = second.K * first.K, second.K * first.M + second.M
    V = second.K**2 * first.V + second.V
    assert jump_coefficients(schedule, 12.5, eta=eta, steps=chain) == pytest.approx((K, M, V), rel=1e-11, abs=1e-12)


def test_from_its_own_diffusion_the_law_is_exactly_eq_2():
    """For x_T ~ q(x_T | x_IR), x_tau ~ q(x_tau | x_IR) whatever eta and abar_T."""
    for schedule, eta in itertools.product(SCHEDULES.values(), (0.0, 0.3, 1.0)):
        tau = max(1, schedule.T // 3)
        K, M, V = jump_coefficients(schedule, tau, eta=eta)
        abar_T, abar_tau = float(schedule.alpha_bar[-1]), float(schedule.alpha_bar[tau])
        assert K * math.sqrt(abar_T) + M == pytest.approx(math.sqrt(abar_tau), rel=1e-12)
        assert K**2 * (1 - abar_T) + V == pytest.approx(1 - abar_tau, rel=1e-12)


def restored_image(batch=2, size=6):
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_jump_equals_the_sampler_run_on_the_restorers_answer():
    """DDIM(0) from x_T down to tau with a constant estimate, step by step, is the deterministic jump."""
    schedule, tau = SCHEDULES["sr3 (large abar_T)"], 300
    restored, x_T = restored_image(), torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)).double()
    sigmas = schedule.sigma(torch.arange(schedule.T, tau - 1, -1))
    stepped = ddim(lambda noisy, sigma: restored, schedule.vp_to_noisy(x_T, schedule.T), sigmas)
    torch.testing.assert_close(jump(schedule, restored, tau, x_T=x_T, eta=0.0), stepped, rtol=1e-10, atol=1e-10)


def test_ancestral_sampling_of_the_replaced_steps_has_the_law_of_the_jump():
    schedule, tau = NoiseSchedule.linear(40, 1e-3, 0.1), 12
    restored = torch.full((1, 3, 160, 160), 0.8, dtype=torch.float64)
    start = schedule.vp_to_noisy(torch.zeros_like(restored), schedule.T)
    sigmas = schedule.sigma(torch.arange(schedule.T, tau - 1, -1))
    stepped = ddpm(lambda noisy, sigma: restored, start, sigmas, generators=generators([3]))
    direct = jump(schedule, restored, tau, generators([4]), x_T=torch.zeros_like(restored))
    assert float(stepped.mean()) == pytest.approx(float(direct.mean()), abs=0.01)
    assert float(stepped.std()) == pytest.approx(float(direct.std()), rel=0.015)


def test_law_of_the_jump_in_image_units():
    schedule, tau = SCHEDULES["sr3 (large abar_T)"], 600
    K, M, V = jump_coefficients(schedule, tau)
    restored = torch.full((1, 3, 160, 160), 0.8, dtype=torch.float64)
    noisy = jump(schedule, restored, tau, generators([0]))
    scale = 2 * math.sqrt(schedule.alpha_bar[tau])
    assert float(noisy.mean()) == pytest.approx(0.5 + M * 2 * 0.3 / scale, abs=4 * math.sqrt(V) / scale / 277)
    assert float(noisy.std()) == pytest.approx(math.sqrt(K**2 + V) / scale, rel=0.012)
    assert noisy.dtype == torch.float64


def test_usual_schedules_give_restored_plus_sigma_noise():
    schedule, restored = NoiseSchedule.cosine(), restored_image()
    expected = restored + schedule.sigma(250) * randn(restored.shape, generators([7, 8]), dtype=torch.float64)
    torch.testing.assert_close(jump(schedule, restored, 250, generators([7, 8])), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_start_at_T_is_plain_sampling(eta):
    schedule = NoiseSchedule.linear(100)
    sigmas = schedule.sigma_grid(schedule.T, 12, "uniform-t")

    def estimate(noisy, sigma):
        return 0.5 + 0.1 * torch.tanh(noisy - 0.5)

    ours = generators([1, 2])
    jumped = jump(schedule, restored_image(), schedule.T, ours, eta=eta)
    accelerated = ddim(estimate, jumped, sigmas, generators=ours, eta=eta)
    plain = generators([1, 2])
    x_T = randn((2, 3, 6, 6), plain, dtype=torch.float64)
    sampled = ddim(estimate, schedule.vp_to_noisy(x_T, schedule.T), sigmas, generators=plain, eta=eta)
    assert torch.equal(jumped, schedule.vp_to_noisy(x_T, schedule.T))
    assert torch.equal(accelerated, sampled)


def test_an_image_has_the_same_noise_at_every_tau_and_in_every_batch():
    schedule, restored = NoiseSchedule.cosine(), restored_image(3)
    batch = jump(schedule, restored, 200, generators([5, 6, 7]))
    for i in range(3):
        alone = jump(schedule, restored[i : i + 1], 200, generators([5 + i]))
        assert torch.equal(alone, batch[i : i + 1])
    noise = [
        (jump(schedule, restored, tau, generators([5, 6, 7])) - restored) / schedule.sigma(tau) for tau in (100, 300)
    ]
    torch.testing.assert_close(noise[0], noise[1], rtol=1e-4, atol=1e-4)


LINEAR = NoiseSchedule.linear(100)
IMAGE = torch.zeros(2, 3, 4, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: jump_coefficients(LINEAR, 0),
        lambda: jump_coefficients(LINEAR, 101),
        lambda: jump_coefficients(LINEAR, math.nan),
        lambda: jump_coefficients(LINEAR, 50, start=40),
        lambda: jump_coefficients(LINEAR, 50, start=101),
        lambda: jump_coefficients(LINEAR, 50, eta=-0.1),
        lambda: jump_coefficients(LINEAR, 50, eta=1.1),
        lambda: jump_coefficients(LINEAR, 50, eta=math.nan),
        lambda: jump_coefficients(LINEAR, 50, variance="large"),
        lambda: jump_coefficients(LINEAR, 50, eta=0.5, variance="beta"),
        lambda: jump_coefficients(LINEAR, 50, steps=[100, 60]),
        lambda: jump_coefficients(LINEAR, 50, steps=[90, 50]),
        lambda: jump_coefficients(LINEAR, 50, steps=[100, 70, 80, 50]),
        lambda: jump_coefficients(LINEAR, 50, steps=[]),
        lambda: jump(LINEAR, IMAGE, 50),
        lambda: jump(LINEAR, IMAGE, 50, x_T=IMAGE),
        lambda: jump(LINEAR, IMAGE, 50, generators([1, 2]), x_T=IMAGE[:1]),
        lambda: jump(LINEAR, IMAGE, 50, generators([1])),
    ],
)
def test_bad_input_gives_a_named_error_with_one_sentence(wrong):
    with pytest.raises(DPIRError) as caught:
        wrong()
    message = str(caught.value)
    assert message.endswith(".")
    assert ". " not in message
    assert isinstance(caught.value, ScheduleError) or "generators" in message


def test_noise_that_was_drawn_before_is_used_as_if_it_were_drawn_now():
    schedule, restored = NoiseSchedule.cosine(1000), torch.rand(2, 3, 5, 7)
    noise = randn(restored.shape, generators([1, 2]))
    expected = jump(schedule, restored, 300, generators([1, 2]))
    assert torch.equal(jump(schedule, restored, 300, noise=noise), expected)
