"""The spread of samples: Gaussians whose ratio of spread to error, and whose ranks, are known in advance."""

import itertools
import math

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics import spread as spread_module
from dp_ir.evaluation.metrics.spread import (
    PARTS,
    MeanPSNR,
    Spread,
    SpreadError,
    measure,
    rank_counts,
    rank_shares,
    spread_over_error,
    squared_error,
    squared_spread,
    unevenness,
)

SIZE = 192


def drawn(count, std, *, bias=0.0, seed=0, size=SIZE):
    """Samples of variance std^2 about a mean, and a truth of variance 1 about it, in units of 0.05."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.rand(3, size, size, generator=generator)
    truth = mean + 0.05 * torch.randn(mean.shape, generator=generator)
    samples = mean + 0.05 * (bias + std * torch.randn((count, *mean.shape), generator=generator))
    return samples, truth


def chance(shares, part):
    """Five standard deviations of a flat histogram's cell, relative to it, over the places of one image."""
    places = 3 * SIZE**2 // (4 if part == "band 2" else 1)
    return 5 * math.sqrt(len(shares) / places)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("std", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_ratio_is_the_one_known_in_advance(count, std, part):
    images = [measure(*drawn(count, std, seed=seed))[part] for seed in range(2)]
    # E[error^2] = 1 + std^2 / n; E[spread^2] = (1 + 1/n) std^2.
    expected = math.sqrt((1 + 1 / count) * std**2 / (1 + std**2 / count))
    assert spread_over_error(images) == pytest.approx(expected, rel=0.02)
    if std == 1:
        assert expected == pytest.approx(1)


def test_sums_are_taken_before_the_ratio():
    images = [Spread(1.0, 4.0, ()), Spread(3.0, 0.0, ())]
    assert spread_over_error(images) == 1.0
    assert spread_over_error([Spread(1.0, 0.0, ())]) == 0.0


def test_sums_by_hand():
    samples, truth = torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([0.0, 1.0])
    assert squared_error(samples, truth) == (4 + 1) / 2
    assert squared_spread(samples) == 1.5 * (2 + 0) / 2  # variances with n - 1
    assert rank_counts(samples, truth).tolist() == [1, 0, 1]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("count", [2, 3, 8])
def test_honest_samples_have_flat_ranks(count, part):
    shares = rank_shares([measure(*drawn(count, 1.0))[part]])
    assert len(shares) == count + 1
    assert sum(shares) == pytest.approx(1)
    assert unevenness(shares) < chance(shares, part)


@pytest.mark.parametrize("part", PARTS)
def test_too_little_spread_is_a_u_too_much_a_dome_and_bias_a_slope(part):
    u, dome, slope = (
        rank_shares([measure(*drawn(8, std, bias=bias))[part]]) for std, bias in ((0.5, 0), (2, 0), (1, 1))
    )
    for shares, sign in ((u, 1), (dome, -1)):
        assert shares[0] == pytest.approx(shares[-1], abs=chance(shares, part) / 9)
        assert all(sign * a > sign * b for a, b in itertools.pairwise(shares[:5]))
        assert all(sign * a < sign * b for a, b in itertools.pairwise(shares[4:]))
        assert unevenness(shares) > 0.3
    # All samples lie higher than the truth by its own deviation; bands see nothing of a constant.
    if part == "pixels":
        assert all(a > b for a, b in itertools.pairwise(slope))
    else:
        assert unevenness(slope) < chance(slope, part)


@pytest.mark.parametrize("std", [0.0, 0.7])
def test_known_cells_of_two_samples(std):
    # Of truth 1 and samples of std, P(truth below both) = 1/4 + arcsin(rho) / (2 pi), rho = 1 / (1 + std^2).
    samples, truth = drawn(2, std)
    expected = 0.25 + math.asin(1 / (1 + std**2)) / (2 * math.pi)
    shares = rank_shares([measure(samples, truth)["pixels"]])
    assert shares == pytest.approx((expected, 1 - 2 * expected, expected), abs=0.005)


def test_ties_are_spread_evenly():
    assert rank_counts(torch.zeros(3, 4), torch.zeros(4)).tolist() == [1, 1, 1, 1]
    samples = torch.tensor([0.0, 1.0, 1.0, 2.0])[:, None]
    assert rank_counts(samples, torch.tensor([1.0])).tolist() == [0, 1 / 3, 1 / 3, 1 / 3, 0]
    assert rank_counts(samples, torch.tensor([2.0])).tolist() == [0, 0, 0, 0.5, 0.5]


@pytest.mark.parametrize("levels", [2, 5])
def test_coarse_levels_leave_no_bias(levels):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(levels, (9, 3, SIZE, SIZE), generator=generator).float()
    for name, part in measure(values[1:], values[0]).items():
        shares = rank_shares([part])
        assert unevenness(shares) < chance(shares, name)


def test_ties_of_whole_levels_are_found_in_the_bands():
    # A flat truth among flat samples of other levels: in every band all are exactly 0, whatever the levels.
    for dtype, top in ((torch.float32, 255), (torch.float64, 65535)):
        levels = torch.linspace(0, top, 5, dtype=dtype).round()
        samples = levels[1:, None, None, None].expand(-1, 3, 9, 12)
        parts = measure(samples.contiguous(), levels[0].expand(3, 9, 12).contiguous())
        assert parts["pixels"].ranks == (3 * 9 * 12, 0, 0, 0, 0)
        for part in PARTS[1:]:
            assert len(set(parts[part].ranks)) == 1
        # The same texture on other levels.
        texture = torch.randint(0, 50, (3, 16, 16), generator=torch.Generator().manual_seed(0)).to(dtype)
        shifted = torch.stack([texture + shift for shift in (7, 101, 200)])
        for part in PARTS[1:]:
            assert len(set(measure(shifted, texture)[part].ranks)) == 1


def test_order_scale_and_offset_change_nothing():
    samples, truth = drawn(4, 0.8, size=32)
    one = measure(samples, truth)
    other = measure(2 * samples.flip(0) + 1, 2 * truth + 1)
    for part in PARTS:
        assert spread_over_error([other[part]]) == pytest.approx(spread_over_error([one[part]]), rel=1e-4)
        assert other[part].error == pytest.approx(4 * one[part].error, rel=1e-4)
    assert other["pixels"].ranks == pytest.approx(one["pixels"].ranks, abs=3)


def test_one_pixel():
    parts = measure(torch.tensor([0.1, 0.5]).view(2, 1, 1, 1).expand(2, 3, 1, 1), torch.full((3, 1, 1), 0.3))
    assert parts["pixels"].ranks == (0, 3, 0)
    assert parts["pixels"].error == pytest.approx(0, abs=1e-12)
    assert parts["band 1"] == Spread(0.0, 0.0, (1, 1, 1))


def test_what_nothing_can_be_said_of():
    with pytest.raises(DataError, match="without any error"):
        spread_over_error([Spread(0.0, 0.0, (1.0, 1.0, 1.0))])
    with pytest.raises(DataError, match="at least two"):
        measure(torch.rand(1, 3, 8, 8), torch.rand(3, 8, 8))
    with pytest.raises(DataError, match=r"shape \(2, 3, 8, 8\) and the truth \(1, 3, 8, 8\)"):
        measure(torch.rand(2, 3, 8, 8), torch.rand(1, 3, 8, 8))


def test_metrics_of_tensors():
    pairs = [drawn(8, 1.0, seed=seed, size=64) for seed in range(3)]
    outputs, targets = [samples for samples, _ in pairs], [truth[None] for _, truth in pairs]
    for part in PARTS:
        metric = SpreadError(part)
        assert metric(outputs, targets) == pytest.approx(1, abs=0.03)
        assert metric(outputs, targets) == spread_over_error([measure(*pair)[part] for pair in pairs])
    target = torch.full((1, 3, 8, 8), 0.5)
    samples = torch.stack([torch.full((3, 8, 8), level / 255 + 0.5) for level in (-25, 77)])  # 26 levels off on average
    assert MeanPSNR(border=2)(samples, target).tolist() == [pytest.approx(20 * math.log10(255 / 26), abs=0.4)]


def test_metrics_bring_what_another_device_holds_to_the_cpu(monkeypatch):
    """Fake tensors have a device, but no values, so what would measure these is replaced."""
    seen = []

    def measured(samples, truth):
        seen.extend((samples.device.type, truth.device.type))
        return {PARTS[0]: Spread(1.0, 1.0, ())}

    monkeypatch.setattr(spread_module, "measure", measured)
    with FakeTensorMode():
        samples, truth = torch.empty(2, 3, 8, 8, device="cuda"), torch.empty(1, 3, 8, 8)
        for own, true in ((samples, truth), (samples.cpu(), truth.cuda()), (samples, truth.cuda())):
            assert SpreadError()([own], [true]) == 1
            assert MeanPSNR()(own, true).device.type == "cpu"
    assert set(seen) == {"cpu"}
