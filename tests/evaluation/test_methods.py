"""Naming methods by a text, and what the kinds give."""

import numpy as np
import pytest
import torch
from PIL import Image

from dp_ir.checkpoints.network_file import save_network
from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.methods.method import Observation, draws_samples
from dp_ir.evaluation.methods.parsing import KINDS, parse_method, split_method
from dp_ir.evaluation.methods.restoration_methods import Interpolation
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.unet_bridge.model import UNetBridge
from dp_ir.restoration.pipeline import Restoration

OBSERVATION = Observation("Set1", "a", torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


def tiny_restorer(seed=0):
    torch.manual_seed(seed)
    return FastSR(channels=4, blocks=1)


def save_image(path, size=(32, 32), grey=128):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), grey, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sr4", ("sr4", "bundle", "sr4", {})),
        ("sr4,tau=300,steps=4", ("sr4 (tau=300, steps=4)", "bundle", "sr4", {"tau": "300", "steps": "4"})),
        ("late=sr4,tau=300", ("late", "bundle", "sr4", {"tau": "300"})),
        ("restorer:sr4", ("sr4 restorer", "restorer", "sr4", {})),
        ("ESRGAN x4=runs/e.pth", ("ESRGAN x4", "restorer", "runs/e.pth", {})),
        ("runs/tau=3/e.pth", ("e", "restorer", "runs/tau=3/e.pth", {})),
        (
            "restorer:e.pth,value_range=0,255,scale=4",
            ("e (value_range=0,255, scale=4)", "restorer", "e.pth", {"value_range": "0,255", "scale": "4"}),
        ),
        ("sr4,restorer.value_range=0,255", None),
        ("bicubic", ("bicubic", "bicubic", "", {})),
        ("floor=bicubic:2", ("floor", "bicubic", "2", {})),
        ("mine.py:restore,strength=2", ("restore (strength=2)", "function", "mine.py:restore", {"strength": "2"})),
        ("torch.nn.functional:relu", ("relu", "function", "torch.nn.functional:relu", {})),
        ("owner/name", ("name", "bundle", "owner/name", {})),
        ("noise:sr4,metric=lpips-half", ("sr4 noise (metric=lpips-half)", "noise", "sr4", {"metric": "lpips-half"})),
    ],
)
def test_text_is_taken_apart(text, expected):
    parts = split_method(text)
    if expected is None:
        assert parts.settings == {"restorer.value_range": "0,255"}
    else:
        assert (parts.name, parts.kind, parts.source, dict(parts.settings)) == expected


def test_folders_are_told_apart(tmp_path):
    save_image(tmp_path / "SwinIR" / "a.png")
    assert split_method(str(tmp_path / "SwinIR")).kind == "images"
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "config.json").write_text("{}")
    assert split_method(str(tmp_path / "bundle")).kind == "bundle"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("restorer:", "names nothing after 'restorer:'"),
        ("bicubik:4", "nearest: bicubic"),
        ("no such thing", "is no bundle, weight file, folder or function"),
        ("", "is no bundle"),
        ("bicubic,scale=0", "whole number of at least 1"),
        ("sr4,tau=1,tau=2", "states tau twice"),
        ("sr4,tuu=300", "nearest: tau"),
        ("sr4,tau=many", "cannot be read as a number"),
        ("images:nowhere", "There is no folder 'nowhere'"),
        ("nowhere.py:restore", "There is no file 'nowhere.py'"),
        ("dp_ir.errors:nothing", "has no function nothing"),
        ("noise:sr4,std=-1", "number of at least 0"),
        ("gone.pth", "gone.pth"),
    ],
)
def test_bad_texts_end_in_one_sentence(text, part):
    with pytest.raises(DPIRError) as caught:
        parse_method(text, device="cpu")
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_kind_can_be_reached():
    for kind in KINDS.keys() - {"sdedit", "ccdf", "diffpir", "ddrm"}:  # these have their own tests, with deepinv
        with pytest.raises(DPIRError):
            parse_method(f"{kind}:/nowhere/at/all.safetensors,nonsense_setting=1", device="cpu")


def test_bicubic_is_the_interpolation():
    output = Interpolation(scale=4)(OBSERVATION, seed=0)
    assert torch.equal(output.image, imresize(OBSERVATION.image, 4))


