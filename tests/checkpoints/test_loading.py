"""Bringing own networks: every way to give one, what is recognised, and what is refused in one sentence."""

import sys
from types import SimpleNamespace

import pytest
import torch
from small_networks import PUBLISHED, SMALL
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DnCNN import DnCNN
from torch import nn

from dp_ir.checkpoints.architectures import architecture_of, build
from dp_ir.checkpoints.bundle import Bundle, BundleSettings, write_bundle
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.checkpoints.foreign.recognition import recognise
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_denoiser, load_restorer, read_network
from dp_ir.checkpoints.network_file import describe, load_network, save_network
from dp_ir.errors import BundleError, CheckpointError, MissingExtraError, NetworkContractError
from dp_ir.networks import ARCHITECTURES, DETECTORS


def network(name, seed=0):
    torch.manual_seed(seed)
    return build(name, SMALL[name]).eval()


def published(folder, module, wrap="params", name="weights.pth"):
    """The state dict of a network as training code publishes it."""
    path = folder / name
    state = {key.removeprefix("network."): value for key, value in module.state_dict().items()}
    torch.save({wrap: state, "epoch": 3} if wrap else state, path)
    return path


@pytest.fixture
def rlfn_file(tmp_path):
    return published(tmp_path, network("rlfn"))


@pytest.mark.parametrize("layout", DETECTORS.values(), ids=DETECTORS)
def test_every_published_architecture_is_recognised_by_its_weights_alone(tmp_path, layout):
    module = network(layout.architecture)
    loaded, record = read_network(published(tmp_path, module))
    assert type(loaded) is type(module)
    assert not loaded.training
    for key, value in module.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert (record.architecture, record.config) == (layout.architecture, loaded.config)
    assert record.card["origin"]["file"] == "weights.pth"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_at_most_one_layout_matches(name):
    with torch.device("meta"):
        state = {key.removeprefix("network."): value for key, value in build(name, SMALL[name]).state_dict().items()}
    matching = [layout.architecture for layout in DETECTORS.values() if layout.matches(layout.rename(state))]
    assert matching == ([name] if name in PUBLISHED else [])


def test_a_restorer_is_the_network_in_its_own_units(rlfn_file):
    restorer, module = load_restorer(rlfn_file, probe=False), network("rlfn")
    observation = torch.rand(2, 3, 17, 20)
    with torch.no_grad():
        expected = module(observation * 255) / 255
        assert torch.allclose(restorer(observation), expected, atol=1e-5)
    assert (restorer.info.scale, restorer.info.value_range) == (3, (0.0, 255.0))


def test_a_denoiser_with_a_noise_map_gets_one(tmp_path):
    denoiser, module = (
        load_denoiser(published(tmp_path, network("drunet"), "state_dict"), probe=False),
        network("drunet"),
    )
    noisy, sigma = torch.rand(2, 3, 16, 24), torch.tensor([0.05, 0.1])
    with torch.no_grad():
        expected = module(torch.cat((noisy, sigma.view(2, 1, 1, 1).expand(2, 1, 16, 24)), 1))
        assert torch.allclose(denoiser(noisy, sigma), expected, atol=1e-6)
    assert denoiser.info.sigma_range == (0.0, 50 / 255)


def test_a_network_gives_gradients_and_enters_training(rlfn_file):
    observation = torch.rand(1, 3, 16, 16, requires_grad=True)
    load_restorer(rlfn_file, probe=False)(observation).square().mean().backward()
    assert observation.grad.abs().sum() > 0


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(tmp_path, precision):
    path = published(tmp_path, network("rlfn").to(precision))
    restorer = load_restorer(path, probe=False)
    assert {value.dtype for value in restorer.state_dict().values()} == {torch.float32}


def test_modules_and_functions_are_taken_as_they_are():
    module = nn.Conv2d(3, 3, 3, padding=1)
    loaded = load_restorer(module, probe=False, scale=1, supports_bfloat16=True)
    assert loaded.module is module
    assert loaded.record is None
    assert loaded.info == NetworkInfo(scale=1, supports_bfloat16=True)
    own = load_restorer(network("rlfn"), probe=False)
    assert own.record.architecture == "rlfn"
    again = load_restorer(own, probe=False, value_range=(0, 1))
    assert (again.info.value_range, own.info.value_range) == ((0.0, 1.0), (0.0, 255.0))
    assert load_denoiser(lambda noisy, sigma: noisy, probe=False).info == NetworkInfo(scale=1)


