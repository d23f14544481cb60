"""The dial between the restorer's estimate and a sample, for fusions that see it and for those that do not."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from tiled_networks import Convolutions, photo

from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.diffusion.samplers import SAMPLERS
from dp_ir.errors import DPIRError, ScheduleError
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.restoration import Restoration
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS
from dp_ir.restoration.sampling_plan import seen_and_share

DIALS = (0.0, 0.25, 0.5, 0.75, 1.0)
IMAGE = photo(20, 24)


class Dialled(Convolutions):
    """Adds what it makes to the restored image, as much as the dial says, and keeps what it was given."""

    def __init__(self):
        super().__init__(3, 3)
        self.seen = []

    def forward(self, restored, denoised, noisy, sigma, detail):
        self.seen.append(detail.clone())
        fused = super().forward(restored, denoised, noisy, sigma)
        return torch.lerp(restored, fused, detail[:, None, None, None])


def restoration(*, dialled, steps=2, restorer=None, **settings):
    fusion = Dialled() if dialled else Convolutions(3, 3)
    return Restoration.from_parts(
        restorer=restorer or Convolutions(1, 1),
        denoiser=Convolutions(1, 2),
        fusion=fusion,
        infos={"fusion": NetworkInfo(scale=1, receptive_field=3, detail=0.4 if dialled else None)},
        device="cpu",
        precision="float32",
        steps=steps,
        **settings,
    )


@pytest.mark.parametrize("dialled", [False, True])
def test_at_0_it_is_the_restorers_estimate_and_nothing_else_is_called(dialled):
    restore = restoration(dialled=dialled)
    result = restore(IMAGE, detail=0, num_samples=2)
    expected = restore(IMAGE, tau=0)
    assert torch.equal(result.image, expected.image)
    assert torch.equal(result.image, result.restored)
    assert float(result.std.abs().max()) == 0
    assert result.nfe == {"restorer": 1, "denoiser": 0, "fusion": 0}
    alone = Restoration.from_parts(restorer=Convolutions(1, 1), detail=0, device="cpu", precision="float32")
    assert torch.equal(alone(IMAGE).image, expected.image)  # so no other network is needed
    with pytest.raises(DPIRError, match="needs a denoiser and a fusion"):
        alone(IMAGE, detail=0.5)


def test_at_1_a_fusion_without_a_dial_is_run_as_ever():
    """Against the sampler over the networks themselves, without the pipeline."""
    restore = restoration(dialled=False)
    result = restore(IMAGE, seed=3)
    assert torch.equal(restore(IMAGE, seed=3, detail=1).image, result.image)
    assert torch.equal(restore(IMAGE, seed=3, detail=1.0).image, result.image)
    chain, networks = restore.chain(), restore.networks
    assert (chain.detail, chain.share) == (1.0, 1.0)
    states = []
    restore(IMAGE, seed=3, callback=lambda info: states.append(info))
    with torch.no_grad():
        restored = networks["restorer"](IMAGE)
        last = states[-1]
        sigma = torch.tensor([last.sigma])
        expected = networks["fusion"](restored, networks["denoiser"](last.noisy, sigma), last.noisy, sigma)
    assert torch.allclose(result.image, expected.clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("detail", [0.25, 0.5, 0.9])
def test_without_a_dial_it_is_the_straight_line_before_the_end_is_clamped(detail):
    wild = Convolutions(1, 1)
    restore = restoration(dialled=False, restorer=lambda y: 3 * wild(y) - 1)
    ends = []
    sampler = DEFAULT_SETTINGS.sampler

    def kept(estimate, noisy, sigmas, **options):
        ends.append(SAMPLERS[sampler](estimate, noisy, sigmas, **options))
        return ends[-1]

    found = restore(IMAGE, seed=2, detail=detail, sampler=kept, eta=0.0).image
    with torch.no_grad():
        restored = 3 * wild(IMAGE) - 1
    assert restored.max() > 1  # or clamping first would give the same
    expected = ((1 - detail) * restored + detail * ends[0]).clamp(0, 1)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, (1 - detail) * restored.clamp(0, 1) + detail * ends[0].clamp(0, 1), atol=1e-3)


@pytest.mark.parametrize("dialled", [False, True])
def test_the_result_leaves_the_restorer_steadily(dialled):
    """In one call, as it is trained for; with the noise being the same, so that only the dial differs."""
    restore = restoration(dialled=dialled, steps=1, tau=30)  # little noise: far from where results are clamped
    image = 0.45 + 0.1 * IMAGE
    restored = restore(image, tau=0).image
    distances = [float((restore(image, seed=4, detail=dial).image - restored).norm()) for dial in DIALS]
    assert distances[0] == 0
    assert all(one < other for one, other in pairwise(distances))
    assert distances[2] == pytest.approx(distances[4] / 2, rel=0.02)


def test_a_fusion_with_a_dial_is_given_it_at_every_call_and_no_line_is_drawn_after():
    restore = restoration(dialled=True, steps=3)
    seen = restore.networks["fusion"].module.seen
    result = restore(IMAGE.repeat(2, 1, 1, 1), seed=[1, 2], detail=0.5)
    assert [value.tolist() for value in seen] == [[0.5, 0.5]] * 3
    assert result.nfe == {"restorer": 1, "denoiser": 3, "fusion": 3}
    last = []
    one = restoration(dialled=True, steps=1)
    image = one(IMAGE, detail=0.5, callback=last.append).image
    assert torch.equal(image, last[0].estimate.clamp(0, 1))
    seen.clear()
    restore(IMAGE)
    assert {float(value) for value in seen} == {1.0}


def test_the_memory_of_a_fusion_with_a_dial_is_measured(monkeypatch):
    restore = restoration(dialled=True, steps=1)
    monkeypatch.setattr("dp_ir.restoration.tiling.tiled_networks._UNMEASURED", 0)
    restore(IMAGE, detail=0.5)
    assert [len(value) for value in restore.networks["fusion"].module.seen] == [1, 1]  # the probe, and the call


@pytest.mark.parametrize(("dial", "given", "share"), [(0.5, 0.5, 1.0), (0.4, 0.4, 1.0), (0.1, 0.4, 0.25)])
def test_below_what_a_fusion_sees_of_the_dial_lies_a_straight_line(dial, given, share):
    restore = restoration(dialled=True, steps=1)
    last = []
    image = restore(IMAGE, detail=dial, callback=last.append).image
    assert [float(value) for value in restore.networks["fusion"].module.seen] == [pytest.approx(given)]
    restored = restore.networks["restorer"](IMAGE)
    assert torch.allclose(image, torch.lerp(restored, last[0].estimate, share).clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("least", [None, 0.2, 1.0])
@pytest.mark.parametrize("dial", [0.0, 0.1, 0.2, 0.3, 1.0])
def test_what_is_seen_and_the_share_make_the_dial_together(dial, least):
    seen, share = seen_and_share(dial, least)
    assert seen * share == pytest.approx(dial)
    assert seen >= (least or 1)
    assert seen == (least or 1) or share == 1
    assert (type(seen), type(share)) == (float, float)


def test_the_fast_fusion_says_that_it_sees_the_dial():
    torch.manual_seed(0)
    parts = {"restorer": Convolutions(1, 1), "denoiser": Convolutions(1, 2)}
    for detail in (None, 0.3):
        fusion = FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8, detail=detail)
        for parameter in fusion.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        restore = Restoration.from_parts(**parts, fusion=fusion, device="cpu", precision="float32", steps=1)
        assert restore.chain(detail=0.5).share == (1.0 if detail else 0.5)
        infos = []
        with torch.no_grad():
            image = restore(IMAGE, detail=0.5, callback=infos.append).image
            noisy, sigma = infos[0].noisy, torch.tensor([infos[0].sigma])
            restored = parts["restorer"](IMAGE)
            given = (restored, parts["denoiser"](noisy, sigma), noisy, sigma)
            half = torch.tensor([0.5])
            expected = fusion(*given, half) if detail else restored + 0.5 * (fusion(*given) - restored)
        assert torch.allclose(image, expected.clamp(0, 1), atol=1e-6)


@pytest.mark.parametrize("dialled", [False, True])
def test_settings_hold_the_dial_and_a_call_overrules_it(dialled):
    half = restoration(dialled=dialled, detail=0.5)
    whole = restoration(dialled=dialled)
    assert torch.equal(half(IMAGE).image, whole(IMAGE, detail=0.5).image)
    assert torch.equal(half(IMAGE, detail=1).image, whole(IMAGE).image)
    assert not torch.equal(half(IMAGE).image, whole(IMAGE).image)


@pytest.mark.parametrize("dialled", [False, True])
def test_samples_batches_and_tiles_follow_it(dialled):
    restore = restoration(dialled=dialled, sampler="ddpm", eta=1.0)
    batch = torch.cat([IMAGE, photo(20, 24, seed=1)])
    result = restore(batch, seed=[5, 6], num_samples=3, detail=0.5)
    assert torch.allclose(result.mean, result.samples.mean(0))
    assert torch.allclose(restore(batch[1:], seed=6, detail=0.5).image[0], result.image[1], atol=1e-6)
    large = photo(90, 110)
    whole, tiled = (restore(large, seed=3, detail=0.5, tile=tile).image for tile in (1024, 64))
    assert float((whole - tiled).abs().max()) < 1e-5


@pytest.mark.parametrize("detail", [-0.1, 1.5, math.nan, math.inf, True, False, "0.5", [0.5]])
def test_what_is_no_dial_is_one_sentence(detail):
    sentence = r"^The detail is .*: expected a number from 0 .* to 1 .*\.$"
    with pytest.raises(ScheduleError, match=sentence):
        restoration(dialled=False)(IMAGE, detail=detail)
    with pytest.raises(ScheduleError, match=sentence):
        restoration(dialled=False, detail=detail)


def test_numbers_of_numpy_are_numbers():
    restore = restoration(dialled=False)
    assert torch.equal(restore(IMAGE, detail=np.float32(0.5)).image, restore(IMAGE, detail=0.5).image)
