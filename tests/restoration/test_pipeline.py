"""The restoration pipeline against toys whose posterior is known exactly, and its promises about seeds and calls."""

import doctest
import shutil
import warnings
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.network_file import describe
from dp_ir.diffusion.jump import jump
from dp_ir.diffusion.noise import generators
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import BundleError, DPIRError, NetworkContractError, ScheduleError, SigmaRangeError
from dp_ir.restoration import pipeline
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.seeds import image_seeds, sample_seed
from dp_ir.restoration.trained_with import UnseenPartnersWarning

MEAN, SPREAD, OBSERVATION_NOISE = 0.45, 0.06, 0.04
POSTERIOR_VARIANCE = 1 / (1 / SPREAD**2 + 1 / OBSERVATION_NOISE**2)


def gaussian_restorer(observation):
    """E[x0 | y] for x0 ~ N(MEAN, SPREAD^2) and y = x0 + OBSERVATION_NOISE eps."""
    return MEAN + SPREAD**2 / (SPREAD**2 + OBSERVATION_NOISE**2) * (observation - MEAN)


def gaussian_denoiser(noisy, sigma):
    """E[x0 | noisy] for the same prior."""
    variance = sigma[:, None, None, None] ** 2
    return (SPREAD**2 * noisy + variance * MEAN) / (SPREAD**2 + variance)


def gaussian_fusion(restored, denoised, noisy, sigma):
    """E[x0 | y, noisy] as a product of experts that uses neither `noisy` nor y, only the two estimates."""
    precision = 1 / sigma[:, None, None, None] ** 2
    weighted = restored / POSTERIOR_VARIANCE + denoised * (1 / SPREAD**2 + precision) - MEAN / SPREAD**2
    return weighted / (1 / POSTERIOR_VARIANCE + precision)


TOY = {"restorer": gaussian_restorer, "denoiser": gaussian_denoiser, "fusion": gaussian_fusion}


def toy(**changes):
    return Restoration.from_parts(**TOY, device="cpu", **changes)


class Doubler(nn.Module):
    """A restorer that can be trained, and answers differently while it is."""

    scale = 2

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, observation):
        detail = 0.1 * self.conv(F.interpolate(observation, scale_factor=2))
        return F.interpolate(observation, scale_factor=2) + detail + float(self.training)


def double(observation):
    return F.interpolate(observation, scale_factor=2)


def textured(*shape, seed=0):
    return 0.3 + 0.4 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ---- the law of the samples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "eta", "steps"), [("ddpm", None, 150), ("ddim", 0.0, 150), ("ddim", 0.5, 150), ("dpmpp-2m", None, 40)]
)
def test_samples_follow_the_exact_posterior(sampler, eta, steps):
    observation = torch.full((1, 3, 96, 96), 0.55)
    expected = gaussian_restorer(observation).mean()
    result = toy(tau=930)(observation, seed=3, sampler=sampler, eta=eta, steps=steps, sigma_min=0.002)
    values = result.image
    count = values.numel()
    deviation = POSTERIOR_VARIANCE**0.5
    assert abs(values.mean() - expected) < 4 * deviation / count**0.5 + 0.01 * deviation
    assert abs(values.std() / deviation - 1) < 0.04
    assert torch.allclose(result.restored, expected.expand_as(observation))


def test_mean_and_std_of_many_samples_are_those_of_the_posterior():
    observation = torch.full((1, 3, 24, 24), 0.5)
    result = toy(tau=930, steps=40, sampler="dpmpp-2m", sigma_min=0.002)(observation, num_samples=40)
    assert result.samples.shape == (40, 1, 3, 24, 24)
    assert torch.allclose(result.mean, result.samples.mean(0))
    assert torch.allclose(result.std, result.samples.std(0))
    # Every pixel has its own estimate of the deviation; their root mean square has an error of about 0.3 %.
    assert result.std.square().mean().sqrt() == pytest.approx(POSTERIOR_VARIANCE**0.5, rel=0.04)
    assert (result.mean - gaussian_restorer(observation)).abs().max() < 6 * POSTERIOR_VARIANCE**0.5 / 40**0.5
    assert result.nfe == {"restorer": 1, "denoiser": 1600, "fusion": 1600}