def test_what_is_stated_wins_and_is_kept_in_files(tmp_path, rlfn_file):
    restorer = load_restorer(rlfn_file, probe=False, value_range=(-1, 1), tiling="supported")
    assert restorer.info.value_range == (-1.0, 1.0)
    assert restorer.record.info == {"value_range": [-1.0, 1.0], "tiling": "supported"}
    save_network(tmp_path / "net.safetensors", restorer.module, kind="restorer", info=restorer.info)
    again = load_restorer(tmp_path / "net.safetensors", probe=False)
    assert again.info == restorer.info
    assert again.record.sha256 == restorer.record.sha256
    with pytest.raises(NetworkContractError, match=r"valuerange.*value_range"):
        load_restorer(rlfn_file, probe=False, valuerange=(0, 1))
    with pytest.raises(NetworkContractError, match="smaller first"):
        load_restorer(rlfn_file, probe=False, value_range=(1, 0))


def test_networks_of_bundles_by_name_and_folder(tmp_path):
    assert load_denoiser("sr4").record.architecture == "unet-denoiser"
    module = network("rlfn")
    settings = BundleSettings({"name": "linear"}, 0, 1, "ddim", "log-sigma", 0.01, 0.0)
    write_bundle(
        tmp_path / "own", Bundle(settings, {"restorer": module}, {"restorer": describe(module, kind="restorer")})
    )
    assert load_restorer(tmp_path / "own", probe=False).record.architecture == "rlfn"
    with pytest.raises(BundleError, match="has no denoiser, only a restorer"):
        load_denoiser(tmp_path / "own")


def test_files_of_a_hub(tmp_path, monkeypatch, rlfn_file):
    asked = []

    def download(repository, file, revision):
        asked.append((repository, file, revision))
        return str(rlfn_file)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=download))
    loaded = load_restorer("owner/name/deep/weights.pth", revision="v1", probe=False)
    assert loaded.record.architecture == "rlfn"
    assert asked == [("owner/name", "deep/weights.pth", "v1")]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"dp-ir\[hub\]"):
        load_restorer("owner/name/deep/weights.pth")
    with pytest.raises(MissingExtraError, match=r"dp-ir\[hub\]"):
        load_restorer("owner/name")


# ---- spandrel --------------------------------------------------------------------------------------------------------


@pytest.fixture
def compact_file(tmp_path):
    torch.manual_seed(1)
    module = Compact(num_feat=8, num_conv=2, upscale=2).eval()
    return published(tmp_path, module, name="compact.pth"), module


def test_what_spandrel_knows_is_loaded_unclamped_and_differentiable(compact_file):
    path, module = compact_file
    restorer = load_restorer(path, probe=False)
    observation = torch.rand(2, 3, 9, 11)
    result = restorer(observation)
    assert torch.allclose(result, module(observation), atol=1e-6)
    assert result.requires_grad
    assert not result.is_inference()
    assert (result < 0).any() or (result > 1).any()  # its own call would have clamped
    assert (restorer.info.scale, restorer.record.architecture) == (2, "spandrel")
    assert restorer.record.config == {"network": "Compact"}


def test_a_network_of_spandrel_has_an_identity_and_a_file(tmp_path, compact_file):
    restorer = load_restorer(compact_file[0], probe=False)
    record = save_network(tmp_path / "net.safetensors", restorer.module, kind="restorer")
    loaded, found = load_network(tmp_path / "net.safetensors")
    assert found == record
    assert found.sha256 == restorer.record.sha256
    assert architecture_of(loaded) == "spandrel"
    observation = torch.rand(1, 3, 8, 8)
    assert torch.allclose(loaded(observation), restorer.module(observation), atol=1e-6)


def test_without_spandrel_the_extra_is_named(tmp_path, compact_file, monkeypatch):
    path, _ = compact_file
    save_network(tmp_path / "net.safetensors", load_restorer(path, probe=False).module, kind="restorer")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"dp-ir\[zoo\]"):
        load_restorer(path)
    with pytest.raises(MissingExtraError, match=r"Compact.*dp-ir\[zoo\]"):
        load_network(tmp_path / "net.safetensors")


def test_a_denoiser_that_does_not_see_the_noise_must_state_its_levels(tmp_path):
    path = published(tmp_path, DnCNN(in_nc=1, out_nc=1, nc=64, nb=17, act_mode="R"), wrap="")
    with pytest.raises(NetworkContractError, match=r"DnCNN does not see.*sigma_range=20/255,30/255"):
        load_denoiser(path)
    denoiser = load_denoiser(path, probe=False, sigma_range=(25 / 255, 25 / 255))
    assert denoiser(torch.rand(1, 1, 8, 9), torch.tensor([25 / 255])).shape == (1, 1, 8, 9)
    with pytest.raises(NetworkContractError, match="takes 1 channels, but the image has 3"):
        denoiser(torch.rand(1, 3, 8, 9), torch.tensor([25 / 255]))


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_the_wrong_purpose_is_named(tmp_path, rlfn_file):
    with pytest.raises(NetworkContractError, match="RLFN enlarges 3 times: expected a denoiser"):
        load_denoiser(rlfn_file)
    with pytest.raises(NetworkContractError, match=r"FFDNet takes a noise level.*expected a restorer"):
        load_restorer(published(tmp_path, network("ffdnet"), name="ffdnet.pth"))
    save_network(tmp_path / "net.safetensors", network("ffdnet"), kind="denoiser")
    with pytest.raises(CheckpointError, match="holds a denoiser: expected a restorer"):
        load_restorer(tmp_path / "net.safetensors")
    with pytest.raises(NetworkContractError, match="A int is no restorer"):
        load_restorer(3)


