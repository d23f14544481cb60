"""Calling networks: ranges, size multiples, precision."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.errors import DPIRError, NetworkContractError
from dp_ir.runtime import precision

CPU = torch.device("cpu")


def guarded(network, kind="denoiser", bfloat16=False, **info):
    return LoadedNetwork(kind, network, NetworkInfo(**info), device=CPU, bfloat16=bfloat16)


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0)])
def test_a_network_sees_its_own_range_and_sigma_in_it(value_range):
    seen = {}

    def network(noisy, sigma):
        seen.update(noisy=noisy, sigma=sigma)
        return noisy

    noisy = torch.rand(2, 3, 4, 5)
    result = guarded(network, value_range=value_range)(noisy, torch.tensor([0.1, 0.2]))
    low, high = value_range
    assert torch.allclose(seen["noisy"], low + (high - low) * noisy)
    assert torch.allclose(seen["sigma"], (high - low) * torch.tensor([0.1, 0.2]))
    assert torch.allclose(result, noisy, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 8), (8, 8), (5, 17)])
def test_sizes_are_padded_to_the_multiple_and_cropped_back(size):
    def network(observation):
        assert observation.shape[2] % 8 == 0
        assert observation.shape[3] % 8 == 0
        return observation.repeat_interleave(2, 2).repeat_interleave(2, 3)

    image = torch.rand(1, 3, *size)
    expected = image.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(guarded(network, "restorer", multiple_of=8, scale=2)(image), expected)
    assert torch.equal(guarded(network, "restorer", multiple_of=8)(image), expected)  # the scale is seen, not stated


def test_padding_mirrors_where_it_can():
    padded = {}
    guarded(lambda y: padded.update(y=y) or y, "restorer", multiple_of=4)(torch.arange(15.0).expand(1, 3, 3, 15) / 15)
    assert padded["y"][0, 0, 0, -1] == padded["y"][0, 0, 0, -3]


def test_a_stated_scale_is_enforced():
    with pytest.raises(NetworkContractError, match=r"expected \(1, 3, 8, 8\)"):
        guarded(lambda y: y, "restorer", scale=2)(torch.rand(1, 3, 4, 4))


def test_channels_are_checked():
    with pytest.raises(NetworkContractError, match="takes 1 channels, but the image has 3"):
        guarded(lambda y: y, "restorer", channels=1)(torch.rand(1, 3, 4, 4))


def test_bfloat16_is_only_for_networks_that_allow_it():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    image = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        exact = conv(image)
        allowed = guarded(conv, "restorer", bfloat16=True, supports_bfloat16=True)(image)
        kept = guarded(conv, "restorer", bfloat16=True)(image)
    assert torch.allclose(kept, exact, atol=1e-6)
    assert allowed.dtype == torch.float32
    assert 1e-5 < (allowed - exact).abs().max() < 0.03
    assert conv.weight.dtype == torch.float32


@pytest.mark.parametrize(("sigma_input", "expected"), [("sigma", 0.1), ("variance", 0.01), ("map", 0.1)])
@pytest.mark.parametrize("width", [1.0, 255.0])
def test_the_noise_level_arrives_as_the_network_wants_it(sigma_input, expected, width):
    seen = []

    def network(*arguments):
        seen.extend(arguments)
        return arguments[0][:, :3]

    denoiser = guarded(network, sigma_input=sigma_input, value_range=(0.0, width), multiple_of=4)
    noisy = torch.rand(2, 3, 3, 5)
    assert torch.allclose(denoiser(noisy, torch.tensor([0.1, 0.1])), noisy, atol=1e-6)
    power = 2 if sigma_input == "variance" else 1
    if sigma_input == "map":
        (image,) = seen
        assert image.shape == (2, 4, 4, 8)
        level = image[:, 3]
    else:
        level = seen[1]
    assert torch.allclose(level, torch.tensor(expected * width**power), rtol=1e-5)


def test_a_network_that_does_not_see_the_noise_is_not_told():
    assert guarded(lambda noisy: noisy, sigma_input="none")(torch.zeros(1, 3, 2, 2), torch.tensor([0.1])).sum() == 0


def test_small_images_grow_to_the_smallest_size():
    def network(observation):
        assert observation.shape[-2:] == (16, 20)
        return observation

    image = torch.rand(1, 3, 5, 18)
    assert torch.equal(guarded(network, "restorer", minimum_size=15, multiple_of=4)(image), image)


def test_bursts_are_padded_frame_by_frame_and_become_rgb():
    def network(burst):
        assert burst.shape == (2, 3, 4, 8, 16)
        return burst[:, 0, :3].repeat_interleave(2, 2).repeat_interleave(2, 3)

    burst = torch.rand(2, 3, 4, 7, 9)
    restored = guarded(network, "restorer", channels=4, scale=2, multiple_of=8)(burst)
    assert torch.equal(restored, burst[:, 0, :3].repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_grey_networks_return_grey_images():
    assert guarded(lambda y: y, "restorer", channels=1, scale=1)(torch.rand(1, 1, 4, 4)).shape == (1, 1, 4, 4)


def test_a_guarded_network_can_be_guarded_anew():
    first = guarded(lambda y: y, "restorer", value_range=(0.0, 255.0))
    again = LoadedNetwork("restorer", first, bfloat16=True)
    assert again.module is first.module
    assert again.info == first.info


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"value_range": (1.0, 0.0)}, "smaller first"),
        ({"sigma_range": (0.5, 0.1)}, "0 <= low <= high"),
        ({"sigma_input": "log"}, "'log': expected one of sigma, variance, map, none"),
        ({"multiple_of": 0}, "at least 1"),
        ({"scale": 0}, "at least 1"),
        ({"tiling": "never"}, "'never': expected one of supported, discouraged"),
    ],
)
def test_facts_that_cannot_be_are_refused(stated, sentence):
    with pytest.raises(NetworkContractError, match=sentence):
        NetworkInfo(**stated)


def test_what_networks_say_of_themselves():
    denoiser = info_of(build("unet-denoiser", {"sigma_range": [0.01, 0.5]}))
    assert (denoiser.sigma_range, denoiser.supports_bfloat16) == ((0.01, 0.5), True)
    assert info_of(build("fast-sr", {"scale": 2})).scale == 2
    assert info_of(nn.Identity()) == NetworkInfo()
    assert info_of(lambda y: y) == NetworkInfo()
    stated = nn.Identity()
    stated.info = NetworkInfo(scale=3)
    assert info_of(stated) is stated.info


def test_auto_precision_needs_hardware_and_a_sound_convolution(monkeypatch):
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "bfloat16_is_sound", lambda device: True)
    assert precision.uses_bfloat16("auto", CPU)
    assert not precision.uses_bfloat16("float32", CPU)
    monkeypatch.setattr(precision, "bfloat16_is_sound", lambda device: False)
    assert not precision.uses_bfloat16("auto", CPU)
    assert precision.uses_bfloat16("bfloat16", CPU)
    monkeypatch.setattr(precision, "_cpu_multiplies_bfloat16", lambda: False)
    assert not precision.uses_bfloat16("auto", CPU)
    with pytest.raises(DPIRError, match=r"'half'.*auto, float32, bfloat16"):
        precision.uses_bfloat16("half", CPU)


def test_the_soundness_check_notices_wrong_results(monkeypatch):
    precision.bfloat16_is_sound.cache_clear()
    assert precision.bfloat16_is_sound("cpu")
    real = F.conv2d

    def broken(image, weight, **options):
        result = real(image, weight, **options)
        return result * 1.1 if image.dtype == torch.bfloat16 else result

    precision.bfloat16_is_sound.cache_clear()
    monkeypatch.setattr(precision.F, "conv2d", broken)
    assert not precision.bfloat16_is_sound("cpu")
    precision.bfloat16_is_sound.cache_clear()


def test_the_processor_is_asked_without_failing():
    assert precision._cpu_multiplies_bfloat16() in (True, False)


def test_unknown_devices_are_named():
    assert precision.pick_device("cpu") == CPU
    assert precision.pick_device().type in {"cpu", "cuda", "mps"}
    with pytest.raises(DPIRError, match="'gpu9'"):
        precision.pick_device("gpu9")


class Dialled(nn.Module):
    def forward(self, restored, denoised, noisy, sigma, detail):
        return torch.lerp(restored, denoised, detail.view(-1, 1, 1, 1))


@pytest.mark.parametrize(
    ("fusion", "name"),
    [
        (lambda restored, denoised, noisy, sigma: restored, "<lambda>"),
        (build("fusion-3ca", {}), "Fusion3CA"),
    ],
)
def test_a_fusion_that_takes_no_dial_cannot_be_stated_to_see_it(fusion, name):
    sentence = rf"^The fusion {name} is stated to see the dial from 0\.4 on, but .*\(.*sigma, detail\): leave .*\.$"
    with pytest.raises(NetworkContractError, match=sentence):
        guarded(fusion, "fusion", detail=0.4)
    guarded(fusion, "fusion")


def test_a_fusion_that_takes_the_dial_or_whatever_comes_is_given_it():
    image, half = torch.rand(2, 3, 4, 4), torch.full((2,), 0.5)
    for fusion in (Dialled(), Dialled().forward, lambda *given: Dialled()(*given)):
        result = guarded(fusion, "fusion", detail=0.4)(image, image + 1, image, half, half)
        assert torch.allclose(result, image + 0.5)


def test_a_fast_fusion_that_was_built_without_the_dial_refuses_it():
    fusion = build("fast-fusion", {"channels": [8, 8], "blocks": [1, 1, 1], "encoding": 8})
    image, half = torch.rand(1, 3, 4, 4), torch.full((1,), 0.5)
    with pytest.raises(NetworkContractError, match="built without detail"):
        guarded(fusion, "fusion", detail=0.4)(image, image, image, half, half)
    with pytest.raises(NetworkContractError, match="built without detail"):
        fusion(image, image, image, half, half)
    assert guarded(fusion, "fusion")(image, image, image, half, half).shape == image.shape


def test_it_moves_as_modules_do_and_says_where_it_is():
    loaded = LoadedNetwork("restorer", torch.nn.Conv2d(3, 3, 1))
    assert loaded.device.type == "cpu"
    assert loaded.to("meta") is loaded
    assert loaded.device.type == loaded.module.weight.device.type == "meta"
    assert LoadedNetwork("restorer", lambda image: image).device.type == "cpu"
    assert set(loaded.state_dict()) == {"module.weight", "module.bias"}
