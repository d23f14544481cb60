"""Memory: how much there is, how much a network takes per pixel, and how running out of it is told."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_CONTROL_GROUPS = (  # limit and use: version 2, version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)
SHARE = 0.5
"""Of the free memory, what a restoration takes by default."""

_PHRASES = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device; on the CPU no more than a container's limit leaves."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + cached
    free = int(psutil.virtual_memory().available)
    for paths in _CONTROL_GROUPS:
        with suppress(OSError, ValueError):  # no such control group, or no limit ("max")
            limit, used = (int(Path(path).read_text(encoding="ascii")) for path in paths[:2])
            # Cached files count as used, but are given up where memory is needed.
            stat = dict(line.split() for line in Path(paths[2]).read_text(encoding="ascii").splitlines())
            used -= int(stat.get("inactive_file", stat.get("total_inactive_file", 0)))
            free = min(free, max(limit - used, 0))
    return free


def budget(device: torch.device, memory: int | None = None) -> int:
    """Bytes that a restoration may still take.

    Args:
        device: of the networks.
        memory: bytes that the process may hold in all; half of what is free, and what it holds already, by default.
    """
    if memory is not None and device.type == "cpu":
        return max(memory - resident_memory(), 0)
    return int(SHARE * free_memory(device))


def resident_memory() -> int:
    """Bytes of memory that this process holds."""
    return int(psutil.Process(os.getpid()).memory_info().rss)


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most bytes of tensors that are alive at once while something runs, those that it returns included.

    What libraries allocate within an operation is not seen.
    """
    with _LiveTensors() as live:
        result = run()
    del result
    return live.peak


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, on any device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in _PHRASES)


class _LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations make, from their making to their end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._seen: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        for storage in _storages(result):
            key = storage._cdata
            if key in self._seen or key in given:
                continue
            self._seen[key] = storage.nbytes()
            self._now += storage.nbytes()
            weakref.finalize(storage, self._ended, key)
        self.peak = max(self.peak, self._now)
        return result

    def _ended(self, key: int) -> None:
        self._now -= self._seen.pop(key, 0)


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            yield value.untyped_storage()
