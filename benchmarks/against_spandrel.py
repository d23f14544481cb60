"""SwinIR, RRDBNet and FFTformer of this package against spandrel's, with the same weights, in float32.

    python benchmarks/against_spandrel.py [--threads 2] [--rounds 5] [--only swinir] [--json]

Both implementations get the same random weights and image and run in turn, so that what else the machine does meets
both; the least time of each counts. The error is the largest difference relative to the largest value.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.FFTformer import FFTformer as OtherFFTformer
from spandrel.architectures.SwinIR import SwinIR as OtherSwinIR
from torch import Tensor, nn

from dp_ir.checkpoints.loaded_network import channels_last
from dp_ir.networks.fftformer.model import FFTformer
from dp_ir.networks.rrdb.detect import DETECTOR
from dp_ir.networks.rrdb.model import RRDBNet
from dp_ir.networks.swinir.model import SwinIR

_LIGHT: dict[str, Any] = {
    "depths": [6] * 4,
    "embed_dim": 60,
    "num_heads": [6] * 4,
    "upsampler": "pixelshuffledirect",
}


class Row(NamedTuple):
    """One comparison: seconds of one call each, and what follows from them."""

    network: str
    side: int
    ours: float
    spandrel: float
    ratio: float
    error: float


def _pairs() -> Iterator[tuple[str, tuple[int, ...], Callable[[], tuple[nn.Module, nn.Module]]]]:
    """Name, sides of the images, and what makes both networks."""

    def swinir(**config: Any) -> Callable[[], tuple[nn.Module, nn.Module]]:
        def make() -> tuple[nn.Module, nn.Module]:
            ours = SwinIR(**config)
            other = OtherSwinIR(**ours.config)
            ours.load_state_dict(other.state_dict())
            return ours, other

        return make

    def rrdb() -> tuple[nn.Module, nn.Module]:
        ours, other = RRDBNet(), ESRGAN()
        ours.load_state_dict(DETECTOR.rename(other.state_dict()))
        return ours, other

    def fftformer() -> tuple[nn.Module, nn.Module]:
        ours = FFTformer()
        config = dict(ours.config)
        channels = config.pop("channels")
        other = OtherFFTformer(inp_channels=channels, out_channels=channels, **config)
        for name, parameter in other.named_parameters():
            if name.endswith(".fft"):  # the ones that training starts from would hide what the filters do
                nn.init.normal_(parameter)
        ours.load_state_dict(other.state_dict())
        return ours, other

    yield "swinir-classical-x4", (64, 128), swinir()
    yield "swinir-lightweight-x4", (64, 128), swinir(**_LIGHT)
    yield "rrdb-x4", (64, 128), rrdb
    yield "fftformer", (256,), fftformer


def compare(
    *, threads: int = 2, rounds: int = 5, only: str = "", clock: Callable[[], float] | None = None
) -> list[Row]:
    """Time all pairs.

    Args:
        threads: of PyTorch.
        rounds: calls of each implementation, in turn; one more warms up.
        only: take networks whose name contains this.
        clock: gives seconds; the wall clock by default. `time.process_time`, with one thread, is for busy machines.
    """
    clock = clock or time.perf_counter
    torch.set_num_threads(threads)
    rows = []
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of spandrel's own dependencies
        for name, sides, make in _pairs():
            if only not in name:
                continue
            torch.manual_seed(0)
            ours, other = (network.eval() for network in make())
            channels_last(ours)
            for side in sides:
                rows.append(_row(name, side, ours, other, rounds, clock))
    return rows


def _row(name: str, side: int, ours: nn.Module, other: nn.Module, rounds: int, clock: Callable[[], float]) -> Row:
    image = torch.rand(1, 3, side, side)
    found, expected = ours(image), other(image)
    error = float((found - expected).abs().max() / expected.abs().max())
    seconds: dict[nn.Module, list[float]] = {ours: [], other: []}
    for _ in range(rounds):
        for network, taken in seconds.items():
            taken.append(_timed(network, image, clock))
    best = {network: min(taken) for network, taken in seconds.items()}
    return Row(name, side, best[ours], best[other], best[other] / best[ours], error)


def _timed(network: nn.Module, image: Tensor, clock: Callable[[], float]) -> float:
    start = clock()
    network(image)
    return clock() - start


def table(rows: list[Row]) -> str:
    """The rows in Markdown."""
    lines = ["| network | input | ours | spandrel | faster by | error |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.network} | {row.side} x {row.side} | {row.ours:.3f} s | {row.spandrel:.3f} s | {row.ratio:.2f} | "
        f"{row.error:.1e} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="networks whose name contains this")
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine, with --threads 1")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    clock = time.process_time if given.processor_time else None
    rows = compare(threads=given.threads, rounds=given.rounds, only=given.only, clock=clock)
    print(json.dumps([row._asdict() for row in rows], indent=2) if given.json else table(rows))


if __name__ == "__main__":
    main()