def test_restorer_alone(tmp_path):
    network = tiny_restorer()
    save_network(tmp_path / "net.safetensors", network, kind="restorer")
    method = parse_method(str(tmp_path / "net.safetensors"), device="cpu", precision="float32")
    output = method(OBSERVATION, seed=0)
    with torch.no_grad():
        assert torch.allclose(output.image, network(OBSERVATION.image), atol=1e-5)
    assert output.calls == {"restorer": 1}
    assert not output.image.is_inference()


def test_identity_follows_weights_settings_and_precision(tmp_path):
    for seed in (0, 1):
        save_network(tmp_path / f"{seed}.safetensors", tiny_restorer(seed), kind="restorer")
    texts = ["0.safetensors", "1.safetensors", "0.safetensors,tiling=unsupported"]
    identities = [parse_method(f"{tmp_path}/{text}", device="cpu", precision="float32").identity for text in texts[:2]]
    identities.append(parse_method(f"{tmp_path}/{texts[0]}", device="cpu", precision="bfloat16").identity)
    identities.append(
        parse_method(f"{tmp_path}/{texts[0]},minimum_size=16", device="cpu", precision="float32").identity
    )
    assert len(set(identities)) == 4
    renamed = parse_method(f"other={tmp_path}/{texts[0]}", device="cpu", precision="float32")
    assert renamed.identity == identities[0]


def test_bundle_is_the_restoration_itself():
    method = parse_method("sr4-estimate,tau=200,steps=2", device="cpu", precision="float32")
    output = method(OBSERVATION, seed=5)
    direct = Restoration.from_pretrained("sr4-estimate", device="cpu", precision="float32", tau=200, steps=2)
    assert torch.equal(output.image, direct(OBSERVATION.image, seed=5).image)
    assert output.calls == {"restorer": 1, "denoiser": 2, "fusion": 2}
    assert method.trained == ("fusion",)
    late = parse_method("sr4,tau=201,steps=2", device="cpu", precision="float32")
    assert late.identity != method.identity


def test_which_methods_draw_samples(tmp_path):
    script = tmp_path / "mine.py"
    script.write_text("def fixed(y): return y\ndef drawn(y, seed): return y")
    for noise in (0.0, 0.1):
        network = UNetBridge(start="observation", channels=(8, 16), blocks=(1, 1), encoding=8, noise=noise)
        save_network(tmp_path / f"{noise}.safetensors", network, kind="bridge")
        assert draws_samples(parse_method(f"bridge:{tmp_path}/{noise}.safetensors", device="cpu")) is (noise > 0)
    drawing = ["sr4", "weaker:sr4", "upsampled:sr4", "sdedit:sr4", "noise:sr4", "noise:sr4,std=0.02", f"{script}:drawn"]
    for text in drawing:
        assert draws_samples(parse_method(text, device="cpu")), text
    for text in ("sr4,tau=0", "weaker:sr4,tau=0", "restorer:sr4", "bicubic", f"{script}:fixed"):
        assert not draws_samples(parse_method(text, device="cpu")), text


def test_the_dial_of_a_bundle():
    half, alone, whole = (
        parse_method(f"sr4-estimate,tau=200,steps=2,detail={dial}", device="cpu", precision="float32")
        for dial in (0.5, 0, 1)
    )
    direct = Restoration.from_pretrained("sr4-estimate", device="cpu", precision="float32", tau=200, steps=2)
    assert torch.equal(half(OBSERVATION, seed=5).image, direct(OBSERVATION.image, seed=5, detail=0.5).image)
    assert len({half.identity, alone.identity, whole.identity}) == 3
    assert parse_method("sr4-estimate,tau=200,steps=2", device="cpu", precision="float32").identity == whole.identity
    assert set(alone.networks) == {"restorer"}
    assert alone.trained == ("restorer",)
    assert alone(OBSERVATION, seed=5).calls == {"restorer": 1}
    with pytest.raises(DPIRError, match="detail is 2"):
        parse_method("sr4,detail=2", device="cpu")


def test_tau_zero_is_the_restorer_alone():
    method = parse_method("sr4,tau=0", device="cpu", precision="float32")
    assert set(method.networks) == {"restorer"}
    assert method.trained == ("restorer",)
    assert method(OBSERVATION, seed=0).calls == {"restorer": 1}