def test_sampling_starts_from_the_restorer_diffused_to_tau():
    seen = []
    observation = torch.full((1, 3, 64, 64), 0.5)
    toy(tau=300)(observation, steps=3, callback=seen.append)
    assert [(info.index, info.steps) for info in seen] == [(0, 3), (1, 3), (2, 3)]
    sigma = float(NoiseSchedule.cosine(1000).sigma(300))
    assert seen[0].sigma == pytest.approx(sigma)
    start = seen[0].noisy - gaussian_restorer(observation)
    assert float(start.std()) == pytest.approx(sigma, rel=0.03)
    assert abs(float(start.mean())) < 4 * sigma / start.numel() ** 0.5
    assert seen[0].noisy.dtype == torch.float32


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("ddpm", None), ("dpmpp-2m", None)])
def test_the_jump_is_that_of_the_sampler_even_where_the_schedule_keeps_signal_at_its_end(sampler, eta):
    schedule = NoiseSchedule.linear(1000, 1e-6, 1e-2)
    seen = []
    observation = textured(1, 3, 6, 6)
    restore = toy(schedule=schedule.to_config(), tau=600)
    restore(observation, seed=8, sampler=sampler, eta=eta, callback=seen.append)
    used = {"ddpm": 1.0, "dpmpp-2m": 0.0}.get(sampler, eta)
    expected = jump(schedule, gaussian_restorer(observation), 600, generators([8]), eta=used)
    assert torch.equal(seen[0].noisy, expected)


def test_only_the_end_is_clamped():
    seen = []
    restore = Restoration.from_parts(
        restorer=lambda y: y * 3 - 1, denoiser=gaussian_denoiser, fusion=lambda r, d, n, s: r, device="cpu"
    )
    observation = torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)])
    result = restore(observation, callback=seen.append)
    assert seen[-1].estimate.min() == -1
    assert seen[-1].estimate.max() == 2
    assert torch.equal(result.image, observation)
    assert torch.equal(result.restored, observation)


# ---- seeds, batches, samples -----------------------------------------------------------------------------------------


def test_an_image_with_a_seed_is_the_same_alone_and_in_a_batch():
    restore = toy(sampler="ddpm", eta=1.0, steps=5)
    batch = textured(3, 3, 9, 7)
    together = restore(batch, seed=[5, 6, 5]).image
    for index, seed in enumerate([5, 6, 5]):
        assert torch.equal(restore(batch[index : index + 1], seed=seed).image[0], together[index])
        assert torch.equal(restore(batch[index], seed=seed).image, together[index])
    assert torch.equal(restore(batch, seed=5).image, restore(batch, seed=[5, 5, 5]).image)
    assert not torch.equal(restore(batch, seed=5).image, restore(batch, seed=6).image)


def test_the_first_sample_is_the_only_one_and_no_two_are_alike():
    restore = toy(sampler="ddpm", eta=1.0, steps=4)
    image = textured(2, 3, 6, 6)
    one, three = restore(image, seed=9), restore(image, seed=9, num_samples=3)
    assert torch.equal(one.image, three.image)
    assert torch.equal(three.samples[0], one.image)
    assert not torch.equal(three.samples[1], three.samples[2])
    assert not torch.equal(three.samples[1], restore(image, seed=10).image)  # neighbouring seeds share no sample
    assert one.samples is None
    assert one.mean is None
    assert one.std is None


