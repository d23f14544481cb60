"""Our restorations and denoisers inside deepinv, and deepinv's models inside our pipeline; all weights are random."""

import importlib
import sys

import deepinv
import pytest
import torch
from deepinv.models import DnCNN, DRUNet, FFDNet, GSDRUNet

from conftest import random_weights, tiny_restoration
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import DPIRError, MissingExtraError, NetworkContractError, SigmaRangeError
from dp_ir.integrations.deepinv import as_denoiser, as_reconstructor, denoiser_from_deepinv, restorer_from_deepinv
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration

CLEAN = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
SIGMAS = torch.tensor([0.1, 0.2])
MODELS = {
    "DnCNN": lambda: DnCNN(depth=3, nf=8, pretrained=None),  # takes sigma and ignores it
    "DRUNet": lambda: DRUNet(nc=(8, 8, 8, 8), nb=1, pretrained=None),
    "GSDRUNet": lambda: GSDRUNet(nc=(8, 8, 8, 8), nb=1, pretrained=None),  # differentiates in its forward
}


def model(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODELS[name]().eval()


@pytest.fixture(scope="module")
def restoration():
    return tiny_restoration()


@pytest.fixture(scope="module")
def fourfold():
    return deepinv.physics.Downsampling(img_size=(3, 32, 32), factor=4, filter="bicubic", device="cpu")


@pytest.fixture(scope="module")
def denoising():
    return deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1))


@pytest.fixture
def denoiser():
    return random_weights(UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8, sigma_range=(0.01, 0.5))).eval()


def test_a_reconstructor_gives_what_the_restoration_gives(restoration, fourfold):
    y = fourfold(CLEAN)
    model = as_reconstructor(restoration, seed=5)
    assert isinstance(model, deepinv.models.Reconstructor)
    torch.testing.assert_close(model(y, fourfold), restoration(y, seed=5).image, rtol=0, atol=0)
    torch.testing.assert_close(model(y, seed=6, tau=0), restoration(y, seed=6, tau=0).image, rtol=0, atol=0)
    half = as_reconstructor(restoration, seed=5, detail=0.5)
    torch.testing.assert_close(half(y, fourfold), restoration(y, seed=5, detail=0.5).image, rtol=0, atol=0)
    assert not model(y, fourfold).requires_grad
    assert list(model.parameters()) == []


def test_deepinv_measures_a_reconstructor(restoration, fourfold):
    y = fourfold(CLEAN)
    pairs = torch.utils.data.DataLoader([{"x": clean, "y": low} for clean, low in zip(CLEAN, y, strict=True)], 2)
    measured = deepinv.test(
        as_reconstructor(restoration),
        pairs,
        fourfold,
        metrics=[deepinv.metric.PSNR()],
        device="cpu",
        non_blocking_transfers=False,
        show_progress_bar=False,
        verbose=False,
    )
    expected = deepinv.metric.PSNR()(restoration(y).image, CLEAN).mean()
    assert measured["PSNR"] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(
    "sigma",
    [0.2, torch.tensor(0.2), torch.tensor([0.2]), torch.tensor([0.2, 0.2]), torch.full((2, 1, 1, 1), 0.2), [0.2, 0.2]],
    ids=["float", "0-dim", "(1,)", "(B,)", "(B, 1, 1, 1)", "list"],
)
def test_a_denoiser_takes_every_form_of_noise_level(denoiser, sigma):
    model = as_denoiser(denoiser)
    assert isinstance(model, deepinv.models.Denoiser)
    expected = LoadedNetwork("denoiser", denoiser)(CLEAN, torch.full((2,), 0.2))
    torch.testing.assert_close(model(CLEAN, sigma), expected, rtol=0, atol=0)


def test_a_denoiser_takes_whole_numbers_functions_and_bundles():
    scaled = as_denoiser(lambda noisy, sigma: noisy * sigma[:, None, None, None])
    torch.testing.assert_close(scaled(CLEAN, 1), CLEAN, rtol=0, atol=0)
    torch.testing.assert_close(scaled(CLEAN, SIGMAS), CLEAN * SIGMAS[:, None, None, None], rtol=0, atol=0)
    assert scaled(CLEAN.double(), 0.5).dtype == torch.float64
    assert as_denoiser("sr4")(CLEAN, 0.1).shape == CLEAN.shape


def test_a_denoiser_refuses_what_it_was_not_trained_for(denoiser):
    with pytest.raises(SigmaRangeError, match=r"0\.6 to 0\.6, but .* 0\.01 to 0\.5"):
        as_denoiser(denoiser)(CLEAN, 0.6)
    with pytest.raises(SigmaRangeError, match=r"0\.005"):
        as_denoiser(denoiser)(CLEAN, torch.tensor([0.1, 0.005]))
    assert as_denoiser(denoiser, check_range=False)(CLEAN, 0.6).shape == CLEAN.shape
    with pytest.raises(DPIRError, match="3 noise levels for 2 images"):
        as_denoiser(denoiser)(CLEAN, [0.1, 0.2, 0.3])


def test_a_denoiser_is_differentiable_and_trainable(denoiser):
    noisy = CLEAN.clone().requires_grad_()
    model = as_denoiser(denoiser)
    model(noisy, 0.1).sum().backward()
    assert noisy.grad.abs().sum() > 0
    assert {id(parameter) for parameter in model.parameters()} == {id(parameter) for parameter in denoiser.parameters()}


