"""diffusers is an optional dependency: as an independent oracle for our samplers, and through our adapter."""

import math
import subprocess
import sys

import pytest
import torch
from exact_priors import GAUSSIAN, TWO_GAUSSIANS, image_of

from dp_ir.diffusion import NoiseSchedule, ddim, ddpm, dpmpp_2m, generators
from dp_ir.errors import MissingExtraError, ScheduleError, UnsupportedSchedulerError
from dp_ir.integrations.diffusers_sampler import SUPPORTED, diffusers_sampler

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # diffusers and NumPy 2, not ours
    pytest.mark.filterwarnings("ignore:.*algorithm_type:FutureWarning"),
]

SCHEDULE = NoiseSchedule.cosine()
PLAIN = {"prediction_type": "sample", "timestep_spacing": "trailing"}


def test_importing_the_package_does_not_import_diffusers():
    code = "import sys, dp_ir.diffusion, dp_ir.integrations.diffusers_sampler; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def run_theirs(scheduler, x, steps, seeds, **options):
    """The loop of the diffusers documentation, on the VP process of images in [-1, 1]."""
    schedule = schedule_of(scheduler)
    scheduler.set_timesteps(steps)
    if seeds is not None:
        options["generator"] = generators(seeds)
    for t in scheduler.timesteps:
        k = int(t) + 1
        clean = TWO_GAUSSIANS.estimate(schedule.vp_to_noisy(x, k), schedule.sigma(k).float().expand(len(x)))
        x = scheduler.step(2 * (clean - 0.5), t, x, **options).prev_sample
    return schedule.vp_to_noisy(x, 0), [*(int(t) + 1 for t in scheduler.timesteps), 0]


def schedule_of(scheduler):
    return NoiseSchedule(torch.cat([torch.ones(1), scheduler.alphas_cumprod]).double())