def test_seeds_of_samples_are_fixed_for_ever():
    assert [sample_seed(7, 0), sample_seed(7, 1)] == [7, 6801174921074823891]
    assert len({sample_seed(seed, index) for seed in range(50) for index in range(50)}) == 2500
    assert image_seeds(3, 2) == [3, 3]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"seed": [1, 2]}, "2 seeds for 1 images"),
        ({"seed": -1}, "seed is -1"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"num_samples": 1.5}, "num_samples is 1.5"),
    ],
)
def test_wrong_seeds_and_counts_are_named(arguments, sentence):
    with pytest.raises(DPIRError, match=sentence):
        toy()(textured(1, 3, 4, 4), **arguments)


# ---- calls, tau, settings --------------------------------------------------------------------------------------------


def test_calls_are_counted_per_network():
    restore = toy()
    assert restore(textured(2, 3, 4, 4)).nfe == {"restorer": 1, "denoiser": 8, "fusion": 8}
    assert restore(textured(2, 3, 4, 4), steps=3, num_samples=2).nfe == {"restorer": 1, "denoiser": 6, "fusion": 6}


def test_tau_0_gives_the_restorer_with_no_further_calls():
    observation = textured(1, 3, 5, 5)
    for result in (toy()(observation, tau=0), Restoration.restorer_only(gaussian_restorer, device="cpu")(observation)):
        assert torch.equal(result.image, gaussian_restorer(observation))
        assert torch.equal(result.restored, result.image)
        assert result.nfe == {"restorer": 1, "denoiser": 0, "fusion": 0}


def test_missing_networks_are_named_where_they_are_needed():
    with pytest.raises(DPIRError, match=r"denoiser and a fusion.*restorer_only"):
        Restoration.from_parts(restorer=double)
    with pytest.raises(DPIRError, match=r"needs a fusion"):
        Restoration.from_parts(restorer=double, denoiser=gaussian_denoiser)
    with pytest.raises(DPIRError, match="needs a denoiser"):
        Restoration.restorer_only(double)(textured(1, 3, 4, 4), tau=100)


def test_a_tau_beyond_the_denoiser_names_both_numbers():
    infos = {"denoiser": NetworkInfo(sigma_range=(0.01, 0.3))}
    restore = toy(infos=infos, tau=300)
    sigma = float(restore.schedule.sigma(500))
    with pytest.raises(SigmaRangeError, match=rf"{sigma:.4g}.*0\.3"):
        restore(textured(1, 3, 4, 4), tau=500)
    with pytest.raises(SigmaRangeError, match=r"0\.005.*0\.01"):
        restore(textured(1, 3, 4, 4), sigma_min=0.005)
    with pytest.raises(SigmaRangeError, match=r"choose tau <= 338 \(--tau 338\)"):
        toy(infos=infos, tau=500)


def test_the_denoiser_states_its_own_range():
    class Ranged(nn.Module):
        sigma_range = (0.0, 0.1)
        forward = staticmethod(gaussian_denoiser)

    with pytest.raises(SigmaRangeError):
        Restoration.from_parts(restorer=gaussian_restorer, denoiser=Ranged(), fusion=gaussian_fusion)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sampler": "euler"}, "'euler'.*ddpm, ddim, dpmpp-2m"),
        ({"tau": 1001}, "T = 1000"),
        ({"tau": -1}, "T = 1000"),
        ({"steps": 0}, "steps is 0"),
        ({"eta": 2.0}, "eta is 2"),
        ({"spacing": "karras"}, "karras"),
        ({"sigma_min": 5.0}, "sigma_min is 5"),
    ],
)
def test_settings_that_cannot_run_are_named(arguments, sentence):
    with pytest.raises(ScheduleError, match=sentence):
        toy()(textured(1, 3, 4, 4), **arguments)
    with pytest.raises(ScheduleError, match=sentence):
        toy(**arguments)(textured(1, 3, 4, 4))
    with pytest.raises(DPIRError, match=r"no such setting.*stepz"):
        toy(stepz=3)


def test_another_sampler_uses_its_own_eta():
    restore = toy(sampler="ddpm", eta=1.0)
    assert restore(textured(1, 3, 4, 4), sampler="dpmpp-2m").nfe["denoiser"] == 8
    deterministic = toy(sampler="ddim", eta=0.0)
    image = textured(1, 3, 4, 4)
    assert torch.equal(restore(image, sampler="ddim").image, deterministic(image).image)


