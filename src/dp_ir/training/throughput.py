"""How much of what a machine can compute a training uses: its operations per second over those of a matrix product."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

_SIDE, _SIDE_ON_GPU = 1024, 8192  # of the matrices: those of a GPU must be large to keep it busy
_REPEATS = 5


def matrix_product(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations per second of the product of two square matrices, the best of a few tries."""
    side = _SIDE if device.type == "cpu" else _SIDE_ON_GPU
    first, second = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(_REPEATS):
        _wait(device)
        start = time.perf_counter()
        first @ second
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


class Throughput:
    """The share of a matrix product's speed that the steps of a training reach, data and everything else included.

    Args:
        device: what is trained on.
        dtype: precision of the network's arithmetic.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self.operations: int | None = None  # floating-point operations of a step; known after the first one
        self._peak = 0.0
        self._steps, self._seconds, self._since = 0, 0.0, 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around each step: counts the operations of the first one, and the time of those that follow."""
        if self.operations is None:
            self._peak = matrix_product(self._device, self._dtype)
            with FlopCounterMode(display=False) as counter:
                yield
            self.operations = counter.get_total_flops()
        else:
            yield
            self._steps += 1
            self._seconds += time.perf_counter() - self._since
        self._since = time.perf_counter()

    def pause(self) -> None:
        """After work that is no part of a step, such as a validation: its time does not count."""
        self._since = time.perf_counter()

    def share(self) -> float | None:
        """The share since the last call, about 0 to 1; None where there was no step that counts."""
        if not self._steps or self.operations is None:
            return None
        _wait(self._device)
        self._seconds += time.perf_counter() - self._since
        share = self.operations * self._steps / self._seconds / self._peak
        self._steps, self._seconds = 0, 0.0
        return share


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was told."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