@pytest.mark.parametrize("algorithm", ["PGD", "HQS", "DRS"])
def test_plug_and_play_runs_on_our_denoiser(denoiser, denoising, algorithm):
    model = getattr(deepinv.optim, algorithm)(
        prior=deepinv.optim.prior.PnP(denoiser=as_denoiser(denoiser)),
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        max_iter=3,
        stepsize=1.0,
        sigma_denoiser=0.05,
    )
    with torch.no_grad():
        restored = model(denoising(CLEAN), denoising)
    assert restored.shape == CLEAN.shape
    assert restored.isfinite().all()


def test_one_step_of_half_quadratic_splitting_in_closed_form(denoiser, denoising):
    """For L2 and A = I the data term's prox is the mean, so x1 = D(prox(x0))."""
    y = denoising(CLEAN)
    prior = as_denoiser(denoiser)
    model = deepinv.optim.HQS(
        prior=deepinv.optim.prior.PnP(denoiser=prior),
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        max_iter=1,
        stepsize=1.0,
        sigma_denoiser=0.05,
    )
    with torch.no_grad():
        torch.testing.assert_close(model(y, denoising, init=CLEAN), prior((CLEAN + y) / 2, 0.05))


def test_posterior_sampling_runs_on_our_denoiser(denoiser, denoising):
    """DPS differentiates through the denoiser; the process stays within the levels that it was trained for."""
    prior = as_denoiser(denoiser)
    sampler = deepinv.sampling.PosteriorDiffusion(
        data_fidelity=deepinv.sampling.DPSDataFidelity(denoiser=prior),
        denoiser=prior,
        sde=deepinv.sampling.VarianceExplodingDiffusion(sigma_max=0.5, sigma_min=0.02),
        solver=deepinv.sampling.EulerSolver(timesteps=torch.linspace(1, 0.1, 4)),
    )
    sample = sampler(denoising(CLEAN), denoising)
    assert sample.shape == CLEAN.shape
    assert sample.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
def test_deepinv_denoisers_run_in_our_pipeline(restoration, name):
    theirs = denoiser_from_deepinv(model(name), sigma_range=(0.02, 0.5))
    mixed = Restoration.from_parts(
        restorer=restoration.networks["restorer"],
        denoiser=theirs,
        fusion=restoration.networks["fusion"],
        tau=300,
        steps=2,
        sigma_min=0.05,
        device="cpu",
        precision="float32",
    )
    y = CLEAN[..., :5, :7]
    result = mixed(y, seed=1)
    assert result.image.shape == (2, 3, 20, 28)
    torch.testing.assert_close(mixed(y[1:], seed=1).image, result.image[1:], rtol=0, atol=1e-4)
    with pytest.raises(SigmaRangeError, match=r"up to 0\.5"):
        mixed(y, tau=900)


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back_is_the_same_denoiser(name):
    theirs = model(name)
    back = as_denoiser(denoiser_from_deepinv(theirs))
    with torch.no_grad():
        expected = theirs(CLEAN.contiguous(memory_format=torch.channels_last), SIGMAS)
        torch.testing.assert_close(back(CLEAN, SIGMAS), expected, rtol=0, atol=0)
        torch.testing.assert_close(back(CLEAN, SIGMAS), theirs(CLEAN, SIGMAS), rtol=1e-5, atol=1e-5)


def test_facts_of_a_deepinv_denoiser():
    odd = CLEAN[..., :13, :15]
    model = FFDNet(n_conv_layers=3, nf=8, img_channels=3, pretrained=None).eval()
    with pytest.raises(ValueError, match="divisible by 2"):
        denoiser_from_deepinv(model)(odd, SIGMAS)
    padded = denoiser_from_deepinv(model, multiple_of=2, sigma_range=(0.0, 0.3))
    assert padded(odd, SIGMAS).shape == odd.shape
    assert padded.info == NetworkInfo(scale=1, multiple_of=2, sigma_range=(0.0, 0.3))
    with pytest.raises(NetworkContractError, match="sigma_limit"):
        denoiser_from_deepinv(model, sigma_limit=1)


def test_deepinv_reconstructors_run_in_our_pipeline(restoration, fourfold, denoiser):
    theirs = deepinv.optim.PGD(
        prior=deepinv.optim.prior.PnP(denoiser=deepinv.models.MedianFilter()),
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        max_iter=2,
        stepsize=1.0,
    )
    restorer = restorer_from_deepinv(theirs, fourfold, scale=4)
    y = fourfold(CLEAN)
    with torch.no_grad():
        expected = theirs(y, fourfold).clamp(0, 1)
    torch.testing.assert_close(Restoration.restorer_only(restorer, device="cpu")(y).image, expected)
    whole = Restoration.from_parts(
        restorer=restorer, denoiser=denoiser, fusion=restoration.networks["fusion"], tau=300, sigma_min=0.05
    )
    torch.testing.assert_close(whole(y).restored, expected)
    assert whole(y).image.shape == CLEAN.shape


def test_without_deepinv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    monkeypatch.delitem(sys.modules, "dp_ir.integrations.deepinv")
    with pytest.raises(MissingExtraError, match=r"needs the package 'deepinv'.*pip install 'dp-ir\[deepinv\]'\.$"):
        importlib.import_module("dp_ir.integrations.deepinv")
