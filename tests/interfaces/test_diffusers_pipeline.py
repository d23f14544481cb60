"""The pipeline for users of diffusers: its results are those of Restoration, its habits those of diffusers."""

import doctest
import importlib
import json
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler
from PIL import Image
from safetensors.torch import load_file, save_file

from conftest import random_weights, tiny_restoration
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.errors import CheckpointError, DPIRError, MissingExtraError, SigmaRangeError, UnsupportedSchedulerError
from dp_ir.image import from_pil, to_pil
from dp_ir.integrations import diffusers as interface
from dp_ir.integrations.diffusers import DPIRNetwork, DPIRPipeline, DPIRPipelineOutput, DPIRScheduler
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.trained_with import UnseenPartnersWarning

IMAGES = torch.rand(2, 3, 10, 14, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _no_deprecated_habits():
    """Whatever diffusers deprecates must not be asked of it; nor are there bars in the output of the tests."""
    diffusers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        warnings.simplefilter("error", DeprecationWarning)
        warnings.filterwarnings("ignore", "__array__", DeprecationWarning)  # between diffusers and newer numpy
        yield


@pytest.fixture(scope="module")
def restoration():
    made = tiny_restoration(eta=0.3)
    return Restoration.from_parts(**_networks(made), settings=made.settings, device="cpu", precision="float32")


@pytest.fixture
def pipe(restoration):
    return _quiet(DPIRPipeline.from_restoration(restoration))


@pytest.fixture(scope="module")
def folder(restoration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pipelines") / "tiny"
    DPIRPipeline.from_restoration(restoration).save_pretrained(folder)
    return folder


def _networks(restoration):
    return {kind: network.module for kind, network in restoration.networks.items()}


def _quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _same(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_results_are_those_of_the_restoration(pipe, restoration):
    given = {"seed": [3, 4], "tau": 250, "eta": 0.5, "num_samples": 3}
    found = pipe(IMAGES, num_inference_steps=2, output_type="pt", **given)
    expected = restoration(IMAGES, steps=2, **given)
    for image in range(2):
        _same(found.images[3 * image : 3 * image + 3], expected.samples[:, image])
    _same(found.restored, expected.restored)
    _same(found.mean, expected.mean)
    _same(found.std, expected.std)
    assert found.nfe == expected.nfe == {"restorer": 1, "denoiser": 6, "fusion": 6}
    _same(pipe(IMAGES, output_type="pt").images, restoration(IMAGES).image)  # settings and seed 0 by default
    _same(pipe(IMAGES, tau=0, output_type="pt").images, restoration(IMAGES).restored)


def test_the_dial_is_handed_on(pipe, restoration, folder):
    _same(pipe(IMAGES, detail=0.5, output_type="pt").images, restoration(IMAGES, detail=0.5).image)
    _same(pipe(IMAGES, detail=0, output_type="pt").images, restoration(IMAGES).restored)
    made = Restoration.from_parts(
        **_networks(restoration), settings=replace(restoration.settings, detail=0.3), device="cpu", precision="float32"
    )
    own = _quiet(DPIRPipeline.from_restoration(made))
    _same(own(IMAGES, output_type="pt").images, restoration(IMAGES, detail=0.3).image)
    index = json.loads((folder / "model_index.json").read_text())
    del index["settings"]["detail"]  # as folders have it that were written before there was a dial
    older = _quiet(DPIRPipeline(**pipe.components, settings=index["settings"]))
    _same(older(IMAGES, output_type="pt").images, restoration(IMAGES).image)


def test_a_fusion_with_a_dial_is_one_in_diffusers_too(restoration, tmp_path):
    fusion = random_weights(FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, detail=0.4))
    made = Restoration.from_parts(
        **{**_networks(restoration), "fusion": fusion},
        settings=restoration.settings,
        device="cpu",
        precision="float32",
    )
    DPIRPipeline.from_restoration(made).save_pretrained(tmp_path)
    loaded = _quiet(DPIRPipeline.from_pretrained(tmp_path))
    assert loaded.restoration.chain(detail=0.5).share == 1
    _same(loaded(IMAGES, detail=0.5, output_type="pt").images, made(IMAGES, detail=0.5).image)


def test_a_saved_pipeline_has_the_layout_of_diffusers(folder):
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "denoiser/config.json",
        "denoiser/diffusion_pytorch_model.safetensors",
        "fusion/config.json",
        "fusion/diffusion_pytorch_model.safetensors",
        "model_index.json",
        "restorer/config.json",
        "restorer/diffusion_pytorch_model.safetensors",
        "scheduler/scheduler_config.json",
    ]
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "DPIRPipeline"
    assert index["denoiser"] == ["dp_ir.integrations.diffusers", "DPIRNetwork"]
    assert index["scheduler"] == ["dp_ir.integrations.diffusers", "DPIRScheduler"]
    assert index["settings"]["tau"] == 300
    assert json.loads((folder / "restorer" / "config.json").read_text())["architecture"] == "fast-sr"


@pytest.mark.parametrize("lean", [True, False], ids=["empty weights first", "random weights first"])
def test_save_and_load(folder, restoration, lean):
    loaded = _quiet(DPIRPipeline.from_pretrained(folder, low_cpu_mem_usage=lean))
    _same(loaded(IMAGES, seed=7, output_type="pt").images, restoration(IMAGES, seed=7).image)
    assert loaded.restoration.settings == restoration.settings
    for kind, network in restoration.networks.items():
        again = loaded.restoration.networks[kind]
        assert (again.info, again.record.sha256) == (network.info, network.record.sha256)
    assert loaded.name_or_path == folder
    assert set(loaded.components) == {"restorer", "denoiser", "fusion", "scheduler"}


def test_parts_can_be_replaced_on_loading(folder, restoration):
    other = DPIRNetwork.from_pretrained(folder, subfolder="denoiser")
    with torch.no_grad():
        next(other.parameters()).mul_(2)
    loaded = _quiet(
        DPIRPipeline.from_pretrained(folder, denoiser=other, settings={"tau": 200, "steps": 2, "sigma_min": 0.05})
    )
    expected = Restoration.from_parts(
        **{**_networks(restoration), "denoiser": other.network},
        **{"tau": 200, "steps": 2, "sigma_min": 0.05, "eta": 0.3},
        device="cpu",
        precision="float32",
    )
    _same(loaded(IMAGES, output_type="pt").images, expected(IMAGES).image)
    again = _quiet(DPIRPipeline.from_pipe(loaded))
    _same(again(IMAGES, output_type="pt").images, expected(IMAGES).image)


def test_the_shipped_bundle(tmp_path):
    """Its fusion knows its partners, so no warning may come, and one must come with a stranger."""
    pipe = _quiet(DPIRPipeline.from_bundle("sr4"))
    pipe.save_pretrained(tmp_path / "sr4")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnseenPartnersWarning)
        loaded = _quiet(DPIRPipeline.from_pretrained(tmp_path / "sr4"))
        found = loaded(IMAGES, num_inference_steps=2, output_type="pt").images
    expected = Restoration.from_pretrained("sr4", device="cpu", precision="float32")
    _same(found, expected(IMAGES, steps=2).image)
    assert loaded.fusion.record.card == expected.networks["fusion"].record.card
    with torch.no_grad():
        next(pipe.denoiser.parameters()).mul_(2)
    with pytest.warns(UnseenPartnersWarning):
        pipe.restoration  # noqa: B018


