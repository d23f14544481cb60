r"""The swap experiment: one fusion network among restorers and denoisers it was not trained with.

    python benchmarks/swap.py --data DATA --weights WEIGHTS --bundle sr4-rlfn \
        --restorer RLFN=rlfn_x4.pth CRAFT=craft_x4.pth ours=sr4 --denoiser ours=sr4 FFDNet=ffdnet_color.mat

In the manner of Table 12 of arXiv 2411.05993: nothing is trained again. Each network is what `dp_ir.load_restorer` and
`dp_ir.load_denoiser` take. DATA holds the sets, each with HR and LR_x4 or clean images. Where a denoiser does not know
the noise level of the bundle's tau, sampling starts at the highest level that it knows.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from torch import Tensor

from bars import GREY_NOTE, PSNR_Y, SSIM_Y, TASK
from dp_ir.checkpoints.bundle import locate_bundle, read_config
from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.diffusion.schedule import NoiseSchedule
from dp_ir.evaluation import (
    LPIPS,
    Bar,
    Report,
    Scores,
    SlicedWasserstein,
    load_lpips,
    noise_control,
    open_dataset,
    score,
)
from dp_ir.evaluation.dataset import ImagePair
from dp_ir.evaluation.report import scores_table
from dp_ir.restoration.partners import UnseenPartnersWarning
from dp_ir.restoration.pipeline import Restoration
from reporting import command_line, conclude

DIGITS = {"PSNR-Y": 2, "SSIM-Y": 4, "LPIPS": 4, "LPIPS 1/2": 4, "SWD": 2}
LIMIT = 0.75  # of the restorer's own LPIPS


class Swap:
    """One run of this command."""

    def __init__(self, options: argparse.Namespace, console: Console, command: str) -> None:
        self.options, self.console = options, console
        self.restorers = {name: load_restorer(source) for name, source in options.restorer}
        self.denoisers = {name: load_denoiser(source) for name, source in options.denoiser}
        self.settings = read_config(locate_bundle(options.bundle)).settings
        self.schedule = NoiseSchedule.from_config(self.settings.schedule)
        network = load_lpips(options.weights)
        self.lpips = LPIPS(network), LPIPS(network, "half")
        self.metrics, self.distribution = [PSNR_Y, SSIM_Y, *self.lpips], SlicedWasserstein()
        partners = read_config(locate_bundle(options.bundle)).partners
        self.seen = {
            (kind, name)
            for kind, networks in (("restorer", self.restorers), ("denoiser", self.denoisers))
            for name, network in networks.items()
            if network.record is not None and network.record.sha256 == partners.get(f"{kind}_sha256")
        }
        self.report = Report(f"Swapping networks under the fusion of '{options.bundle}'", command, self.introduction())

    def introduction(self) -> list[str]:
        """What is swapped, and where sampling starts with each denoiser."""
        seen = " and ".join(f"the {kind} {name}" for kind, name in sorted(self.seen, reverse=True)) or "other networks"
        starts = (
            f"tau = {self.tau(name):.0f} (sigma {float(self.schedule.sigma(self.tau(name))):.3f}) with {name}"
            for name in self.denoisers
        )
        return [
            f"The fusion was trained with {seen}, and met none of the others in training; nothing was trained again. "
            f"Sampling: {self.settings.sampler}, {self.settings.steps} steps, from {' and '.join(starts)}: the "
            f"bundle's, or the highest level that the denoiser knows. Seed {self.options.seed} + image index; on the "
            "CPU."
        ]

    def tau(self, denoiser: str) -> float:
        """Where sampling starts."""
        limits, tau = self.denoisers[denoiser].info.sigma_range, self.settings.tau
        if limits is not None and float(self.schedule.sigma(tau)) > limits[1]:
            tau = float(self.schedule.step(limits[1]))
        return tau

    def run(self) -> Report:
        """Every combination on every set."""
        for dataset in self.options.sets:
            opened = open_dataset(self.options.data / dataset, scale=TASK.scale, degrade=TASK.degrade)
            pairs = [opened[index] for index in range(min(len(opened), self.options.limit or len(opened)))]
            scores: list[Scores] = []
            for restorer in self.restorers:
                scores += self.restorer(dataset, pairs, restorer)
            self.report.data.setdefault("scores", []).extend(vars(entry) for entry in scores)
            self.report.tables.append(scores_table(f"On {dataset}", scores, DIGITS))
        self.report.state(*(metric.protocol for metric in self.metrics), self.distribution.protocol, GREY_NOTE)
        return self.report

    def restorer(self, dataset: str, pairs: Sequence[ImagePair], name: str) -> list[Scores]:
        """One restorer: alone, with noise, and in DP-IR with every denoiser."""
        targets = [pair.target for pair in pairs]

        def scored(method: str, images: Sequence[Tensor], **extra: Any) -> Scores:
            return score(method, dataset, images, targets, self.metrics, self.distribution, **extra)

        alone = self.restore(dataset, pairs, name, next(iter(self.denoisers)), tau=0)
        rows = [scored(name, alone[0], calls=alone[1])]
        for metric in self.track(self.lpips, f"{dataset}, {name}, noise control"):
            found = noise_control(alone[0], targets, metric, seed=self.options.seed)
            rows.append(scored(f"{name} + noise {found.std:.4f} (best for {metric.name})", found.images))
            self.report.state(found.protocol)
        for denoiser in self.denoisers:
            images, calls = self.restore(dataset, pairs, name, denoiser)
            rows.append(scored(f"DP-IR: {name}, {denoiser}", images, calls=calls))
            if ("restorer", name) not in self.seen:
                self.compare(dataset, rows[-1], rows[:3])
        return rows

    def restore(
        self, dataset: str, pairs: Sequence[ImagePair], restorer: str, denoiser: str, tau: float | None = None
    ) -> tuple[list[Tensor], dict[str, int]]:
        """Images, and calls of each network."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnseenPartnersWarning)  # it is what is measured
            pipeline = Restoration.from_pretrained(
                self.options.bundle,
                restorer=self.restorers[restorer],
                denoiser=self.denoisers[denoiser],
                tau=self.tau(denoiser) if tau is None else tau,
                device="cpu",
            )
        images, calls = [], {}
        for index, pair in enumerate(self.track(pairs, f"{dataset}, {restorer}, {denoiser}")):
            result = pipeline(pair.observation, seed=self.options.seed + index)
            images.append(result.image)
            calls = result.nfe
        return images, calls

    def compare(self, dataset: str, ours: Scores, controls: Sequence[Scores]) -> None:
        """The bars of a restorer that the fusion never met: against itself, and against itself with noise."""
        alone = controls[0]
        for name, noisy in zip(("LPIPS", "LPIPS 1/2"), controls[1:], strict=True):
            ratio, control = (ours.values[name] / other.values[name] for other in (alone, noisy))
            what = f"{name}, {ours.method}"
            self.report.bars += [
                Bar(f"{what} / {alone.method}", dataset, "<=", LIMIT, ratio, digits=3),
                Bar(f"{what} / its noise control", dataset, "<=", 1.0, control, digits=3),
            ]

    def track(self, items: Sequence[Any], label: str) -> Iterable[Any]:
        """The items, with a progress bar."""
        return track(items, label, console=self.console, transient=True)


def named(argument: str) -> tuple[str, str]:
    """NAME=SOURCE as a pair."""
    name, _, source = argument.partition("=")
    if not source:
        raise argparse.ArgumentTypeError(f"{argument!r} is not NAME=SOURCE")
    return name, source


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 file of LPIPS, or its folder; else downloaded")
    parser.add_argument("--bundle", default="sr4", help="bundle with the fusion and the settings")
    parser.add_argument("--restorer", nargs="+", type=named, required=True, metavar="NAME=SOURCE")
    parser.add_argument("--denoiser", nargs="+", type=named, required=True, metavar="NAME=SOURCE")
    parser.add_argument("--sets", nargs="+", default=["Set14", "Kodak24"])
    parser.add_argument("--limit", type=int, help="only the first images of each set, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(width=160), parse()
    return conclude(lambda: Swap(options, console, command_line("swap")).run(), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