@pytest.mark.parametrize("steps", [8, 20, 100])
@pytest.mark.parametrize(
    ("make", "seeds", "ours", "eta"),
    [
        (lambda: diffusers.DDPMScheduler(clip_sample=False, **PLAIN), [1, 2], ddpm, None),
        (lambda: diffusers.DDIMScheduler(clip_sample=False, **PLAIN), [1, 2], ddim, 0.0),
        (lambda: diffusers.DDIMScheduler(clip_sample=False, **PLAIN), [1, 2], ddim, 0.5),
        (lambda: diffusers.DDIMScheduler(clip_sample=False, **PLAIN), [1, 2], ddim, 1.0),
        (lambda: diffusers.DPMSolverMultistepScheduler(**PLAIN), None, dpmpp_2m, None),
    ],
    ids=["ddpm", "ddim-0", "ddim-0.5", "ddim-1", "dpmpp-2m"],
)
def test_our_samplers_give_what_the_library_gives_on_its_own_schedule(make, seeds, ours, eta, steps):
    if steps == 8 and ours is not dpmpp_2m:
        steps = 10  # their DDIM steps by T // steps, which must divide T
    scheduler = make()
    x_T = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    theirs, visited = run_theirs(scheduler, x_T, steps, seeds, **({"eta": eta} if eta is not None else {}))
    schedule = schedule_of(scheduler)
    sampled = ours(
        TWO_GAUSSIANS.estimate,
        schedule.vp_to_noisy(x_T, 1000),
        schedule.sigma(torch.tensor(visited)),
        generators=None if seeds is None else generators(seeds),
        eta=eta,
    )
    assert visited[0] == 1000
    torch.testing.assert_close(sampled, theirs, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_supported_scheduler_recovers_a_gaussian_from_tau(name):
    generator = torch.Generator().manual_seed(0)
    sigmas = SCHEDULE.sigma_grid(400, 25, sigma_min=0.01)
    clean = GAUSSIAN.draw(60_000, generator)
    noise = torch.randn(60_000, generator=generator)
    noisy = image_of((clean + float(sigmas[0]) * noise).float())
    sampled = diffusers_sampler(name)(GAUSSIAN.estimate, noisy, sigmas, generators=generators([1]))
    assert sampled.shape == noisy.shape
    assert float(sampled.mean()) == pytest.approx(GAUSSIAN.mean, abs=0.004)
    assert float(sampled.std()) == pytest.approx(GAUSSIAN.std, rel=0.1 if name == "DDPMScheduler" else 0.05)


@pytest.mark.parametrize("name", [name for name in SUPPORTED if name != "LMSDiscreteScheduler"])
def test_the_step_to_zero_ends_on_the_last_estimate(name):
    """Whatever its order, a solver has only the last estimate at sigma = 0; LMS alone extrapolates there too."""
    last = []
    sampled = diffusers_sampler(name)(
        TWO_GAUSSIANS.estimate,
        0.5 + 0.4 * torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)),
        SCHEDULE.sigma_grid(300, 6, sigma_min=0.1),
        generators=generators([1]),
        callback=lambda info: last.append(info.estimate),
    )
    torch.testing.assert_close(sampled, last[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spacing", ["log-sigma", "uniform-t"])
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
@pytest.mark.parametrize(
    ("name", "ours", "eta"),
    [
        ("DDPMScheduler", ddpm, None),
        ("DDIMScheduler", ddim, None),
        ("DDIMScheduler", ddim, 0.7),
        ("DPMSolverMultistepScheduler", dpmpp_2m, None),
        ("EulerDiscreteScheduler", ddim, None),  # Euler's method in sigma is DDIM(0)
    ],
)
def test_on_the_same_grid_the_adapter_gives_what_our_samplers_give(name, ours, eta, steps, spacing):
    sigmas = SCHEDULE.sigma_grid(333, steps, spacing)
    noisy = 0.5 + 0.4 * torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    seen = {"ours": [], "theirs": []}
    theirs = diffusers_sampler(name)(
        TWO_GAUSSIANS.estimate, noisy, sigmas, generators=generators([1, 2]), eta=eta, callback=seen["theirs"].append
    )
    expected = ours(
        TWO_GAUSSIANS.estimate, noisy, sigmas, generators=generators([1, 2]), eta=eta, callback=seen["ours"].append
    )
    torch.testing.assert_close(theirs, expected, rtol=1e-3, atol=5e-4)
    assert [(i.index, i.steps, i.sigma) for i in seen["theirs"]] == [(i.index, i.steps, i.sigma) for i in seen["ours"]]
    for mine, other in zip(seen["ours"], seen["theirs"], strict=True):
        torch.testing.assert_close(other.noisy, mine.noisy, rtol=1e-3, atol=5e-4)


@pytest.mark.parametrize("name", ["DDPMScheduler", "SASolverScheduler", "DPMSolverMultistepScheduler"])
def test_an_image_alone_is_the_image_in_a_batch(name):
    sampler, sigmas = diffusers_sampler(name), SCHEDULE.sigma_grid(300, 5)
    noisy = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    batch = sampler(GAUSSIAN.estimate, noisy, sigmas, generators=generators([1, 2]))
    alone = sampler(GAUSSIAN.estimate, noisy[1:], sigmas, generators=generators([2]))
    torch.testing.assert_close(alone, batch[1:], rtol=1e-5, atol=1e-6)


def test_second_order_schedulers_call_twice_per_level_but_the_last():
    levels = []
    diffusers_sampler("HeunDiscreteScheduler")(
        GAUSSIAN.estimate,
        torch.rand(1, 3, 4, 4),
        sigmas := SCHEDULE.sigma_grid(300, 4),
        generators=generators([1]),
        callback=lambda info: levels.append(info.sigma),
    )
    assert levels == [float(sigmas[i]) for i in (0, 1, 1, 2, 2, 3, 3)]


def test_solver_settings_are_kept_and_the_scheduler_is_not_changed():
    sigmas, noisy = SCHEDULE.sigma_grid(400, 8), torch.randn(1, 3, 6, 6)
    first = diffusers.DPMSolverMultistepScheduler(solver_order=1, use_karras_sigmas=True, thresholding=True)
    before = dict(first.config)
    sampled = diffusers_sampler(first)(TWO_GAUSSIANS.estimate, noisy, sigmas, generators=generators([1]))
    torch.testing.assert_close(sampled, ddim(TWO_GAUSSIANS.estimate, noisy, sigmas), rtol=1e-3, atol=5e-4)
    assert dict(first.config) == before


def test_clipping_is_off_although_the_library_has_it_on():
    bright = diffusers_sampler(diffusers.DDIMScheduler(clip_sample=True))(
        lambda noisy, sigma: torch.full_like(noisy, 1.6),
        torch.ones(1, 3, 4, 4),
        SCHEDULE.sigma_grid(300, 4),
        generators=generators([1]),
    )
    torch.testing.assert_close(bright, torch.full_like(bright, 1.6), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: diffusers.EDMEulerScheduler(), "preconditioning"),
        (lambda: diffusers.EDMDPMSolverMultistepScheduler(), "preconditioning"),
        (lambda: diffusers.EulerAncestralDiscreteScheduler(), "prediction type 'sample'"),
        (lambda: diffusers.KDPM2DiscreteScheduler(), "prediction type 'sample'"),
        (lambda: diffusers.KDPM2AncestralDiscreteScheduler(), "prediction type 'sample'"),
        (lambda: diffusers.PNDMScheduler(), "predictions of the noise"),
        (lambda: diffusers.IPNDMScheduler(), "predictions of the noise"),
        (lambda: diffusers.FlowMatchEulerDiscreteScheduler(), "rectified flow"),
        (lambda: diffusers.LCMScheduler(), "consistency"),
        (lambda: diffusers.TCDScheduler(), "consistency"),
        (lambda: diffusers.DDIMInverseScheduler(), "from image to noise"),
        (lambda: diffusers.UnCLIPScheduler(), "not among the schedulers known"),
        (lambda: diffusers.DDPMScheduler(variance_type="learned_range"), "a network must predict"),
        (lambda: "KarrasVeScheduler", "not among the schedulers known"),
        (lambda: "DPMSolverSDEScheduler", "prediction type 'sample'"),
        (lambda: None, "not among the schedulers known"),
    ],
)
def test_schedulers_that_cannot_are_refused_with_the_reason(make, reason):
    with pytest.raises(UnsupportedSchedulerError, match=reason) as caught:
        diffusers_sampler(make())
    assert str(caught.value).endswith(".")
    assert "use" in str(caught.value)