def test_a_restorer_alone(tmp_path, restoration):
    alone = Restoration.restorer_only(_networks(restoration)["restorer"], device="cpu", precision="float32")
    DPIRPipeline.from_restoration(alone).save_pretrained(tmp_path / "alone")
    pipe = _quiet(DPIRPipeline.from_pretrained(tmp_path / "alone"))
    output = pipe(IMAGES, output_type="pt")
    _same(output.images, alone(IMAGES).image)
    assert output.nfe == {"restorer": 1, "denoiser": 0, "fusion": 0}
    with pytest.raises(DPIRError, match="needs a denoiser and a fusion"):
        pipe(IMAGES, tau=300)


def test_what_is_stated_of_a_network_is_kept(tmp_path, restoration):
    stated = NetworkInfo(scale=4, multiple_of=8, value_range=(-1.0, 1.0))
    networks = _networks(restoration)
    told = Restoration.from_parts(**networks, infos={"restorer": stated}, tau=300, sigma_min=0.05, precision="float32")
    DPIRPipeline.from_restoration(told).save_pretrained(tmp_path / "told")
    pipe = _quiet(DPIRPipeline.from_pretrained(tmp_path / "told"))
    assert pipe.restorer.info == stated
    _same(pipe(IMAGES, output_type="pt").images, told(IMAGES).image.cpu())


def test_foreign_networks_are_refused(restoration):
    foreign = Restoration.from_parts(**{**_networks(restoration), "restorer": torch.nn.Identity()}, sigma_min=0.05)
    with pytest.raises(CheckpointError, match="Identity"):
        DPIRPipeline.from_restoration(foreign)


