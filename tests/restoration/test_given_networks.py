"""Replacing the networks of a bundle: by files, bundles, modules and functions."""

import warnings

import pytest
import torch
from torch import nn

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.bundle import BundleSettings
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.checkpoints.network_file import save_network
from dp_ir.errors import CheckpointError, DPIRError, NetworkContractError, SigmaRangeError
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.trained_with import UnseenPartnersWarning

SMALL = {
    "restorer": ("fast-sr", {"channels": 8, "blocks": 1}),
    "denoiser": ("unet-denoiser", {"channels": [8, 16], "blocks": [1, 1], "encoding": 8, "sigma_range": [0.005, 1.0]}),
    "fusion": ("fast-fusion", {"channels": [8, 16], "blocks": [1, 1, 1], "encoding": 8}),
}
SETTINGS = {"sampler": "ddim", "steps": 2, "tau": 300}
OBSERVATION = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))


def small(kind, seed=0):
    torch.manual_seed(seed)
    return build(*SMALL[kind]).eval()


def double(observation):
    return observation.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.fixture
def files(tmp_path):
    """A network file of each kind; the fusion says that it was trained with the other two."""
    paths, partners = {}, {}
    for kind in SMALL:
        paths[kind] = tmp_path / f"{kind}.safetensors"
        card = {"partners": partners} if kind == "fusion" else {}
        record = save_network(paths[kind], small(kind), kind=kind, card=card)
        partners[f"{kind}_sha256"] = record.sha256
    return paths


@pytest.mark.filterwarnings("ignore::dp_ir.checkpoints.units.probe.ProbeWarning")
def test_parts_may_be_files_and_give_what_the_modules_give(files):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnseenPartnersWarning)
        loaded = Restoration.from_parts(**files, **SETTINGS, device="cpu", precision="float32")
    modules = {kind: small(kind) for kind in SMALL}
    expected = Restoration.from_parts(**modules, **SETTINGS, device="cpu", precision="float32")
    assert torch.equal(loaded(OBSERVATION).image, expected(OBSERVATION).image)
    assert set(loaded.partners) >= {"restorer_sha256", "denoiser_sha256"}


def test_a_part_of_a_bundle_is_replaced_and_the_fusion_says_so():
    with pytest.warns(UnseenPartnersWarning, match="restorer"):
        replaced = Restoration.from_pretrained("sr4", restorer=double, steps=1, device="cpu")
    result = replaced(OBSERVATION)
    assert torch.equal(result.restored, double(OBSERVATION))
    assert result.image.shape == (1, 3, 12, 14)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnseenPartnersWarning)
        Restoration.from_pretrained("sr4", restorer="sr4", denoiser="sr4", device="cpu")


def test_a_network_with_its_info_keeps_it_in_the_pipeline():
    seen = []
    restorer = load_restorer(lambda y: seen.append(y) or double(y), value_range=(0, 255), scale=2, probe=False)
    assert torch.allclose(Restoration.restorer_only(restorer, device="cpu")(OBSERVATION).image, double(OBSERVATION))
    assert torch.allclose(seen[0], OBSERVATION * 255)
    stated = NetworkInfo(scale=2)
    Restoration.from_parts(restorer=restorer, infos={"restorer": stated}, tau=0, device="cpu")(OBSERVATION)
    assert torch.equal(seen[1], OBSERVATION)


@pytest.mark.filterwarnings("ignore::dp_ir.checkpoints.units.probe.ProbeWarning")
def test_a_bundle_without_a_restorer_needs_one(tmp_path, files):
    whole = Restoration.from_parts(**files, **SETTINGS, device="cpu")
    whole.save_pretrained(tmp_path / "whole")
    (tmp_path / "part").mkdir()
    part = tmp_path / "part"
    whole.save_pretrained(part, without=["restorer"])
    assert not (part / "restorer.safetensors").exists()
    with pytest.raises(DPIRError, match="needs a restorer, and there is only a denoiser and a fusion"):
        Restoration.from_pretrained(part, device="cpu")
    again = Restoration.from_pretrained(part, restorer=files["restorer"], device="cpu", precision="float32")
    first = Restoration.from_pretrained(tmp_path / "whole", device="cpu", precision="float32")
    assert torch.equal(again(OBSERVATION).image, first(OBSERVATION).image)


def test_settings_of_a_bundle_can_be_changed_before_they_are_checked():
    def narrow(noisy, sigma):
        return noisy

    narrow.sigma_range = (0.0, 75 / 255)
    with pytest.raises(SigmaRangeError, match=r"0\.5.*0\.294"):
        Restoration.from_pretrained("sr4", denoiser=narrow, device="cpu")
    with pytest.warns(UnseenPartnersWarning):
        assert Restoration.from_pretrained("sr4", denoiser=narrow, tau=300, device="cpu").settings.tau == 300
    with pytest.raises(DPIRError, match="no such setting"):
        Restoration.from_pretrained("sr4", taus=3, device="cpu")


def test_a_fusion_file_of_another_kind_is_refused(files):
    with pytest.raises(CheckpointError, match="holds a denoiser: expected a fusion"):
        Restoration.from_pretrained("sr4", fusion=files["denoiser"], device="cpu")


def test_saving_an_own_module_names_what_cannot_be_saved(tmp_path):
    restore = Restoration.from_parts(restorer=nn.Identity(), tau=0, device="cpu")
    with pytest.raises(DPIRError, match="restorer cannot be saved"):
        restore.save_pretrained(tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert isinstance(restore.settings, BundleSettings)


def test_measured_quality_is_that_of_the_bundle_as_it_is():
    assert Restoration.from_pretrained("photo", device="cpu").settings.quality
    changed = Restoration.from_pretrained("photo", tau=300, device="cpu").settings
    assert (changed.quality, changed.licence) == ({}, "Apache-2.0")
    with pytest.warns(UnseenPartnersWarning):
        replaced = Restoration.from_pretrained("photo", restorer=double, device="cpu").settings
    assert (replaced.quality, replaced.licence) == ({}, "")


def test_a_fusion_runs_at_the_noise_levels_it_was_trained_for():
    parts = {kind: small(kind) for kind in SMALL}
    infos = {"fusion": NetworkInfo(sigma_range=(0.01, 0.1))}
    with pytest.raises(SigmaRangeError, match=r"0\.2\d+, but the fusion was trained for levels up to 0\.1"):
        Restoration.from_parts(**parts, **SETTINGS, infos=infos, device="cpu")


def test_networks_for_grey_images_are_refused_before_any_image():
    with pytest.raises(NetworkContractError, match="denoiser takes images of 1 channel"):
        Restoration.from_pretrained(
            "sr4", denoiser=load_denoiser(lambda noisy, sigma: noisy, channels=1, probe=False), device="cpu"
        )


def test_the_fusion_of_another_bundle_may_be_used_and_foreign_weights_may_not(tmp_path):
    again = Restoration.from_pretrained("sr4", fusion="sr4", device="cpu")
    assert (
        again.networks["fusion"].record.sha256
        == Restoration.from_pretrained("sr4", device="cpu").networks["fusion"].record.sha256
    )
    torch.save(build("rlfn", {"channels": 8, "attention_channels": 4, "blocks": 1}).state_dict(), tmp_path / "rlfn.pth")
    with pytest.raises(CheckpointError, match="holds rlfn: expected a fusion network"):
        Restoration.from_pretrained("sr4", fusion=tmp_path / "rlfn.pth", device="cpu")