@pytest.mark.parametrize("name", ["EulerAncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "PNDMScheduler"])
def test_the_refused_ones_do_fail_in_the_library_itself(name):
    """The reasons given are facts about the library, not habits of ours."""

    def run():
        x, scheduler = torch.zeros(1, 3, 4, 4), getattr(diffusers, name)(prediction_type="sample")
        scheduler.set_timesteps(4)
        scheduler.scale_model_input(x, scheduler.timesteps[0])
        for t in scheduler.timesteps:
            scheduler.step(x, t, x)

    with pytest.raises((NotImplementedError, ValueError)):
        run()


def sample_with(scheduler, sigmas, batch=1, **options):
    return diffusers_sampler(scheduler)(
        GAUSSIAN.estimate,
        torch.zeros(batch, 3, 4, 4),
        torch.as_tensor(sigmas),
        **{"generators": generators([1]), **options},
    )


def test_settings_that_do_not_fit_the_grid_are_named():
    old = diffusers.DPMSolverMultistepScheduler(algorithm_type="dpmsolver", final_sigmas_type="sigma_min")
    with pytest.raises(UnsupportedSchedulerError, match="final_sigmas_type"):
        sample_with(old, [0.4, 0.1, 0.0])
    with pytest.raises(UnsupportedSchedulerError, match="float32"):
        sample_with("DDIMScheduler", [1e4, 1e-3, 0.0])


def test_bad_input_gives_a_named_error():
    for wrong in (
        lambda: sample_with("DDIMScheduler", [0.4, 0.1]),
        lambda: sample_with("DDIMScheduler", [0.1, 0.4, 0.0]),
        lambda: sample_with("DDIMScheduler", [0.4, 0.0], generators=None),
        lambda: sample_with("DDIMScheduler", [0.4, 0.0], batch=2),
        lambda: sample_with("DDIMScheduler", [0.4, 0.0], eta=-1.0),
        lambda: sample_with("DDIMScheduler", [0.4, 0.0], eta=math.nan),
        lambda: sample_with("DDPMScheduler", [0.4, 0.0], eta=0.5),
    ):
        with pytest.raises(ScheduleError):
            wrong()


def test_a_name_without_the_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtraError, match=r"dp-ir\[diffusers\]"):
        diffusers_sampler("DDIMScheduler")