# ---- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [1, 2, 5, 9])
@pytest.mark.parametrize("width", [1, 3, 4, 9])
def test_any_size_works_with_the_networks_of_this_package(height, width):
    restore = Restoration.from_parts(**small_networks(), device="cpu", precision="float32", steps=1)
    result = restore(textured(1, 3, height, width))
    assert result.image.shape == (1, 3, 4 * height, 4 * width)
    assert torch.isfinite(result.image).all()


def test_training_mode_and_gradients_are_left_as_they_were():
    restorer = Doubler().train()
    restorer.conv.eval()  # as a trainer does with a frozen part
    restore = Restoration.from_parts(restorer=restorer, tau=0, device="cpu")
    image = torch.full((1, 3, 4, 4), 0.2)
    assert restore(image).image.max() < 0.9
    assert restorer.training
    assert not restorer.conv.training
    assert all(parameter.requires_grad for parameter in restorer.parameters())
    result = restore(image).image
    (restorer(image) * result).sum().backward()  # an inference tensor could not be saved for backward


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"restorer": lambda y: y[..., :-1]}, r"restorer returned \(1, 3, 4, 3\)"),
        ({"restorer": lambda y: (y, y)}, "restorer returned a tuple"),
        ({"restorer": lambda y: y[:, :1]}, r"restorer returned \(1, 1, 4, 4\)"),
        ({"restorer": lambda y: y * float("nan")}, "restorer returned NaN"),
        ({"denoiser": lambda n, s: double(n)}, r"denoiser returned \(1, 3, 8, 8\).*expected \(1, 3, 4, 4\)"),
        ({"denoiser": lambda n, s: n / 0}, "denoiser returned NaN or infinity"),
        ({"fusion": lambda r, d, n, s: (d * 255).to(torch.uint8)}, "fusion returned .*uint8"),
        ({"fusion": lambda r, d, n, s: d.mean()}, r"fusion returned \(\)"),
    ],
)
def test_networks_that_break_their_contract_are_named(parts, sentence):
    restore = Restoration.from_parts(**{**TOY, **parts}, device="cpu")
    with pytest.raises(NetworkContractError, match=sentence):
        restore(textured(1, 3, 4, 4))


def small_networks(seed=0):
    torch.manual_seed(seed)
    networks = {
        "restorer": build("fast-sr", {"channels": 8, "blocks": 1}),
        "denoiser": build("unet-denoiser", {"channels": [8, 16], "blocks": [1, 1], "encoding": 8}),
        "fusion": build("fast-fusion", {"channels": [8, 16], "blocks": [1, 1, 1], "encoding": 8}),
    }
    with torch.no_grad():
        for network in networks.values():
            network.head.weight.normal_(std=0.05)
    return networks


def test_a_saved_restoration_gives_bit_equal_results(tmp_path):
    networks = small_networks()
    image = textured(1, 3, 6, 5)
    restore = Restoration.from_parts(**networks, device="cpu", precision="float32", task="sr4", tau=350, steps=3)
    restore.save_pretrained(tmp_path / "sr")
    again = Restoration.from_pretrained(tmp_path / "sr", device="cpu", precision="float32")
    assert again.settings == restore.settings
    assert torch.equal(again(image, seed=4).image, restore(image, seed=4).image)
    with torch.no_grad():
        networks["fusion"].head.bias += 0.1
    restore.save_pretrained(tmp_path / "sr")  # identities are those of the weights as they are now
    Restoration.from_pretrained(tmp_path / "sr", device="cpu")