# ---- folders of images ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        (["a.png", "b.png"], "a", "a.png"),
        (["a_SwinIR.png", "b_SwinIR.png"], "b", "b_SwinIR.png"),
        (["0801x4.png", "0802x4.png"], "0801", "0801x4.png"),
        (["0801x4_out.png"], "0801", "0801x4_out.png"),
        (["img_1_HR.png", "img_10_HR.png"], "img_1_HR", "img_1_HR.png"),
        (["img_1_LR_SwinIR.png", "img_10_LR_SwinIR.png"], "img_1_HR", "img_1_LR_SwinIR.png"),
        (["a.png", "a_x2.png"], "a", "a.png"),
        (["Set1/a.png", "Set2/a.png"], "a", "Set1/a.png"),
        (["scene/000001.png"], "scene/000001", "scene/000001.png"),
        (["scene_000001.png"], "scene/000001", "scene_000001.png"),
        (["Set1/scene-000001_out.png"], "scene/000001", "Set1/scene-000001_out.png"),
    ],
)
def test_images_are_found_by_their_names(tmp_path, files, name, found):
    for file in files:
        save_image(tmp_path / file)
    method = parse_method(f"images:{tmp_path}")
    assert method.file(Observation("Set1", name, OBSERVATION.image)) == tmp_path / found


@pytest.mark.parametrize(
    ("files", "name", "part"),
    [
        (["b.png"], "a", "holds no image 'a'"),
        (["img_10.png", "img_11.png"], "img_1", "holds no image 'img_1'"),
        (["a_b.png", "c.png"], "a", "holds no image 'a'"),  # a_b is another image, not a with an ending
        (["a.png", "a.jpg"], "a", "keep one of them"),
    ],
)
def test_missing_and_ambiguous_images_are_refused(tmp_path, files, name, part):
    for file in files:
        save_image(tmp_path / file)
    with pytest.raises(DataError, match=part):
        parse_method(f"images:{tmp_path}")(Observation("Set1", name, OBSERVATION.image), seed=0)


def test_images_identity_follows_their_content(tmp_path):
    save_image(tmp_path / "a.png")
    first = parse_method(f"images:{tmp_path}").identity
    assert parse_method(f"images:{tmp_path}").identity == first
    save_image(tmp_path / "a.png", grey=129)
    assert parse_method(f"images:{tmp_path}").identity != first


def test_folder_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        parse_method(f"images:{tmp_path}")


# ---- functions ------------------------------------------------------------------------------------------------------

FUNCTIONS = """
import numpy as np, torch
def tensor(y, gain=1.0): return gain * y.repeat_interleave(4, 2).repeat_interleave(4, 3)
def unbatched(y): return tensor(y)[0]
def bytes_(y): return (tensor(y)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
def planes(y): return tensor(y).numpy()
def random(y, seed): return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
def wide(y): return tensor(y) * 255
class Net(torch.nn.Module):
    def forward(self, y): return tensor(y)
net = Net()
"""


@pytest.fixture
def functions(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.mark.parametrize("function", ["tensor", "unbatched", "bytes_", "planes", "net"])
def test_functions_may_return_what_they_have(functions, function):
    output = parse_method(f"{functions}:{function}")(OBSERVATION, seed=0)
    expected = OBSERVATION.image.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(output.image, expected, atol=0.5 / 255 + 1e-6)


def test_function_gets_settings_and_seed(functions):
    half = parse_method(f"{functions}:tensor,gain=0.5")(OBSERVATION, seed=0).image
    assert torch.allclose(half, 0.5 * OBSERVATION.image.repeat_interleave(4, 2).repeat_interleave(4, 3))
    random = parse_method(f"{functions}:random")
    assert torch.equal(random(OBSERVATION, seed=3).image, random(OBSERVATION, seed=3).image)
    assert not torch.equal(random(OBSERVATION, seed=3).image, random(OBSERVATION, seed=4).image)


def test_function_of_another_range_is_refused(functions):
    with pytest.raises(DPIRError, match="expected \\[0, 1\\]"):
        parse_method(f"{functions}:wide")(OBSERVATION, seed=0)


def test_function_identity_follows_file_and_settings(functions):
    texts = [f"{functions}:tensor", f"{functions}:tensor,gain=0.5", f"{functions}:unbatched"]
    before = [parse_method(text).identity for text in texts]
    assert len(set(before)) == 3
    functions.write_text(FUNCTIONS + "\n# another\n")
    assert parse_method(texts[0]).identity != before[0]


def test_file_that_cannot_run_is_one_sentence(tmp_path):
    (tmp_path / "broken.py").write_text("import no_such_package")
    with pytest.raises(DPIRError, match="cannot be run to find the function f \\(ModuleNotFoundError"):
        parse_method(f"{tmp_path}/broken.py:f")
