"""A fusion that was trained through a chain of sampler calls brings it along, and says so where it runs in another."""

import warnings
from dataclasses import replace

import pytest
import torch
from tiled_networks import photo

from dp_ir.batch.plan import LocalJob
from dp_ir.batch.provenance import provenance
from dp_ir.batch.restoring import restore_file
from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.network_file import describe, save_network
from dp_ir.checkpoints.trained_for import trained_for
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.errors import CheckpointError
from dp_ir.image import from_array, write_image
from dp_ir.restoration import Restoration, UnseenChainWarning
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS
from dp_ir.restoration.tiling.tiler import TilingNote

ONE = {
    "schedule": NoiseSchedule.linear(1000).to_config(),
    "tau": 250,
    "steps": 1,
    "sampler": "ddim",
    "spacing": "log-sigma",
    "sigma_min": 0.02,
    "eta": 0.0,
}
FOUR = {**ONE, "steps": 4, "sampler": "ddpm", "eta": 1.0}
IMAGE = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(0))


def networks():
    torch.manual_seed(0)
    made = {
        "restorer": build("fast-sr", {"channels": 8, "blocks": 1}),
        "denoiser": build("unet-denoiser", {"channels": [8, 8], "blocks": [1, 1], "encoding": 8}),
        "fusion": build("fast-fusion", {"channels": [8, 8], "blocks": [1, 1, 1], "encoding": 8}),
    }
    for network in made.values():
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
    return made


def of_parts(chain, **settings):
    made = networks()
    records = {"fusion": describe(made["fusion"], kind="fusion", card={"chain": chain} if chain else {})}
    return Restoration.from_parts(**made, records=records, device="cpu", precision="float32", **settings)


def one_call(estimate, noisy, sigmas, **_):
    """A sampler of somebody else's."""
    return estimate(noisy, noisy.new_full((1,), float(sigmas[0])))