@pytest.mark.parametrize(("scheduler", "calls"), [(DDIMScheduler, 3), (HeunDiscreteScheduler, 5)])
def test_a_scheduler_of_diffusers_takes_the_steps(pipe, restoration, tmp_path, scheduler, calls):
    """What the adapter makes of a scheduler is tested beside it; here, that the pipeline follows it, saved or not."""
    pipe.scheduler = scheduler()
    times = []
    given = {"tau": 250, "seed": 2, "output_type": "pt"}
    found = pipe(IMAGES, callback_on_step_end=lambda _, step, t, tensors: times.append(t), **given).images
    assert times[0] == pytest.approx(250)
    assert len(times) == calls
    if scheduler is DDIMScheduler:
        torch.testing.assert_close(found, restoration(IMAGES, tau=250, seed=2, eta=0.0).image, rtol=0, atol=1e-5)
        assert not torch.equal(pipe(IMAGES, eta=1.0, **given).images, found)
    pipe.save_pretrained(tmp_path / "swapped")
    loaded = _quiet(DPIRPipeline.from_pretrained(tmp_path / "swapped"))
    assert type(loaded.scheduler) is scheduler
    _same(loaded(IMAGES, **given).images, found)


def test_our_samplers_as_schedulers(pipe, restoration):
    pipe.scheduler = DPIRScheduler("ddpm", eta=1.0)
    _same(pipe(IMAGES, output_type="pt").images, restoration(IMAGES, sampler="ddpm").image)
    pipe.scheduler = EulerAncestralDiscreteScheduler()
    with pytest.raises(UnsupportedSchedulerError, match="EulerAncestralDiscreteScheduler"):
        pipe(IMAGES)


def test_output_types(pipe, restoration):
    expected = restoration(IMAGES, seed=1, num_samples=2)
    numbers = pipe(IMAGES, seed=1, num_samples=2, output_type="np")
    np.testing.assert_array_equal(numbers.images[2], expected.samples[0, 1].permute(1, 2, 0).numpy())
    assert numbers.images.shape == (4, 40, 56, 3)
    assert numbers.std.shape == (2, 40, 56, 3)
    pictures = pipe(IMAGES, seed=1, num_samples=2)
    assert isinstance(pictures, DPIRPipelineOutput)
    assert len(pictures.images) == 4
    assert len(pictures.restored) == len(pictures.mean) == 2
    np.testing.assert_array_equal(np.asarray(pictures.images[2]), np.rint(numbers.images[2] * 255).astype(np.uint8))
    np.testing.assert_array_equal(pictures.std, numbers.std)
    images, restored, nfe = pipe(IMAGES, return_dict=False)
    assert len(images) == len(restored) == 2
    assert nfe["denoiser"] == 3
    with pytest.raises(DPIRError, match="output_type is 'jpg'"):
        pipe(IMAGES, output_type="jpg")


def test_inputs_of_every_kind_mean_the_same(pipe, restoration, tmp_path):
    arrays = (IMAGES.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)
    photo = Image.fromarray(arrays[0])
    photo.save(tmp_path / "photo.png")
    tensor = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 255.0
    expected = pipe(tensor, output_type="pt").images
    several = [arrays, list(arrays), [Image.fromarray(array) for array in arrays], list(tensor), [tensor[:1], photo]]
    for given in several[:-1]:
        _same(pipe(given, output_type="pt").images, expected)
    for given in (photo, arrays[0], tensor[0], tmp_path / "photo.png", str(tmp_path / "photo.png")):
        torch.testing.assert_close(pipe(given, output_type="pt").images, expected[:1], rtol=0, atol=1e-6)
    assert pipe(photo).images[0].size == (56, 40)
    np.testing.assert_array_equal(pipe(photo).images[0], to_pil(restoration(from_pil(photo)).image))
    assert len(pipe(several[-1]).images) == 2
    with pytest.raises(DPIRError, match="one size"):
        pipe([photo, photo.resize((8, 8))])
    with pytest.raises(DPIRError, match="at least one"):
        pipe([])


def test_generators_and_seeds(pipe):
    def draw(**given):
        return pipe(IMAGES, output_type="pt", **given).images

    def seeded(seed=5):
        return torch.Generator().manual_seed(seed)

    _same(draw(generator=seeded()), draw(generator=seeded()))
    one = seeded()
    assert not torch.equal(draw(generator=one), draw(generator=one))  # it moves on, as elsewhere in diffusers
    pair = draw(generator=[seeded(1), seeded(2)])
    torch.testing.assert_close(pipe(IMAGES[1], generator=seeded(2), output_type="pt").images, pair[1:])
    _same(draw(), draw(seed=0))
    with pytest.raises(DPIRError, match="give one of them"):
        draw(generator=seeded(), seed=1)
    with pytest.raises(DPIRError, match="1 generators for 2 images"):
        draw(generator=[seeded()])


