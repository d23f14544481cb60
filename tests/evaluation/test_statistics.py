"""Intervals cover as often as they say, p-values are uniform where nothing differs, and few images give neither."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_ir.errors import DataError
from dp_ir.evaluation.report.statistics import bootstrap_interval, holm, paired_p_value


@pytest.mark.parametrize("count", [5, 14])
def test_intervals_cover_the_mean(count):
    random = np.random.default_rng(count)
    trials = 400
    covered = 0
    for trial in range(trials):
        found = bootstrap_interval(random.normal(3.0, 2.0, count).tolist(), seed=trial)
        covered += found.low <= 3.0 <= found.high
    # 0.95 within three standard errors; 5 values are known to give somewhat less (0.92).
    assert covered / trials == pytest.approx(0.92 if count == 5 else 0.95, abs=0.04 if count == 5 else 0.033)


def test_intervals_of_many_values_agree_with_the_normal_law():
    values = np.random.default_rng(0).exponential(size=400)
    found = bootstrap_interval(values.tolist())
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.2 * error)  # the law is skewed upwards
    assert found.half_width == pytest.approx(1.96 * error, rel=0.06)


def test_intervals_are_reproducible_and_widen_with_confidence():
    values = np.random.default_rng(1).normal(size=12).tolist()
    assert bootstrap_interval(values) == bootstrap_interval(list(values))
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    assert bootstrap_interval(values, confidence=0.99).half_width > bootstrap_interval(values).half_width


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0, 3.0, 4.0], [1.0] * 5 + [math.inf], [1.0] * 5 + [math.nan]])
def test_no_interval_without_enough_finite_values(values):
    found = bootstrap_interval(values)
    assert found.low is found.high is found.half_width is None
    assert found.mean == pytest.approx(np.mean(values), nan_ok=True)


def test_equal_values_have_an_interval_of_no_width():
    assert bootstrap_interval([0.25] * 8).half_width == pytest.approx(0.0, abs=1e-12)


def test_no_values_are_an_error():
    with pytest.raises(DataError, match="at least one value"):
        bootstrap_interval([])


@pytest.mark.parametrize("count", [10, 24])
def test_p_values_are_uniform_where_nothing_differs(count):
    random = np.random.default_rng(count)
    found = []
    for trial in range(400):
        images = random.normal(size=count)  # what both methods share: a paired test must not see it
        first, second = (images + random.standard_t(3, size=count) for _ in range(2))
        found.append(paired_p_value(first.tolist(), second.tolist(), seed=trial))
    assert scipy.stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.parametrize("count", [7, 20])
def test_p_values_agree_with_scipy(count):
    random = np.random.default_rng(count)
    first = random.normal(0.5, 1.0, count)
    second = random.normal(size=count)
    other = scipy.stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=9999, rng=0
    )
    tolerance = 1e-9 if count == 7 else 0.02  # all signs, or random ones
    assert paired_p_value(first.tolist(), second.tolist()) == pytest.approx(other.pvalue, abs=tolerance)


def test_p_values_of_a_known_case():
    first, second = [2.0, 3.0, 4.0, 5.0, 6.0, 7.0], [1.0] * 6
    assert paired_p_value(first, second) == 2 / 2**6  # the observed signs and their opposite
    assert paired_p_value(first, first) == 1.0
    assert paired_p_value(first, second) == paired_p_value(second, first)


def test_a_small_difference_is_found_only_because_it_is_paired():
    random = np.random.default_rng(3)
    images = random.normal(28.0, 3.0, 14)
    better = images + 0.1 + random.normal(0.0, 0.05, 14)
    assert paired_p_value(better.tolist(), images.tolist()) < 0.001
    assert scipy.stats.ttest_ind(better, images).pvalue > 0.5


def test_p_values_that_would_say_nothing_are_not_given():
    assert paired_p_value([1.0] * 5, [0.0] * 5) is None
    assert paired_p_value([], []) is None
    assert paired_p_value([math.inf] + [1.0] * 9, [0.0] * 10) is None
    with pytest.raises(DataError, match="6 and 7 values"):
        paired_p_value([0.0] * 6, [0.0] * 7)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0.001, 1.0)), max_size=8))
def test_holm_keeps_order_and_never_lowers(p_values):
    adjusted = holm(p_values)
    assert [p is None for p in adjusted] == [p is None for p in p_values]
    known = [(p, a) for p, a in zip(p_values, adjusted, strict=True) if p is not None]
    assert all(p <= a <= 1.0 for p, a in known)
    assert [a for _, a in sorted(known)] == sorted(a for _, a in known)


def test_holm_of_a_known_case():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