def notes_of(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [note for note in caught if issubclass(note.category, UnseenChainWarning)]


def chain_of(settings):
    return {name: getattr(settings, name) for name in ONE}


# ---- where the chain comes from --------------------------------------------------------------------------------------


def test_a_fusion_given_by_parts_brings_its_chain_unless_settings_are_given():
    assert chain_of(of_parts(FOUR).settings) == FOUR
    assert chain_of(of_parts(FOUR, steps=2, eta=0.5, sampler="ddim").settings) == {
        **FOUR, "steps": 2, "eta": 0.5, "sampler": "ddim",
    }  # fmt: skip
    assert of_parts(FOUR, settings=DEFAULT_SETTINGS).settings == DEFAULT_SETTINGS
    assert of_parts(None).settings == DEFAULT_SETTINGS
    assert of_parts(FOUR).settings == replace(DEFAULT_SETTINGS, **FOUR)  # and nothing else is changed


def test_the_fusion_of_a_bundle_is_replaced_with_its_chain(tmp_path):
    of_parts(None, tau=400, steps=3, task="sr4").save_pretrained(tmp_path / "bundle")
    file = tmp_path / "fusion.safetensors"
    record = save_network(file, networks()["fusion"], kind="fusion", card={"chain": ONE})
    module = networks()["fusion"]
    for fusion in (file, str(file), LoadedNetwork("fusion", module, record=record)):
        made = Restoration.from_pretrained(tmp_path / "bundle", fusion=fusion, device="cpu")
        assert chain_of(made.settings) == ONE
        assert made.settings.task == "sr4"
    later = Restoration.from_pretrained(tmp_path / "bundle", fusion=file, tau=300, device="cpu")
    assert chain_of(later.settings) == {**ONE, "tau": 300}
    for fusion in (module, None):  # which say nothing of a chain
        made = Restoration.from_pretrained(tmp_path / "bundle", fusion=fusion, device="cpu")
        assert (made.settings.tau, made.settings.steps) == (400, 3)


def test_a_fusion_for_estimates_does_not_inherit_the_chain_of_the_one_it_replaces(tmp_path):
    """One call, and a dial that was set for it, would give nearly no detail."""
    of_parts(ONE, detail=0.4, task="sr4").save_pretrained(tmp_path / "bundle")
    file = tmp_path / "fusion.safetensors"
    save_network(file, networks()["fusion"], kind="fusion", card={"note": "estimates"})
    for fusion in (file, networks()["fusion"], lambda restored, denoised, noisy, sigma: denoised):
        made = Restoration.from_pretrained(tmp_path / "bundle", fusion=fusion, device="cpu")
        assert made.settings == replace(DEFAULT_SETTINGS, task="sr4")
        assert made.settings.detail == 1
        assert notes_of(lambda made=made: made(IMAGE)) == []
    own = {"tau": 300, "steps": 2, "detail": 0.5, "eta": 1.0, "sigma_min": 0.02}
    made = Restoration.from_pretrained(tmp_path / "bundle", fusion=file, device="cpu", **own)
    assert made.settings == replace(DEFAULT_SETTINGS, task="sr4", **own)
    for restorer in (networks()["restorer"], None):  # with its own fusion nothing is changed
        made = Restoration.from_pretrained(tmp_path / "bundle", restorer=restorer, device="cpu")
        assert chain_of(made.settings) == ONE
        assert made.settings.detail == 0.4
    save_network(file, networks()["fusion"], kind="fusion", card={"chain": FOUR})
    made = Restoration.from_pretrained(tmp_path / "bundle", fusion=file, device="cpu")
    assert (chain_of(made.settings), made.settings.detail) == (FOUR, 1)


@pytest.mark.parametrize("own", [None, ONE])
@pytest.mark.parametrize("given", [None, FOUR])
@pytest.mark.parametrize("changes", [{}, {"tau": 300, "detail": 0.7}])
def test_what_is_recorded_is_what_a_replaced_fusion_runs_with(tmp_path, own, given, changes):
    bundle, file = tmp_path / "bundle", tmp_path / "fusion.safetensors"
    of_parts(own, tau=250, steps=1, detail=0.4).save_pretrained(bundle)
    save_network(file, networks()["fusion"], kind="fusion", card={"chain": given} if given else {})
    for fusion in (file, None):
        used = Restoration.from_pretrained(bundle, fusion=fusion, device="cpu", **changes).settings
        said = provenance(str(bundle), {"fusion": fusion and str(fusion)}, **changes)
        names = (*ONE, "detail")
        assert {name: said[name] for name in names} == {name: getattr(used, name) for name in names}


def test_a_saved_bundle_keeps_the_chain_and_its_own_fusion_does_not_overrule_it(tmp_path):
    of_parts(ONE).save_pretrained(tmp_path / "bundle")
    again = Restoration.from_pretrained(tmp_path / "bundle", device="cpu")
    assert chain_of(again.settings) == again.networks["fusion"].record.chain == ONE
    of_parts(ONE, tau=200).save_pretrained(tmp_path / "other")
    other = Restoration.from_pretrained(tmp_path / "other", device="cpu")
    assert other.settings.tau == 200
    assert len(notes_of(lambda: other(IMAGE))) == 1


def test_a_chain_that_is_none_is_refused_when_the_networks_are_put_together():
    with pytest.raises(CheckpointError, match="steps = 'one': expected int"):
        of_parts({**ONE, "steps": "one"})


# ---- what is said ----------------------------------------------------------------------------------------------------


def test_it_is_said_once_what_runs_and_what_the_fusion_was_trained_for():
    restore = of_parts(ONE)
    notes = notes_of(lambda: restore(IMAGE, steps=3, sampler="dpmpp-2m"))
    assert len(notes) == 1
    assert notes[0].filename == __file__
    sigma = float(restore.schedule.sigma(250))
    said = str(notes[0].message)
    assert f"trained for {trained_for(ONE)}, and runs with" in said
    assert f"3 calls at noise levels from {sigma:.4g} (tau = 250) to 0.02 by dpmpp-2m" in said
    assert said.endswith("use that, or a fusion that was trained for estimates.")
    assert notes_of(lambda: restore(IMAGE, steps=3)) == []  # it was said
    assert len(notes_of(lambda: of_parts(ONE)(IMAGE, tau=200))) == 1  # of each restoration


@pytest.mark.parametrize(
    ("chain", "settings"),
    [
        (ONE, {}),
        (ONE, {"tau": 0}),
        (ONE, {"detail": 0}),
        (ONE, {"detail": 0.5}),
        (ONE, {"sampler": "ddpm"}),  # one call: its estimate is the sample
        (ONE, {"sampler": "ddim", "eta": 1.0}),
        (ONE, {"sigma_min": 0.1}),
        (ONE, {"spacing": "uniform-t"}),
        (ONE, {"sampler": one_call}),
        (FOUR, {}),
        (FOUR, {"sampler": "ddim", "eta": 1.0}),  # which is ddpm
        (None, {"tau": 300, "steps": 2, "sampler": "dpmpp-2m"}),
    ],
)
def test_what_makes_no_difference_is_not_said(chain, settings):
    assert notes_of(lambda: of_parts(chain)(IMAGE, **settings)) == []


@pytest.mark.parametrize(
    ("chain", "settings"),
    [
        (ONE, {"tau": 251}),
        (ONE, {"steps": 2}),
        (FOUR, {"steps": 5}),
        (FOUR, {"sampler": "ddim", "eta": 0.0}),
        (FOUR, {"sampler": "ddim", "eta": 0.9}),
        (FOUR, {"sampler": "dpmpp-2m"}),
        (FOUR, {"sigma_min": 0.03}),
        (FOUR, {"spacing": "uniform-t"}),
        (FOUR, {"sampler": one_call}),
    ],
)
def test_what_makes_a_difference_is_said(chain, settings):
    assert len(notes_of(lambda: of_parts(chain)(IMAGE, **settings))) == 1


def test_another_schedule_with_the_same_noise_level_is_the_same_chain():
    cosine = NoiseSchedule.cosine(1000)
    sigma = NoiseSchedule.from_config(ONE["schedule"]).sigma(250)
    same = {"schedule": cosine.to_config(), "tau": float(cosine.step(sigma))}
    assert notes_of(lambda: of_parts(ONE, **same)(IMAGE)) == []
    assert len(notes_of(lambda: of_parts(ONE, schedule=cosine.to_config())(IMAGE))) == 1


def test_another_start_is_said():
    restore = of_parts(ONE)
    (note,) = notes_of(lambda: restore(IMAGE, start=restore(IMAGE, tau=0).image))
    assert "starts from another image than the restorer's estimate" in str(note.message)
    assert "runs with" not in str(note.message)


def test_a_chain_out_of_another_denoisers_reach_does_not_stop_it():
    made = networks()
    made["denoiser"] = build(
        "unet-denoiser", {"channels": [8, 8], "blocks": [1, 1], "encoding": 8, "sigma_range": [0.01, 0.1]}
    )
    records = {"fusion": describe(made["fusion"], kind="fusion", card={"chain": ONE})}
    restore = Restoration.from_parts(**made, records=records, tau=50, device="cpu")
    assert len(notes_of(lambda: restore(IMAGE))) == 1


def test_it_is_said_from_disk_to_disk(tmp_path):
    write_image(tmp_path / "a.png", from_array(photo(70, 70)[0].permute(1, 2, 0).numpy()))

    def streamed(restore, name, **settings):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            restore_file(restore, LocalJob(tmp_path / "a.png", tmp_path / name), memory=0, tile=96, **settings)
        assert any(issubclass(note.category, TilingNote) for note in caught)
        return [note for note in caught if issubclass(note.category, UnseenChainWarning)]

    restore = of_parts(ONE)
    assert streamed(restore, "own.png") == []
    (note,) = streamed(restore, "other.png", tau=200)
    assert "tau = 200" in str(note.message)
    assert streamed(restore, "again.png", tau=200) == []
