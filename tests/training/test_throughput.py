"""The share of a matrix product's speed: operations counted by hand, a clock that is told what time it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dp_ir.training import throughput
from dp_ir.training.throughput import Throughput, matrix_product


class _Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(throughput.time, "perf_counter", lambda: self.now)


def test_operations_over_time_over_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    monkeypatch.setattr(throughput, "matrix_product", lambda device, dtype: 1e6)
    meter = Throughput(torch.device("cpu"), torch.float32)
    network, batch = nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.randn(2, 3, 10, 12)
    for step in range(6):
        clock.now += 0.25  # waiting for data
        with meter.step():
            network(batch).square().sum().backward()
            clock.now += 0.75
        if step == 0:
            assert meter.share() is None  # the operations are counted in the first step, which takes longer
        clock.now += 40  # a validation
        meter.pause()
    # Forward, and backward to the weights; the batch needs no gradient. A multiplication and an addition each.
    operations = 2 * 2 * (2 * 8 * 3 * 9 * 10 * 12)
    assert meter.share() == pytest.approx(operations / 1.0 / 1e6)
    assert meter.share() is None


def test_a_matrix_product_has_a_speed() -> None:
    assert matrix_product(torch.device("cpu"), torch.float32) > 1e8
