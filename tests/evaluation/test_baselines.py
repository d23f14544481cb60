"""Baselines against priors whose posterior is known exactly, and as methods: counted, seeded, sized."""

import json
import math
import sys
import warnings

import deepinv
import pytest
import torch

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.degradation.bicubic import imresize
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import DataError, MissingExtraError, NetworkContractError, ScheduleError, SigmaRangeError
from dp_ir.evaluation.methods.baselines import CCDF, DDRM, DiffPIR, SDEdit
from dp_ir.evaluation.methods.deepinv_samplers import ddrm, diffpir, reduction_physics
from dp_ir.evaluation.methods.method import Observation
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.methods.reduction import Reduction

SPREAD, NOISE = 0.1, 0.002  # of the prior, of the observation
LEVELS = (0.005, 1.0)


def exact_denoiser(noisy, sigma):
    """E[x0 | noisy] for a prior N(1/2, SPREAD^2) of every pixel."""
    gain = SPREAD**2 / (SPREAD**2 + sigma**2)
    return 0.5 + gain.view(-1, 1, 1, 1) * (noisy - 0.5)


def denoiser(network=exact_denoiser, levels=LEVELS):
    return LoadedNetwork("denoiser", network, NetworkInfo(sigma_range=levels))


class Problem:
    """16 draws of the prior, observed, and the exact posterior of their coefficients, which are independent."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        image = 0.5 + SPREAD * torch.randn(16, 3, 24, 32, generator=generator)
        self.reduction = Reduction.of(torch.zeros(1, 3, 6, 8), 4)
        clean = self.reduction(image)
        self.observation = clean + NOISE * torch.randn(clean.shape, generator=generator)
        values = self.reduction.singular_values.expand_as(image)
        prior = self.reduction.to_coefficients(torch.full_like(image, 0.5))
        self.variance = 1 / (1 / SPREAD**2 + values**2 / NOISE**2)
        seen = self.reduction.to_observed(self.observation)
        self.mean = self.variance * (prior / SPREAD**2 + values * seen / NOISE**2)
        self.observed = values > 0

    def errors(self, output):
        """Of coefficients from their posterior mean: the observed ones, and the others."""
        error = self.reduction.to_coefficients(output) - self.mean
        return error[self.observed], error[~self.observed]


@pytest.fixture(scope="module")
def problem():
    return Problem()


def log_levels(steps, low=0.01):
    return NoiseSchedule.from_sigmas([0.0, 1.0]).sigma_grid(1, steps, "log-sigma", sigma_min=low)[:-1].tolist()


def run_ddrm(problem, **changes):
    settings = {"sigmas": log_levels(60), "noise_std": NOISE, "eta": 0.0, "eta_b": 1.0, "seed": 0, **changes}
    return ddrm(denoiser(), problem.observation, problem.reduction, **settings)


def run_diffpir(problem, **changes):
    settings = {"steps": 60, "levels": LEVELS, "noise_std": NOISE, "data_weight": 1.0, "zeta": 0.0, "seed": 0}
    return diffpir(denoiser(), problem.observation, problem.reduction, **{**settings, **changes})


@pytest.mark.parametrize("run", [run_ddrm, run_diffpir])
def test_samples_are_spread_about_the_posterior_mean_as_the_posterior_is(problem, run):
    observed, others = problem.errors(run(problem))
    assert abs(float(others.mean())) < 0.004  # what is not observed: the prior, 33000 values
    assert float(others.std()) == pytest.approx(SPREAD, rel=0.06)
    # What is observed is known to 0.0098 on average, ten times better than before.
    assert float(problem.variance[problem.observed].sqrt().mean()) == pytest.approx(0.0098, abs=2e-4)
    assert float(observed.std()) < 0.0125


@pytest.mark.parametrize("run", [run_ddrm, run_diffpir])
def test_samples_are_consistent_with_the_observation(problem, run):
    residual = problem.reduction(run(problem)) - problem.observation
    assert float(residual.std()) < 2 * NOISE  # the images the prior alone gives are off by 0.025


def test_the_noise_of_deepinvs_ddrm_is_too_weak_without_the_correction(problem):
    """The reason for `_SPARE`: should deepinv mend its DDRM, this fails, and the correction must go."""
    model = deepinv.sampling.DDRM(lambda x, sigma: exact_denoiser(x, torch.as_tensor([sigma])), log_levels(60), eta=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        output = model(problem.observation, reduction_physics(problem.reduction, NOISE))
    _, others = problem.errors(output)
    assert float(others.std()) == pytest.approx(SPREAD / math.sqrt(2), rel=0.06)


def test_fresh_noise_makes_other_samples_and_a_heavier_data_term_less_consistent_ones(problem):
    residuals = [
        float((problem.reduction(run_diffpir(problem, data_weight=weight)) - problem.observation).std())
        for weight in (1.0, 10.0, 100.0)
    ]
    assert residuals == sorted(residuals)
    assert residuals[-1] > 2 * residuals[0]
    assert not torch.equal(run_diffpir(problem, zeta=0.5), run_diffpir(problem))


def test_deepinvs_operator_is_the_reduction(problem):
    operator = reduction_physics(problem.reduction, NOISE)
    image = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(1))
    observation = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(operator.A(image), imresize(image, 1 / 4), rtol=0, atol=1e-5)
    assert float(operator.adjointness_test(image)) == pytest.approx(0, abs=1e-3)
    # A proximal step minimises gamma / 2 |Ax - y|^2 + |x - z|^2 / 2, so the gradient vanishes there.
    found = operator.prox_l2(image, observation, gamma=3.0)
    gradient = 3.0 * operator.A_adjoint(operator.A(found) - observation) + found - image
    assert float(gradient.abs().max()) < 1e-5


@pytest.mark.parametrize("steps", [20, 100])
def test_every_level_is_known_to_the_denoiser_and_falls_to_its_lowest(steps):
    seen = []

    def listening(noisy, sigma):
        seen.append(float(sigma))
        return exact_denoiser(noisy, sigma)

    observation = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    limits = (0.02, 0.5)
    diffpir(
        denoiser(listening, limits), observation, Reduction.of(observation, 4),
        steps=steps, levels=limits, noise_std=0.001, data_weight=7.0, zeta=0.3, seed=0,
    )  # fmt: skip
    assert len(seen) == steps
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == pytest.approx(0.5, rel=0.02)
    assert seen[-1] == pytest.approx(0.02, rel=0.05)


def shrunk(noisy, sigma):
    """A denoiser that looks at neighbours, so that where a pixel lies matters."""
    return torch.nn.functional.avg_pool2d(noisy, 3, 1, 1, count_include_pad=False)


def methods():
    own = {"denoiser": denoiser(shrunk)}
    enlarging = LoadedNetwork("restorer", lambda y: imresize(y, 4), NetworkInfo(scale=4))
    return {
        "sdedit": SDEdit("SDEdit", {"restorer": enlarging, **own}, steps=3),
        "ccdf": CCDF("CCDF", own, steps=3),
        "diffpir": DiffPIR("DiffPIR", own, steps=3),
        "ddrm": DDRM("DDRM", own, steps=3),
    }


ODD = Observation("set", "odd", torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("kind", methods())
def test_a_method_counts_its_calls_and_keeps_to_its_seed(kind):
    method = methods()[kind]
    state = torch.random.get_rng_state()
    first, again, other = method(ODD, 0), method(ODD, 0), method(ODD, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first.image.shape == (1, 3, 20, 28)
    assert first.image.dtype == torch.float32
    assert 0 <= float(first.image.min()) <= float(first.image.max()) <= 1
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert first.calls == again.calls == ({"restorer": 1, "denoiser": 3} if kind == "sdedit" else {"denoiser": 3})
    assert method.trained == ()
    assert set(method.networks) == set(first.calls)
    assert method.name in method.protocol


def test_ccdf_and_the_pseudo_inverse_agree_with_the_observation():
    image = methods()["ccdf"]._restore(ODD.image, {"denoiser": denoiser(shrunk)}, 0)
    torch.testing.assert_close(imresize(image, 1 / 4), ODD.image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tau", [100.0, 300.0, 600.0])
def test_sdedit_forgets_its_start_as_the_flow_of_a_gaussian_does(tau):
    """The deterministic flow of N(1/2, s^2) from sigma to 0 scales what is off 1/2 by s / sqrt(s^2 + sigma^2)."""
    start = LoadedNetwork("restorer", lambda y: torch.full((1, 3, 96, 96), 0.7), NetworkInfo())
    method = SDEdit("SDEdit", {"restorer": start, "denoiser": denoiser()}, tau=tau, eta=0.0, steps=150, sigma_min=0.005)
    output = method(Observation("set", "large", torch.rand(1, 3, 24, 24)), 0).image
    sigma = float(NoiseSchedule.cosine().sigma(tau))
    kept = SPREAD / math.sqrt(SPREAD**2 + sigma**2)
    assert float(output.mean()) - 0.5 == pytest.approx(0.2 * kept, abs=0.004)
    assert float(output.std()) == pytest.approx(sigma * kept, rel=0.03)


def test_an_identity_tells_settings_and_networks_apart():
    own = {"denoiser": denoiser()}
    first, same = DDRM("a", own), DDRM("b", {"denoiser": denoiser()})
    assert first.identity == same.identity
    assert json.loads(first.identity)["settings"]["eta"] == 0.5
    others = [DDRM("a", own, eta=0.85), DDRM("a", {"denoiser": denoiser(levels=(0.01, 1.0))}), DiffPIR("a", own)]
    others += [DDRM("a", {"denoiser": denoiser(shrunk)}), CCDF("a", own)]
    assert len({first.identity, *(method.identity for method in others)}) == 6


@pytest.mark.parametrize(
    ("text", "kind", "settings"),
    [
        ("sdedit:sr4,tau=150,steps=2", SDEdit, {"tau": 150.0, "steps": 2}),
        ("ccdf:sr4,eta=0.5,steps=2", CCDF, {"eta": 0.5}),
        ("diffpir:sr4,steps=4,data-weight=3", DiffPIR, {"steps": 4, "data_weight": 3.0}),
        ("ddrm:sr4,steps=2,spacing=log-sigma", DDRM, {"spacing": "log-sigma", "steps": 2}),
    ],
)
def test_a_text_makes_a_method_of_the_shipped_networks(text, kind, settings):
    method = parse_method(f"mine={text}", device="cpu")
    assert isinstance(method, kind)
    assert method.name == "mine"
    assert {key: method.settings[key] for key in settings} == settings
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        output = method(ODD, 0)
    assert output.calls["denoiser"] == method.settings["steps"]
    assert output.image.shape == (1, 3, 20, 28)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ddrm:sr4,eta=2", "eta of .* is 2, but it must lie between 0 and 1"),
        ("diffpir:sr4,zeta=nan", "zeta=nan .* cannot be read as a finite number"),
        ("ddrm:sr4,steps=0", "cannot be read as a whole number"),
        ("diffpir:sr4,lambda=7", "has no setting 'lambda'"),
        ("ccdf:sr4,sigma_min=-1", "sigma_min of .* must be above 0"),
        ("ddrm:sr4,restorer=sr4", "has no setting 'restorer'"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_sentence(text, message):
    with pytest.raises(DataError, match=message):
        parse_method(text, device="cpu")


def test_what_the_denoiser_does_not_know_is_refused():
    own = {"denoiser": denoiser(levels=(0.01, 0.5))}
    with pytest.raises(SigmaRangeError, match="choose a smaller tau"):
        CCDF("CCDF", own, tau=700.0)(ODD, 0)
    with pytest.raises(ScheduleError, match="DiffPIR is to take 1000 steps"):
        DiffPIR("DiffPIR", own, steps=1000)(ODD, 0)
    assert max(DDRM("DDRM", own)._sigmas()) == pytest.approx(0.5)
    with pytest.raises(NetworkContractError, match="NaN"):
        DDRM("DDRM", {"denoiser": denoiser(lambda noisy, sigma: noisy * math.nan)})(ODD, 0)
    with pytest.raises(DataError, match="need RGB images"):
        DDRM("DDRM", own)(Observation("bursts", "0000", torch.zeros(1, 14, 4, 8, 8)), 0)


def test_without_deepinv_the_extra_is_named_before_the_first_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    monkeypatch.delitem(sys.modules, "dp_ir.evaluation.methods.deepinv_samplers")
    monkeypatch.delitem(sys.modules, "dp_ir.integrations.deepinv")
    with pytest.raises(MissingExtraError, match=r"pip install 'dp-ir\[deepinv\]'"):
        parse_method("ddrm:sr4", device="cpu")
    assert parse_method("ccdf:sr4", device="cpu").name