def test_files_that_are_not_there_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"missing\.pth"):
        load_restorer(tmp_path / "missing.pth")


def test_missing_extra_and_foreign_tensors_are_told_apart():
    state = dict(network("rlfn").state_dict())
    state.pop("block_2.c5.bias")
    with pytest.raises(CheckpointError, match=r"do not fit rlfn.*1 is missing \(block_2\.c5\.bias"):
        recognise(state, "the file")
    state = {**network("rlfn").state_dict(), "block_1.c9.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"1 is unknown \(block_1\.c9\.weight"):
        recognise(state, "the file")
    state = dict(network("rlfn").state_dict())
    state["conv_2.weight"] = torch.zeros(8, 8, 1, 1)
    with pytest.raises(CheckpointError, match=r"of another shape \(conv_2\.weight: found \(8, 8, 1, 1\)"):
        recognise(state, "the file")
    state = dict(network("rlfn").state_dict())
    state["conv_2.bias"] = torch.full((8,), torch.nan)
    with pytest.raises(CheckpointError, match=r"conv_2\.bias holds NaN"):
        recognise(state, "the file")


def test_unknown_weights_name_the_nearest_network_and_what_differs():
    state = {f"body.{key}": value for key, value in network("rlfn").state_dict().items()}
    with pytest.raises(CheckpointError, match=r"No network matches.*42 tensors.*no known network has a single one"):
        recognise(state, "the file")
    state = {key: value for key, value in network("rlfn").state_dict().items() if not key.startswith("upsampler")}
    sentence = r"40 are named as in rlfn, the nearest, which has also upsampler\.0\.weight"
    with pytest.raises(CheckpointError, match=sentence):
        recognise({**state, "tail.weight": torch.zeros(3)}, "the file")


def test_weights_of_another_scale_than_stated(rlfn_file):
    with pytest.raises(NetworkContractError, match=r"returned \(1, 3, 48, 48\).*expected \(1, 3, 64, 64\)"):
        load_restorer(rlfn_file, probe=False, scale=4)(torch.rand(1, 3, 16, 16))


def test_a_network_without_values_is_named():
    with torch.device("meta"):
        empty = build("rlfn", SMALL["rlfn"])
    with pytest.raises(NetworkContractError, match=r"RLFN, cannot be moved to cpu .*load its weights first"):
        LoadedNetwork("restorer", empty)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (lambda y: y[..., :-1], "expected"),
        (lambda y: y.to(torch.uint8), "floating point"),
        (lambda y: [y], "returned a list.*picks the image"),
        (lambda y: y * torch.nan, "NaN or infinity"),
    ],
)
def test_functions_that_return_something_else_are_named(network, sentence):
    with pytest.raises(NetworkContractError, match=sentence):
        load_restorer(network, probe=False, scale=1)(torch.rand(1, 3, 8, 8))


MINE = """
import torch
from torch import nn

class Double(nn.Module):
    def forward(self, y):
        return y.repeat_interleave(2, 2).repeat_interleave(2, 3)

double = Double()

def enlarge(y):
    return double(y)

def make():
    return double

def broken():
    raise RuntimeError("no such weights")

number = 7
"""


@pytest.mark.parametrize("name", ["Double", "double", "enlarge", "make"])
def test_a_python_file_gives_a_network(tmp_path, name):
    (tmp_path / "mine.py").write_text(MINE)
    image = torch.rand(1, 3, 4, 5)
    loaded = load_restorer(f"{tmp_path}/mine.py:{name}", scale=2, probe=False)
    assert torch.equal(loaded(image), image.repeat_interleave(2, 2).repeat_interleave(2, 3))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("number", "gives a int"),
        ("missing", "has no attribute"),
        ("broken", "no such weights"),
        ("other", "no file"),
    ],
)
def test_a_python_file_that_gives_none_is_named(tmp_path, name, said):
    (tmp_path / "mine.py").write_text(MINE)
    with pytest.raises(CheckpointError, match=said):
        load_restorer(f"{tmp_path}/{'mine' if name != 'other' else 'others'}.py:{name}")
