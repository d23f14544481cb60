"""Measure the bars of the 4x bundle: its restorer, its denoiser, and DP-IR against restorer and noise control.

    python benchmarks/bars.py --data DATA --weights WEIGHTS [--bundle sr4] [--write docs/bars.md]

DATA holds Set5 and Set14 (each HR and LR_x4), CBSD68 and Kodak24; WEIGHTS is the SqueezeNet 1.1 file of LPIPS or a
folder that holds it (left out: torchvision downloads it). Everything runs on the CPU, through the shipped pipeline.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dp_ir.checkpoints.bundle import locate_bundle, read_bundle
from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.guard import GuardedNetwork
from dp_ir.degradation import imresize
from dp_ir.diffusion.noise import generators, randn
from dp_ir.evaluation import (
    LPIPS,
    PSNR,
    SSIM,
    Bar,
    Report,
    Scores,
    SlicedWasserstein,
    Table,
    load_lpips,
    noise_control,
    open_dataset,
    score,
)
from dp_ir.evaluation.dataset import PairedImages
from dp_ir.evaluation.report import scores_table
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.precision import uses_bfloat16
from dp_ir.tasks import get_task
from reporting import command_line, conclude

TASK = get_task("sr4")
PSNR_Y = PSNR(channels="y", border=TASK.scale, rounding=True)
PSNR_RGB = PSNR(border=TASK.scale, rounding=True)
SSIM_Y = SSIM(channels="y", border=TASK.scale, rounding=True)
GREY_NOTE = (
    "Greyscale files (one in Set14) are compared as RGB with three equal channels; taken as Y themselves they score "
    "1.32 dB less, which is how the often quoted 26.00 dB of bicubic on Set14 come about"
)

RESTORER_BARS = {"Set5": 31.6, "Set14": 28.2}
DENOISER_BARS = {15: 33.9, 25: 31.2, 50: 28.0}
PERCEPTUAL_SETS = ("Set14", "Kodak24")
CALLS = 8
SECTIONS = ("restorer", "denoiser", "dp-ir", "time")


@dataclass
class Restored:
    """What a pipeline made of a data set."""

    images: list[Tensor]
    calls: dict[str, int]
    seconds: float


class Measurement:
    """One run of this command: the pipeline, the report, and what is computed once and used twice."""

    def __init__(self, options: argparse.Namespace, console: Console, command: str) -> None:
        self.options = options
        self.console = console
        self.pipeline = Restoration.from_pretrained(options.bundle, device="cpu")
        self.settings = {
            name: value
            for name, value in (("tau", options.tau), ("sampler", options.sampler), ("eta", options.eta))
            if value is not None
        }
        used = {**vars(self.pipeline.settings), **self.settings}
        self.report = Report(
            title=f"Bars of the bundle '{options.bundle}'",
            command=command,
            intro=[
                f"Sampling starts at tau = {used['tau']:g}, that is at sigma = "
                f"{float(self.pipeline.schedule.sigma(used['tau'])):.3f}, with the sampler {used['sampler']}, "
                f"spacing {used['spacing']}; seed {options.seed} + image index. All on the CPU."
            ],
        )
        if options.limit:
            self.report.intro = [*self.report.intro, f"Only the first {options.limit} images of each set were used."]
        self._restored: dict[str, Restored] = {}
        self._pairs: dict[str, tuple[list[Tensor], list[Tensor]]] = {}

    # ---- data --------------------------------------------------------------------------------------------------------

    def pairs(self, dataset: str) -> tuple[list[Tensor], list[Tensor]]:
        """Observations and targets of a super-resolution set."""
        if dataset not in self._pairs:
            opened = open_dataset(self.options.data / dataset, scale=TASK.scale, degrade=TASK.degrade)
            loaded = [opened[index] for index in self.chosen(opened)]
            self._pairs[dataset] = [pair.observation for pair in loaded], [pair.target for pair in loaded]
        return self._pairs[dataset]

    def chosen(self, images: PairedImages) -> range:
        """The numbers of the images that are used."""
        return range(min(len(images), self.options.limit or len(images)))

    def restored(self, dataset: str) -> Restored:
        """The restorer's own outputs."""
        if dataset not in self._restored:
            self._restored[dataset] = self.restore(dataset, "restorer", tau=0)
        return self._restored[dataset]

    def restore(self, dataset: str, label: str, **settings: Any) -> Restored:
        """Run the pipeline on every image; `label` is for the progress bar."""
        observations, _ = self.pairs(dataset)
        images, calls = [], {}
        start = time.perf_counter()
        for index, observation in enumerate(self.track(observations, f"{dataset}, {label}")):
            result = self.pipeline(observation, seed=self.options.seed + index, **settings)
            images.append(result.image)
            calls = {name: max(count, calls.get(name, 0)) for name, count in result.nfe.items()}
        return Restored(images, calls, (time.perf_counter() - start) / len(images))

    def track(self, items: Sequence[Any], label: str) -> Iterable[Any]:
        """The items, with a progress bar."""
        return track(items, label, console=self.console, transient=True)

    def keep(self, scores: Sequence[Scores]) -> None:
        """Put scores, with the values of single images, into the JSON file."""
        self.report.data.setdefault("scores", []).extend(vars(entry) for entry in scores)

    # ---- sections ----------------------------------------------------------------------------------------------------

    def restorer(self) -> None:
        """PSNR of the restorer, and of bicubic interpolation for orientation."""
        rows: list[list[str | float]] = []
        for dataset, limit in RESTORER_BARS.items():
            observations, targets = self.pairs(dataset)
            bicubic = [imresize(observation, TASK.scale) for observation in observations]
            for method, images in (("bicubic", bicubic), ("restorer", self.restored(dataset).images)):
                scores = score(method, dataset, images, targets, [PSNR_Y, SSIM_Y])
                self.keep([scores])
                rows.append([method, dataset, f"{scores.values['PSNR-Y']:.2f}", f"{scores.values['SSIM-Y']:.4f}"])
            self.report.bars.append(
                Bar("restorer, PSNR-Y, 4x, border 4", dataset, ">=", limit, scores.values["PSNR-Y"], "dB")
            )
        self.report.tables.append(
            Table("Restorer", ["method", "data", "PSNR-Y", "SSIM-Y"], rows),
        )
        self.report.state(PSNR_Y.protocol, SSIM_Y.protocol, GREY_NOTE)

    def denoiser(self) -> None:
        """PSNR of the denoiser at three noise levels."""
        network = read_bundle(locate_bundle(self.options.bundle)).networks["denoiser"]
        device = torch.device("cpu")
        denoise = GuardedNetwork(
            "denoiser", network, info_of(network), device=device, bfloat16=uses_bfloat16("auto", device)
        )
        images = open_dataset(self.options.data / "CBSD68", degrade=lambda clean, **_: clean)
        metric = PSNR()
        psnr: dict[int, list[float]] = {level: [] for level in DENOISER_BARS}
        for index in self.track(self.chosen(images), "CBSD68, denoiser"):
            clean = images[index].target
            noise = randn(clean.shape, generators([self.options.seed + index]))
            for level, values in psnr.items():
                sigma = torch.tensor([level / 255.0])
                with torch.inference_mode():
                    values.append(metric(denoise(clean + sigma * noise, sigma), clean).item())
        means = {level: statistics.fmean(values) for level, values in psnr.items()}
        self.report.data["denoiser_psnr"] = psnr
        for level, limit in DENOISER_BARS.items():
            what = f"denoiser, PSNR RGB, sigma {level}"
            self.report.bars.append(Bar(what, "CBSD68", ">=", limit, means[level], "dB"))
        self.report.tables.append(
            Table(
                "Denoiser",
                ["sigma (of 255)", *map(str, DENOISER_BARS)],
                [["PSNR RGB", *(f"{value:.2f}" for value in means.values())]],
            )
        )
        self.report.state(
            f"Denoiser: white Gaussian noise, seed {self.options.seed} + image index, added to float images, neither "
            f"clipped nor rounded; sigma is told to the denoiser. {metric.protocol}"
        )

    def dp_ir(self) -> None:
        """DP-IR against its restorer and against the noise control."""
        network = load_lpips(self.options.weights)
        lpips = LPIPS(network), LPIPS(network, "half")
        metrics, distribution = [PSNR_Y, PSNR_RGB, *lpips], SlicedWasserstein()
        for dataset in self.options.sets:
            observations, targets = self.pairs(dataset)
            scores: list[Scores] = []

            def add(
                method: str,
                images: Sequence[Tensor],
                made: Restored | None = None,
                *,
                into: list[Scores] = scores,
                dataset: str = dataset,
                targets: Sequence[Tensor] = targets,
            ) -> Scores:
                extra: Mapping[str, Any] = {"calls": made.calls, "seconds": made.seconds} if made else {}
                into.append(score(method, dataset, images, targets, metrics, distribution, **extra))
                return into[-1]

            add("bicubic", [imresize(observation, TASK.scale) for observation in observations])
            restored = self.restored(dataset)
            alone = add("restorer", restored.images, restored)
            controls = []
            for metric in self.track(lpips, f"{dataset}, noise control"):
                found = noise_control(restored.images, targets, metric, seed=self.options.seed)
                controls.append(
                    add(f"restorer + noise {found.std:.4f} (best for {metric.name})", found.images, restored)
                )
                self.report.state(found.protocol)
            made = self.restore(dataset, f"DP-IR, {CALLS} steps", steps=CALLS, **self.settings)
            full = add(f"DP-IR, {CALLS} steps", made.images, made)
            self.compare(dataset, full, alone, controls[0])
            label = f"DP-IR, {CALLS // 2} steps"
            made = self.restore(dataset, label, steps=CALLS // 2, **self.settings)
            add(label, made.images, made)
            if self.options.full_T:
                made, label = self.whole_chain(dataset)
                add(label, made.images, made)
            self.keep(scores)
            digits = {"PSNR-Y": 2, "PSNR": 2, "LPIPS": 4, "LPIPS 1/2": 4, "SWD": 2}
            self.report.tables.append(scores_table(f"DP-IR on {dataset}", scores, digits))
        self.report.state(*(metric.protocol for metric in metrics), distribution.protocol, GREY_NOTE)

    def whole_chain(self, dataset: str) -> tuple[Restored, str]:
        """The usual way: 100 ancestral steps from T, or from the highest noise level that the denoiser knows."""
        schedule, limits = self.pipeline.schedule, self.pipeline.infos["denoiser"].sigma_range
        tau, start = float(schedule.T), "T"
        if limits is not None and float(schedule.sigma(tau)) > limits[1]:
            tau = float(schedule.step(limits[1]))
            start = f"sigma {limits[1]:g}, the highest the denoiser knows"
        label = f"DP-IR, 100 ancestral steps from {start}"
        return self.restore(dataset, "100 steps", tau=tau, steps=100, sampler="ddpm"), label

    def compare(self, dataset: str, ours: Scores, alone: Scores, control: Scores) -> None:
        """The bars of DP-IR on one data set."""
        bars = self.report.bars
        for name, limit in (("LPIPS", 0.62), ("LPIPS 1/2", 0.62)):
            ratio = ours.values[name] / alone.values[name]
            bars.append(Bar(f"{name}, DP-IR / restorer", dataset, "<=", limit, ratio, digits=3))
        gain = ours.values["PSNR-Y"] - alone.values["PSNR-Y"]
        bars.append(Bar("PSNR-Y, DP-IR - restorer", dataset, ">=", -1.8, gain, "dB"))
        for name, limit in (("LPIPS", 0.90), ("LPIPS 1/2", 0.75)):
            ratio = ours.values[name] / control.values[name]
            bars.append(Bar(f"{name}, DP-IR / noise control", dataset, "<=", limit, ratio, digits=3))
        for network in ("denoiser", "fusion"):
            count = ours.calls.get(network, 0)
            bars.append(Bar(f"calls of the {network}", dataset, "<=", CALLS, count, digits=0))

    def time(self) -> None:
        """Seconds of one restoration once everything is loaded."""
        observation = imresize(torch.rand(1, 3, 32, 32, generator=generators([0])[0]), 4).clamp(0, 1)
        seconds: list[float] = []
        for _ in self.track(range(1 + self.options.repeats), "time"):
            start = time.perf_counter()
            self.pipeline(observation, seed=self.options.seed, steps=CALLS, **self.settings)
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds[1:])
        self.report.bars.append(Bar("time, 128x128 -> 512x512", f"{CALLS} steps", "<=", 4.0, median, "s"))
        self.report.tables.append(
            Table(
                "Time of one image, 128x128 -> 512x512, after loading",
                ["steps", "first call", f"median of {len(seconds) - 1} further calls", "fastest"],
                [[CALLS, f"{seconds[0]:.2f} s", f"{median:.2f} s", f"{min(seconds[1:]):.2f} s"]],
            )
        )

    def run(self) -> Report:
        """All sections that were asked for."""
        sections = {"restorer": self.restorer, "denoiser": self.denoiser, "dp-ir": self.dp_ir, "time": self.time}
        for name in self.options.only or SECTIONS:
            sections[name]()
        return self.report


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with Set5, Set14, CBSD68, Kodak24")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 file of LPIPS, or its folder; else downloaded")
    parser.add_argument("--bundle", default="sr4", help="bundle: shipped name, folder or hub id")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, help="measure only these")
    parser.add_argument("--full-T", action="store_true", help="also sample with 100 ancestral steps")
    parser.add_argument("--sets", nargs="+", default=PERCEPTUAL_SETS, help="where DP-IR is compared with its restorer")
    parser.add_argument("--limit", type=int, help="only the first images of each set, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=7, help="calls timed")
    parser.add_argument("--tau", type=float, help="instead of the bundle's")
    parser.add_argument("--sampler", help="instead of the bundle's")
    parser.add_argument("--eta", type=float, help="instead of the bundle's")
    return parser.parse_args(arguments)


def main() -> int:
    console = Console()
    options = parse()
    return conclude(lambda: Measurement(options, console, command_line("bars")).run(), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
