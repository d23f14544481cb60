"""The bars of `bars.py` that are no comparison of stored images: times, and the denoiser by itself."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch

from bar_plans import OURS
from dp_ir.checkpoints.bundle import locate_bundle, read_bundle
from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.degradation import imresize
from dp_ir.diffusion.noise import generators, randn
from dp_ir.errors import DPIRError
from dp_ir.evaluation import (
    PSNR,
    Metric,
    Observation,
    Report,
    SetMetric,
    Table,
    Target,
    make_metrics,
    open_dataset,
    parse_method,
)
from dp_ir.evaluation.metrics.names import border_of
from dp_ir.restoration.pipeline import Restoration
from dp_ir.runtime.precision import uses_bfloat16
from dp_ir.tasks import Task, get_task

THREADS = 2
"""Of everything that is timed here."""

TIMES = {
    "time": (("sr4", 128, 128, 0.45), ("sr4", 256, 256, 2.0)),
    "photo": (("photo", 128, 128, 0.45),),
    "clean": (("clean", 3000, 4000, 25.0),),
}
"""By section: bundle, height and width of the observation, and the longest time in seconds."""

LONG = 10.0
"""Seconds from which a restoration is timed only once more."""

PEER_CALLS = 100
PEER = f"DiffPIR, {PEER_CALLS} calls"
PEER_IMAGES = 3

Result = TypeVar("Result")

DENOISER_BARS = {15: 33.9, 25: 31.25, 50: 28.05}
"""Lowest PSNR by noise level (of 255)."""


class LeftOutError(DPIRError):
    """Data or weights that are not there: what needs them is left out, and the rest goes on."""


def metrics_of(names: tuple[str, ...], task: Task, options: argparse.Namespace) -> tuple[list[Metric], list[SetMetric]]:
    """Metrics of images and of sets; raises LeftOutError where their weights are not to be had."""
    try:
        return make_metrics(names, border=border_of(task), weights=options.weights)
    except DPIRError as error:
        raise LeftOutError(str(error)) from error


# ---- time ------------------------------------------------------------------------------------------------------------


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Networks run with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def restoration_times(report: Report, options: argparse.Namespace, bundles: Mapping[str, str], *, section: str) -> None:
    """Seconds of one restoration once everything is loaded."""
    rows = []
    with threads(THREADS):
        for bundle, height, width, limit in TIMES[section]:
            if bundle not in bundles:
                report.state(f"The time of '{bundle}' is left out: there is no such bundle.")
                continue
            restoration = Restoration.from_pretrained(bundles[bundle], device="cpu")
            scale = get_task(bundle).scale
            reduced = torch.rand(1, 3, height // 4, width // 4, generator=generators([0])[0])
            observation = imresize(reduced, 4).clamp(0, 1)
            first = _timed(partial(restoration, observation, seed=0))[0]
            repeats = 1 if first > LONG else options.repeats
            further = [_timed(partial(restoration, observation, seed=0))[0] for _ in range(repeats)]
            size = f"{width}x{height} -> {width * scale}x{height * scale}"
            shown = (first, statistics.median(further), min(further))
            rows.append([bundle, size, *(f"{second:.2f}" for second in shown), repeats])
            report.targets.append(
                Target("time of one image", f"{bundle}, {size}", "<=", limit, statistics.median(further), "s")
            )
    columns = ["bundle", "size", "first call, s", "median of further calls, s", "fastest, s", "further calls"]
    report.tables.append(Table(f"Time of one image with {THREADS} threads, after loading", columns, rows))
    report.state(
        f"Times: the default of the bundle on the CPU with {THREADS} threads, freed memory kept as `dp-ir restore` "
        "keeps it; no other program should run meanwhile"
    )


def against_diffpir(report: Report, options: argparse.Namespace, bundles: Mapping[str, str]) -> None:
    """DP-IR and DiffPIR with the same denoiser in turn, on the same images."""
    task, folder = get_task("sr4"), options.data / "test" / "Set14"
    if not folder.is_dir():
        raise LeftOutError(f"There is no folder '{folder}'.")
    (psnr, lpips, half), _ = metrics_of(("psnr", "lpips", "lpips-half"), task, options)
    texts = {OURS: bundles["sr4"], PEER: f"diffpir:{bundles['sr4']},steps={PEER_CALLS}"}
    methods = {name: parse_method(f"{name}={text}", device="cpu") for name, text in texts.items()}
    images = open_dataset(folder, scale=task.scale, degrade=task.degrade)
    count = min(PEER_IMAGES, len(images), options.limit or PEER_IMAGES)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    values: dict[str, dict[str, list[float]]] = {
        name: {metric.name: [] for metric in (psnr, lpips, half)} for name in methods
    }
    with threads(THREADS):
        first = Observation(images.name, images[0].name, images[0].observation)
        methods[OURS](
            first, 0
        )  # what only a first call does would count for much of its time, and little of the peer's
        for index in range(count):
            pair = images[index]
            observation = Observation(images.name, pair.name, pair.observation)
            for name, method in methods.items():
                taken, output = _timed(partial(method, observation, index))
                seconds[name].append(taken)
                stored = output.image.clamp(0, 1).mul(255).round().div(255)
                for metric in (psnr, lpips, half):
                    values[name][metric.name].append(float(metric(stored, pair.target)))
    means = {name: {key: statistics.fmean(found) for key, found in own.items()} for name, own in values.items()}
    rows = [
        [
            name,
            f"{own['PSNR']:.2f}",
            f"{own['LPIPS']:.4f}",
            f"{own['LPIPS 1/2']:.4f}",
            f"{statistics.fmean(seconds[name]):.2f}",
        ]
        for name, own in means.items()
    ]
    title = f"DP-IR and DiffPIR in one run, with {THREADS} threads"
    report.tables.append(Table(title, ["method", "PSNR", "LPIPS", "LPIPS 1/2", "s / image"], rows))
    report.data["against DiffPIR"] = {"seconds": seconds, "values": values}
    on = f"sr4, Set14, first {count}"
    ratio = sum(seconds[PEER]) / sum(seconds[OURS])
    report.targets += [
        Target(f"seconds, {PEER} / DP-IR", on, ">=", 120, ratio, digits=1),
        Target(f"LPIPS, DP-IR / {PEER}", on, "<=", 1.0, means[OURS]["LPIPS"] / means[PEER]["LPIPS"], digits=3),
    ]
    report.state(str(getattr(methods[PEER], "protocol", "")), psnr.protocol, lpips.protocol, half.protocol)
    report.state(
        f"DP-IR and {PEER}: both in the default precision of this processor, with {THREADS} threads, in turn on each "
        "image; DP-IR once before that, uncounted"
    )


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    begun = time.perf_counter()
    made = work()
    return time.perf_counter() - begun, made


# ---- the denoiser ----------------------------------------------------------------------------------------------------


def denoiser(report: Report, options: argparse.Namespace, bundles: Mapping[str, str]) -> None:
    """PSNR of the denoiser at three noise levels."""
    folder = options.data / "test" / "CBSD68"
    if not folder.is_dir():
        raise LeftOutError(f"There is no folder '{folder}'.")
    network = read_bundle(locate_bundle(bundles["sr4"])).networks["denoiser"]
    device = torch.device("cpu")
    denoise = LoadedNetwork(
        "denoiser", network, info_of(network), device=device, bfloat16=uses_bfloat16("auto", device)
    )
    images = open_dataset(folder, degrade=lambda clean, **_: clean)
    metric = PSNR()
    psnr: dict[int, list[float]] = {level: [] for level in DENOISER_BARS}
    for index in range(min(len(images), options.limit or len(images))):
        clean = images[index].target
        noise = randn(clean.shape, generators([index]))
        for level, values in psnr.items():
            sigma = torch.tensor([level / 255.0])
            with torch.inference_mode():
                values.append(metric(denoise(clean + sigma * noise, sigma), clean).item())
    means = {level: statistics.fmean(values) for level, values in psnr.items()}
    report.data["denoiser_psnr"] = psnr
    for level, limit in DENOISER_BARS.items():
        report.targets.append(Target(f"PSNR, sigma {level}", "denoiser, CBSD68", ">=", limit, means[level], "dB"))
    row = ["PSNR", *(f"{value:.2f}" for value in means.values())]
    report.tables.append(Table("The denoiser on CBSD68", ["sigma (of 255)", *map(str, DENOISER_BARS)], [row]))
    report.state(
        "Denoiser: white Gaussian noise, seed = image index, added to float images, neither clipped nor rounded; sigma "
        f"is told to the denoiser. {metric.protocol}"
    )


MEASURES: dict[str, dict[str, Callable[[Report, argparse.Namespace, Mapping[str, str]], None]]] = {
    "time": {
        "The time of one image": partial(restoration_times, section="time"),
        "The comparison with DiffPIR": against_diffpir,
    },
    "photo": {"The time of photo": partial(restoration_times, section="photo")},
    "clean": {"The time of clean": partial(restoration_times, section="clean")},
    "networks": {"The denoiser": denoiser},
}
"""By section, and what is left out where it cannot be measured."""