def test_callbacks_and_progress(pipe, restoration, monkeypatch):
    steps, bars = [], []
    sigmas = restoration.schedule.sigma_grid(300, 3, "log-sigma", sigma_min=0.05)

    @contextmanager
    def progress_bar(_, total):
        bars.append(SimpleNamespace(total=total, steps=0))
        bars[-1].update = lambda: setattr(bars[-1], "steps", bars[-1].steps + 1)
        yield bars[-1]

    monkeypatch.setattr(DPIRPipeline, "progress_bar", progress_bar)

    def note(given, step, t, tensors):
        assert given is pipe
        steps.append((step, t))
        assert tensors["noisy"].shape == tensors["estimate"].shape == (2, 3, 40, 56)

    pipe(IMAGES, num_samples=2, callback_on_step_end=note)
    assert [step for step, _ in steps] == [0, 1, 2, 0, 1, 2]
    torch.testing.assert_close(torch.tensor([t for _, t in steps[:3]]).double(), restoration.schedule.step(sigmas[:3]))
    assert bars[0].steps == bars[0].total == 6

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    with pytest.raises(StoppedError):
        pipe(IMAGES, callback_on_step_end=stop)


def test_offloading_moves_the_networks_and_changes_nothing(folder, restoration):
    pipe = _quiet(DPIRPipeline.from_pretrained(folder))
    pipe.enable_model_cpu_offload(device="cpu")
    for _ in range(2):  # the hooks are put in anew after every call
        torch.testing.assert_close(pipe(IMAGES, output_type="pt").images, restoration(IMAGES).image)
    assert pipe.restorer._hf_hook is not None
    with pytest.raises(DPIRError, match="enable_model_cpu_offload"):
        pipe.enable_sequential_cpu_offload()


def test_the_restoration_follows_the_components(pipe):
    before = pipe.restoration
    assert pipe.restoration is before
    assert pipe.to("cpu").restoration is before
    assert pipe.device == before.device == torch.device("cpu")
    pipe.scheduler = DPIRScheduler()
    assert pipe.restoration is not before
    pipe.register_to_config(settings={**pipe.config.settings, "tau": 1000})
    with pytest.raises(SigmaRangeError, match="tau = 1000"):
        pipe(IMAGES)
    pipe.register_to_config(settings={"sigma": 1})
    with pytest.raises(DPIRError, match="no such setting"):
        pipe(IMAGES)


def test_half_precision_where_networks_bear_it(folder, restoration):
    exact = restoration(IMAGES).image
    pipe = _quiet(DPIRPipeline.from_pretrained(folder)).to(torch.bfloat16)
    assert pipe.dtype == torch.bfloat16
    found = pipe(IMAGES, output_type="pt").images
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 0.02
    pipe.denoiser.register_to_config(stated={"supports_bfloat16": False})
    with pytest.raises(DPIRError, match=r"denoiser, unet-denoiser, is in torch\.bfloat16"):
        pipe(IMAGES)


def test_weights_that_do_not_fit_are_refused(tmp_path, restoration):
    DPIRPipeline.from_restoration(restoration).save_pretrained(tmp_path / "damaged")
    file = tmp_path / "damaged" / "fusion" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    name = min(weights)
    lost = weights.pop(name)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"do not fit fast-fusion: 1 missing \({name}\)"):
        DPIRPipeline.from_pretrained(tmp_path / "damaged")
    save_file({**weights, name: lost, "extra": lost.clone()}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 unexpected \(extra\)"):
        DPIRPipeline.from_pretrained(tmp_path / "damaged")


def test_the_hub_is_asked_for_data_only(monkeypatch, folder):
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    pipe = DPIRPipeline.from_pretrained("owner/name", revision="v1")
    assert isinstance(pipe.denoiser, DPIRNetwork)
    assert (asked["name"], asked["revision"]) == ("owner/name", "v1")
    assert asked["allow_patterns"] == ["*.json", "*.safetensors", "*.md"]


def test_the_example():
    assert doctest.testmod(interface).failed == 0


def test_without_diffusers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    monkeypatch.delitem(sys.modules, "dp_ir.integrations.diffusers")
    with pytest.raises(MissingExtraError, match=r"needs the package 'diffusers'.*pip install 'dp-ir\[diffusers\]'\.$"):
        importlib.import_module("dp_ir.integrations.diffusers")
