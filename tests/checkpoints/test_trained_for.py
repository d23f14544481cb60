"""What a fusion's card says of the sampler calls it was trained through, in values and in words."""

import pytest
import torch
from small_networks import OWN

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.bundle import Bundle, BundleSettings, bundle_record, write_bundle
from dp_ir.checkpoints.loading import find_record
from dp_ir.checkpoints.network_file import NetworkRecord, describe, save_network
from dp_ir.checkpoints.trained_for import chain_settings, trained_for
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import BundleError, CheckpointError, ScheduleError
from dp_ir.sampling_settings import CHAIN_SETTINGS, SETTINGS, SettingChanges

SCHEDULE = NoiseSchedule.cosine(1000)
ONE = {
    "schedule": SCHEDULE.to_config(),
    "tau": 500,
    "steps": 1,
    "sampler": "ddim",
    "spacing": "log-sigma",
    "sigma_min": 0.01,
    "eta": 0.0,
}
FOUR = {**ONE, "steps": 4, "sampler": "ddpm", "eta": 1.0}


def fusion():
    torch.manual_seed(0)
    return build("fast-fusion", OWN["fast-fusion"])


@pytest.mark.parametrize(("card", "chain"), [({}, {}), ({"chain": ONE}, ONE)])
def test_a_record_has_a_chain_or_none(card, chain):
    assert NetworkRecord("fast-fusion", {}, "fusion", card).chain == chain


@pytest.mark.parametrize(("chain", "found"), [([1], "list"), (None, "NoneType"), ("x", "str"), (500, "int")])
def test_what_is_no_chain_is_not_taken_for_none(chain, found):
    record = NetworkRecord("fast-fusion", {}, "fusion", {"chain": chain})
    sentence = rf"^The chain in the card of the fusion is of the type {found}: expected .*; write it again\.$"
    with pytest.raises(CheckpointError, match=sentence):
        _ = record.chain


def test_only_settings_of_sampling_are_taken_from_a_chain():
    assert chain_settings({**ONE, "licence": "mine", "draws": 4}) == ONE
    assert chain_settings({}) == {}
    assert set(CHAIN_SETTINGS) <= set(BundleSettings.__dataclass_fields__)
    assert set(SettingChanges.__annotations__) == set(SETTINGS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tau": "500"}, "tau = '500': expected int"),
        ({"steps": 1.5}, "steps = 1.5: expected int"),
        ({"steps": True}, "steps = True"),
        ({"schedule": "cosine"}, "schedule = 'cosine': expected dict"),
        ({"eta": None}, "eta = None: expected float"),
    ],
)
def test_a_chain_that_is_none_is_one_sentence(change, sentence):
    with pytest.raises(CheckpointError, match=rf"^The chain in the card of the fusion has {sentence}.*\.$"):
        trained_for({**ONE, **change})


def test_words_name_calls_noise_levels_and_sampler():
    sigma = float(SCHEDULE.sigma(500))
    assert trained_for({}) == "estimates (any tau, sampler and number of calls)"
    assert trained_for(ONE) == f"1 call at the noise level {sigma:.4g} (tau = 500)"
    assert trained_for(FOUR) == (f"4 calls at noise levels from {sigma:.4g} (tau = 500) to 0.01 by ddpm with eta 1")
    with pytest.raises(ScheduleError, match="T = 1000"):
        trained_for({**ONE, "tau": 2000})


def test_the_chain_is_found_without_reading_weights(tmp_path):
    save_network(tmp_path / "fusion.safetensors", fusion(), kind="fusion", card={"chain": FOUR})
    assert find_record("fusion", tmp_path / "fusion.safetensors").chain == FOUR
    settings = BundleSettings(**FOUR)
    record = describe(fusion(), kind="fusion", card={"chain": ONE})
    write_bundle(tmp_path / "bundle", Bundle(settings, {"fusion": fusion()}, {"fusion": record}))
    assert bundle_record(tmp_path / "bundle", "fusion").chain == ONE
    assert find_record("fusion", str(tmp_path / "bundle")).chain == ONE
    with pytest.raises(BundleError, match="has no denoiser"):
        find_record("denoiser", tmp_path / "bundle")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    assert find_record("fusion", tmp_path / "other.pth") is None
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        find_record("fusion", tmp_path / "gone.safetensors")


@pytest.mark.parametrize(("card", "words"), [({}, trained_for({})), ({"chain": ONE}, trained_for(ONE))])
def test_the_card_of_a_bundle_says_what_its_fusion_is_trained_for(tmp_path, card, words):
    record = describe(fusion(), kind="fusion", card={**card, "data": "photographs"})
    write_bundle(tmp_path / "bundle", Bundle(BundleSettings(**ONE), {"fusion": fusion()}, {"fusion": record}))
    text = (tmp_path / "bundle" / "README.md").read_text("utf-8")
    assert f"| trained for | {words} |" in text
    assert "chain, " not in text  # the words say it
    assert "| detail | 1 |" in text