def test_what_is_pushed_to_the_hub_is_the_bundle(tmp_path, monkeypatch):
    made = []

    def upload(*, repo_id, folder_path):
        shutil.copytree(folder_path, tmp_path / repo_id)
        return f"https://hub/{repo_id}"

    monkeypatch.setattr("huggingface_hub.create_repo", lambda name, **options: made.append((name, options)))
    monkeypatch.setattr("huggingface_hub.upload_folder", upload)
    restore = Restoration.from_parts(**small_networks(), device="cpu", precision="float32", steps=1)
    assert restore.push_to_hub("owner/name", private=True) == "https://hub/owner/name"
    assert made == [("owner/name", {"private": True, "exist_ok": True})]
    image = textured(1, 3, 6, 5)
    again = Restoration.from_pretrained(tmp_path / "owner/name", device="cpu", precision="float32")
    assert torch.equal(again(image).image, restore(image).image)
    monkeypatch.setattr("huggingface_hub.upload_folder", lambda **_: (_ for _ in ()).throw(OSError("401")))
    with pytest.raises(BundleError, match="did not take owner/name"):
        restore.push_to_hub("owner/name")


def test_a_restoration_moves_and_says_where_it_is():
    restore = Restoration.from_parts(**small_networks(), device="cpu", precision="float32", steps=1)
    image = textured(1, 3, 6, 5)
    before = restore(image).image
    assert restore.to("cpu") is restore
    assert torch.equal(restore(image).image, before)
    restore.to("meta")
    assert restore.device.type == "meta"
    assert {network.device.type for network in restore.networks.values()} == {"meta"}
    weights = [weight for network in restore.networks.values() for weight in network.parameters()]
    assert {weight.device.type for weight in weights} == {"meta"}


def test_foreign_networks_cannot_be_saved(tmp_path):
    restore = Restoration.from_parts(**{**small_networks(), "restorer": double}, device="cpu")
    with pytest.raises(BundleError, match="The restorer cannot be saved"):
        restore.save_pretrained(tmp_path / "sr")
    assert not (tmp_path / "sr").exists()


def test_a_fusion_says_so_when_it_meets_others_than_its_partners(tmp_path):
    networks = small_networks()
    partners = {f"{kind}_sha256": describe(networks[kind], kind=kind).sha256 for kind in ("restorer", "denoiser")}
    fusion_record = describe(networks["fusion"], kind="fusion", card={"partners": partners})
    records = {"fusion": fusion_record}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = Restoration.from_parts(**networks, records=records, device="cpu", precision="float32")
        own.save_pretrained(tmp_path / "own")
        Restoration.from_pretrained(tmp_path / "own", device="cpu")
        Restoration.from_parts(**networks, device="cpu")  # what it was trained with is not known
    other = small_networks(seed=1)
    mixed = {**networks, "denoiser": other["denoiser"]}
    with pytest.warns(UnseenPartnersWarning, match=rf"denoiser {partners['denoiser_sha256'][:12]}") as caught:
        restore = Restoration.from_parts(**mixed, records=records, device="cpu", precision="float32")
    assert caught[0].filename == __file__
    assert "restorer" not in str(caught[0].message)
    image = textured(1, 3, 4, 4)
    assert not torch.equal(restore(image).image, own(image).image)
    restore.save_pretrained(tmp_path / "mixed")
    with pytest.warns(UnseenPartnersWarning, match="denoiser"):
        Restoration.from_pretrained(tmp_path / "mixed", device="cpu")
    with pytest.warns(UnseenPartnersWarning, match="without a record"):
        Restoration.from_parts(**{**networks, "restorer": double}, records=records, device="cpu")


def test_a_bundle_whose_tau_its_denoiser_never_saw_is_refused_on_reading(tmp_path):
    restore = Restoration.from_parts(**small_networks(), device="cpu")
    restore.settings = replace(restore.settings, tau=990)
    restore.save_pretrained(tmp_path / "sr")
    with pytest.raises(SigmaRangeError, match="tau = 990"):
        Restoration.from_pretrained(tmp_path / "sr")


def test_the_example_in_the_documentation_runs():
    assert doctest.testmod(pipeline, raise_on_error=False).failed == 0
