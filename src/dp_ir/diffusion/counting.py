"""Counting network evaluations (NFE), per network."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class CallCounter:
    """Counts how often each network is called; one call on a batch is one evaluation of every image in it.

    Examples:
        >>> counter = CallCounter()
        >>> double = counter.wrap("denoiser", lambda x: 2 * x)
        >>> double(double(1))
        4
        >>> counter.calls, counter.total
        ({'denoiser': 2}, 2)
    """

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}

    def wrap(self, name: str, network: Callable[P, R]) -> Callable[P, R]:
        """The same callable, counted under `name`; wrapping several under one name adds them up."""
        self._calls.setdefault(name, 0)

        @functools.wraps(network, updated=())  # a module's __dict__ is not to be copied into the wrapper's
        def counted(*args: P.args, **kwargs: P.kwargs) -> R:
            self._calls[name] += 1
            return network(*args, **kwargs)

        return counted

    @property
    def calls(self) -> dict[str, int]:
        """Evaluations so far by name, as a copy; a network that was wrapped but never called counts 0."""
        return dict(self._calls)

    @property
    def total(self) -> int:
        """Evaluations so far of all networks together."""
        return sum(self._calls.values())

    def reset(self) -> None:
        """Starts again from 0 and keeps the names."""
        self._calls = dict.fromkeys(self._calls, 0)
