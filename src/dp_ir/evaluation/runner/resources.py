"""What a restoration costs: parameters, floating-point operations at any resolution, memory."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.degradation.synthetic_burst import FRAMES
from dp_ir.errors import DPIRError
from dp_ir.image.raw.burst import Burst
from dp_ir.restoration.pipeline import Restoration

FLOPS_PROTOCOL = (
    "FLOPs: 2 per multiply-accumulate, of convolutions, matrix products and attention, counted by "
    "torch.utils.flop_counter for one image with sides padded as the network needs; not counted: elementwise "
    "operations, normalisation, resampling, gathering and Fourier transforms."
)
"""How `flops` counts."""

MEASURED_PROTOCOL = (
    "Seconds and peak memory: one image of noise, seconds of the second call, memory of the first: what it added to "
    "the allocator's count on CUDA, to the resident memory of the process elsewhere."
)
"""How `measure` measures."""

_POLL_SECONDS = 0.005


# ---- parameters ------------------------------------------------------------------------------------------------------


def parameters(networks: Mapping[str, Any], roles: Collection[str] | None = None) -> int | None:
    """Parameters of networks, those that several share counted once.

    Args:
        networks: by role; modules, or anything that can be called.
        roles: which of them, such as those that were trained; None for all.

    Returns:
        Their number; None where one of them is no module, so that it cannot be known.
    """
    chosen = [_bare(network) for role, network in networks.items() if roles is None or role in roles]
    if not all(isinstance(network, nn.Module) for network in chosen):
        return None
    found = {id(parameter): parameter.numel() for network in chosen for parameter in network.parameters()}
    return sum(found.values())


# ---- floating-point operations ---------------------------------------------------------------------------------------


def flops(network: nn.Module, *inputs: Tensor) -> int:
    """Floating-point operations of one call, counted as `FLOPS_PROTOCOL` says.

    The call is only traced, on tensors without content, so that the size of the images costs neither time nor memory.
    A network that must see numbers, such as one that checks the noise level, is run on the inputs.

    Args:
        network: any module; nothing about it is changed.
        inputs: what it is called with.
    """
    with torch.no_grad():
        try:
            shadow = _without_content(network)
            with FlopCounterMode(display=False) as counter:
                shadow(*(torch.empty_like(given, device="meta") for given in inputs))
        except (RuntimeError, NotImplementedError, TypeError):  # operations without a meta kernel, .item(), no copy
            device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
            with FlopCounterMode(display=False) as counter:
                network(*(given.to(device) for given in inputs))
    return int(counter.get_total_flops())


def _without_content(network: nn.Module) -> nn.Module:
    """A copy of a module whose weights have shapes and types alone; weights that are shared stay shared."""
    # functional_call would do without a copy, but it leaves modules that are used twice without their weights.
    shadows: dict[int, Any] = {
        id(weight): nn.Parameter(torch.empty_like(weight, device="meta"), requires_grad=False)
        for weight in network.parameters()
    }
    shadows |= {id(buffer): torch.empty_like(buffer, device="meta") for buffer in network.buffers()}
    return copy.deepcopy(network, shadows)


@dataclass(frozen=True)
class Cost:
    """Operations of a restoration: what runs once, and what runs in each sampling step.

    Args:
        base: of the restorer.
        per_call: of the denoiser and the fusion, or of the bridge.
        size: of the restored image, (height, width).
    """

    base: int
    per_call: int
    size: tuple[int, int]

    def at(self, calls: int) -> int:
        """Operations of a whole restoration with so many sampling steps."""
        return self.base + calls * self.per_call


def restoration_cost(
    networks: Mapping[str, Any],
    size: tuple[int, int],
    *,
    infos: Mapping[str, NetworkInfo] | None = None,
    scale: int | None = None,
) -> Cost | None:
    """The cost of restoring one image of a given size.

    Args:
        networks: by role: "restorer", "denoiser", "fusion", "bridge"; those that are missing cost nothing.
        size: of the restored image, (height, width); the observation has 1 / scale of it, rounded up.
        infos: what is known of the networks, where they do not say so themselves, by role.
        scale: of the restorer; by default what is known of it, or what a trace shows.

    Returns:
        The cost; None where one of the networks is no module, so that it cannot be known.

    Raises:
        DPIRError: a network that cannot be called with images of this size, or a role that is not known.
    """
    of_role: dict[str, int] = {}
    for role, network in networks.items():
        info = (infos or {}).get(role) or (network.info if isinstance(network, LoadedNetwork) else info_of(network))
        module = _bare(network)
        if not isinstance(module, nn.Module):
            return None
        factor = (scale or info.scale or _traced_scale(module, info)) if role == "restorer" else 1
        sides = tuple(-(-side // factor) for side in size)
        try:
            of_role[role] = flops(module, *_inputs(role, info, (sides[0], sides[1])))
        except (RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DPIRError(
                f"The {role} cannot be called with an image of {sides[1]}x{sides[0]} pixels ({reason}): choose another "
                "size."
            ) from error
    return Cost(of_role.pop("restorer", 0), sum(of_role.values()), size)


def _inputs(role: str, info: NetworkInfo, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """What a network is called with for one image, as `LoadedNetwork` does it: all grey, at a level that it knows."""
    height, width = (-(-max(side, info.minimum_size) // info.multiple_of) * info.multiple_of for side in size)
    low, high = info.value_range
    image = torch.full((1, info.channels, height, width), (low + high) / 2)
    level = (high - low) * (sum(info.sigma_range) / 2 if info.sigma_range else 0.1)
    sigma = torch.full((1,), level**2 if info.sigma_input == "variance" else level)
    match role:
        case "restorer":
            return (image[:, None].expand(-1, FRAMES, -1, -1, -1) if info.input == "burst" else image,)
        case "fusion":
            return image, image, image, sigma
        case "denoiser" | "bridge" if info.sigma_input == "map":
            return (torch.cat((image, image[:, :1]), dim=1),)
        case "denoiser" | "bridge":
            return (image,) if info.sigma_input == "none" else (image, sigma)
    raise DPIRError(f"A network has the role '{role}', expected restorer, denoiser, fusion or bridge.")


def _traced_scale(network: nn.Module, info: NetworkInfo) -> int:
    """Side of what a restorer gives / side of what it takes, on an image without content; 1 where it must see one."""
    (image,) = _inputs("restorer", info, (64, 64))
    try:
        with torch.no_grad():
            result = _without_content(network)(image.to("meta"))
        return max(int(result.shape[-1]) // int(image.shape[-1]), 1)
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        return 1


def _bare(network: Any) -> Any:
    return network.module if isinstance(network, LoadedNetwork) else network


# ---- memory ----------------------------------------------------------------------------------------------------------


@dataclass
class PeakMemory:
    """Bytes that a piece of work added to the memory at its peak; None before its context has ended."""

    added: int | None = None


@contextmanager
def peak_memory(device: str | torch.device = "cpu") -> Iterator[PeakMemory]:
    """Measure the memory that a piece of work adds at its peak.

    On CUDA what its allocator handed out, exactly. On anything else the resident memory of this process, looked at
    every few milliseconds: memory that the allocator had kept from earlier work is not seen as added.

    Args:
        device: where the work runs.

    Examples:
        >>> with peak_memory() as peak:
        ...     block = torch.ones(4, 1024, 1024)
        >>> peak.added is not None
        True

    Raises:
        MissingExtraError: psutil is not installed, on a device other than CUDA.
    """
    device, peak = torch.device(device), PeakMemory()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        try:
            yield peak
        finally:
            torch.cuda.synchronize(device)
            peak.added = max(torch.cuda.max_memory_allocated(device) - before, 0)
        return
    process = psutil.Process()
    before = highest = process.memory_info().rss
    ended = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(_POLL_SECONDS):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch, name="peak-memory", daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        highest = max(highest, process.memory_info().rss)
        ended.set()
        watcher.join()
        peak.added = max(highest - before, 0)


# ---- both, of a restoration ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """One restoration, as it ran: wall-clock seconds, bytes added at the peak, evaluations by role."""

    seconds: float
    memory: int | None
    calls: Mapping[str, int]


def measure(restoration: Restoration, size: tuple[int, int]) -> Measured:
    """Restore one image of noise of a size (height, width) of the result, as `MEASURED_PROTOCOL` says.

    Raises:
        MissingExtraError: psutil is not installed, on a device other than CUDA.
        DPIRError: the restoration itself fails.
    """
    info = restoration.networks["restorer"].info
    height, width = (-(-side // (info.scale or 1)) for side in size)
    generator = torch.Generator().manual_seed(0)
    if info.input == "burst":
        observation: Tensor | Burst = Burst(torch.rand(FRAMES, info.channels, height, width, generator=generator))
    else:
        observation = torch.rand(1, info.channels, height, width, generator=generator)
    with peak_memory(restoration.device) as peak:  # of the first call: later ones find memory that the first one left
        restoration(observation)
    begun = time.perf_counter()
    result = restoration(observation)
    if isinstance(result.image, Tensor):
        float(result.image.sum())  # waits until the device has finished
    return Measured(time.perf_counter() - begun, peak.added, result.nfe)
