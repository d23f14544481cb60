"""Whether the start of the diffusion, and the dial, should follow each image or pixel, and what that can gain at most.

    python benchmarks/start_study.py --data PHOTOS --weights WEIGHTS [--write results/start_study.md]

PHOTOS is a folder of training photographs, of which those held out of training are used; WEIGHTS the SqueezeNet 1.1
file of LPIPS, or its folder. Nothing that is compared differs in its mean PSNR: what is said of LPIPS is free.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from scipy.optimize import brentq
from torch import Tensor

from dp_ir.degradation.chance import image_generator
from dp_ir.degradation.photo import gaussian_blur
from dp_ir.evaluation import Report, Table, make_metrics
from dp_ir.evaluation.ablations.fusion_forms import photographs
from dp_ir.restoration.pipeline import Restoration
from dp_ir.runtime.allocator import keep_freed_memory
from dp_ir.tasks import get_task
from reporting import command_line, conclude

DIAL = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
STARTS = (0.0, 100.0, 200.0, 300.0, 400.0, 500.0, 600.0)
POWERS = (-1.0, -0.5, 0.5, 1.0)
SIDE = 256  # of the crops, pixels
NEIGHBOURHOOD = 4.0  # standard deviation of the Gaussian that the spread of pixels is averaged with

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Knob:
    """What is set per image.

    Args:
        name: for the page.
        bundle: whose restorations are compared.
        setting: keyword of a restoration.
        values: that are tried, 0 for the restorer's own estimate first.
        fixed: the value for all images that the others must equal in mean PSNR.
        by_pixel: whether it can differ between the pixels of an image, on the line between neighbouring values.
    """

    name: str
    bundle: str
    setting: str
    values: tuple[float, ...]
    fixed: float
    by_pixel: bool = False


KNOBS = (
    Knob("sr4, the dial", "sr4", "detail", DIAL, 0.5, by_pixel=True),
    Knob("photo, the dial", "photo", "detail", DIAL, 0.5, by_pixel=True),
    Knob("deblur, the dial", "deblur", "detail", DIAL, 0.5, by_pixel=True),
    Knob("sr4-estimate, the start tau", "sr4-estimate", "tau", STARTS, 400.0),
)


@dataclass(frozen=True)
class Trial:
    """One image at all values of a knob.

    Args:
        target: (1, 3, H, W).
        images: at each value, (values, 3, H, W).
        spread: (1, 1, H, W), local standard deviation of two samples at the knob's largest value.
        psnr: by value.
        lpips: by value.
    """

    target: Tensor
    images: Tensor
    spread: Tensor
    psnr: Array
    lpips: Array


Metric = Callable[[Tensor, Tensor], Tensor]


def trial(knob: Knob, restoration: Restoration, clean: Tensor, name: str, psnr: Metric, lpips: Metric) -> Trial:
    """Restore one image at all values of a knob; the same seed everywhere."""
    task = get_task(restoration.settings.task)
    clean = task.crop(clean)
    observation = task.degrade(clean, generator=image_generator(name))
    two = restoration(observation, num_samples=2, **{knob.setting: knob.values[-1]})
    spread = two.std.square().mean(1, keepdim=True)
    spread = gaussian_blur(spread, (NEIGHBOURHOOD, NEIGHBOURHOOD)).clamp_min(0).sqrt()
    images = [restoration(observation, **{knob.setting: value}).image for value in knob.values]
    figures = [[float(metric(image, clean)) for image in images] for metric in (psnr, lpips)]
    return Trial(clean, torch.cat(images), spread, *(np.array(row) for row in figures))


def at(knob: Knob, one: Trial, values: Tensor) -> Tensor:
    """An image whose knob is `values` (1, 1, H, W) at its pixels: on the line between the images of its neighbours."""
    grid = torch.tensor(knob.values)
    place = torch.bucketize(values, grid, right=True).clamp(1, len(grid) - 1)
    share = (values - grid[place - 1]) / (grid[place] - grid[place - 1])
    index = place.expand(1, 3, -1, -1)
    below, above = one.images.gather(0, index - 1), one.images.gather(0, index)
    return below + share * (above - below)


def equal_psnr(knob: Knob, mean_psnr: Callable[[float], float], wanted: float) -> float:
    """The factor for which a rule has the mean PSNR that is wanted; PSNR falls as it grows."""
    low, high = 1e-3 * knob.values[-1], 1e3 * knob.values[-1]
    if mean_psnr(high) >= wanted:
        return high
    return float(brentq(lambda factor: mean_psnr(factor) - wanted, low, high, xtol=1e-3 * knob.values[-1]))


def by_image(knob: Knob, trials: Sequence[Trial], power: float, wanted: float) -> tuple[Array, Array]:
    """LPIPS and value of each image where the knob is proportional to a power of the image's mean spread."""
    spreads = np.array([float(one.spread.mean()) for one in trials])
    weights = (spreads / np.exp(np.log(spreads).mean())) ** power

    def values(factor: float) -> Array:
        return np.clip(factor * weights, 0, knob.values[-1])

    def figures(factor: float, kind: str) -> Array:
        pairs = zip(values(factor), trials, strict=True)
        return np.array([np.interp(value, knob.values, getattr(one, kind)) for value, one in pairs])

    factor = equal_psnr(knob, lambda factor: float(figures(factor, "psnr").mean()), wanted)
    return figures(factor, "lpips"), values(factor)


def by_pixel(
    knob: Knob, trials: Sequence[Trial], power: float, wanted: float, psnr: Metric, lpips: Metric
) -> tuple[Array, Array]:
    """LPIPS and mean value of each image where the knob is proportional to a power of the spread around each pixel."""
    everywhere = torch.cat([one.spread.flatten() for one in trials]).clamp_min(1e-4)
    typical = float(everywhere.log().mean().exp())

    def values(factor: float, one: Trial) -> Tensor:
        return (factor * (one.spread.clamp_min(1e-4) / typical) ** power).clamp(0, knob.values[-1])

    def mean_psnr(factor: float) -> float:
        return float(np.mean([float(psnr(at(knob, one, values(factor, one)), one.target)) for one in trials]))

    factor = equal_psnr(knob, mean_psnr, wanted)
    found = [(at(knob, one, values(factor, one)), values(factor, one)) for one in trials]
    measured = [float(lpips(image, one.target)) for (image, _), one in zip(found, trials, strict=True)]
    return np.array(measured), np.array([float(value.mean()) for _, value in found])


def oracle(knob: Knob, trials: Sequence[Trial], wanted: float) -> tuple[Array, Array]:
    """LPIPS and value of each image where the truth decides: the least sum of LPIPS that the mean PSNR allows."""
    fine = np.linspace(0, knob.values[-1], 101)
    psnr = np.array([np.interp(fine, knob.values, one.psnr) for one in trials])
    lpips = np.array([np.interp(fine, knob.values, one.lpips) for one in trials])
    rows = np.arange(len(trials))
    low, high = 0.0, 1.0  # price of a decibel; at the higher one PSNR is at least what is wanted
    for _ in range(60):
        price = (low + high) / 2
        chosen = (lpips - price * psnr).argmin(1)
        low, high = (price, high) if psnr[rows, chosen].mean() < wanted else (low, price)
    chosen = (lpips - high * psnr).argmin(1)
    return lpips[rows, chosen], fine[chosen]


def interval(ratios: Array) -> float:
    """Half the width of the 95 % interval of a mean, by resampling the images."""
    rng = np.random.default_rng(0)
    means = ratios[rng.integers(0, len(ratios), (2000, len(ratios)))].mean(1)
    return float(np.subtract(*np.percentile(means, (97.5, 2.5))) / 2)


def table(knob: Knob, trials: Sequence[Trial], psnr: Metric, lpips: Metric) -> Table:
    """All ways to set a knob, at the mean PSNR of the fixed one."""
    fixed = np.array([np.interp(knob.fixed, knob.values, one.lpips) for one in trials])
    wanted = float(np.mean([np.interp(knob.fixed, knob.values, one.psnr) for one in trials]))
    ways: dict[str, tuple[Array, Array]] = {
        f"{knob.fixed:g} for all images": (fixed, np.full(len(trials), knob.fixed)),
        **{f"by image, spread^{power:g}": by_image(knob, trials, power, wanted) for power in POWERS},
    }
    if knob.by_pixel:
        for power in POWERS:
            ways[f"by pixel, spread^{power:g}"] = by_pixel(knob, trials, power, wanted, psnr, lpips)
    ways["by image, with the truth at hand"] = oracle(knob, trials, wanted)
    rows = []
    for name, (measured, values) in ways.items():
        ratios = measured / fixed
        spread = f"{np.percentile(values, 10):.3g} to {np.percentile(values, 90):.3g}"
        rows.append([name, f"{measured.mean():.4f}", f"{ratios.mean():.3f} ± {interval(ratios):.3f}", spread])
    columns = ["way", "LPIPS", "over that of the fixed one", f"{knob.setting}, 10 to 90 %"]
    return Table(f"{knob.name}, at {wanted:.2f} dB ({len(trials)} images)", columns, rows)


def curve(knob: Knob, trials: Sequence[Trial]) -> Table:
    """What the knob does for all images together."""
    rows = [
        [
            f"{value:g}",
            f"{np.mean([one.psnr[i] for one in trials]):.2f}",
            f"{np.mean([one.lpips[i] for one in trials]):.4f}",
        ]
        for i, value in enumerate(knob.values)
    ]
    return Table(f"{knob.name}: the same for all images", [knob.setting, "PSNR", "LPIPS"], rows)


def measure(options: argparse.Namespace, knobs: Sequence[Knob] = KNOBS) -> Report:
    """All knobs on the same photographs."""
    crops = photographs(options.data, held_out=True, side=SIDE, limit=options.limit)
    report = Report("Where the diffusion starts, image by image", command_line("start_study"))
    restorations: dict[str, Restoration] = {}
    protocols: Mapping[str, None] = {}
    for knob in knobs:
        if knob.bundle not in restorations:
            restorations[knob.bundle] = Restoration.from_pretrained(knob.bundle, device="cpu")
        restoration = restorations[knob.bundle]
        (psnr, lpips), _ = make_metrics(("psnr", "lpips"), border=0, weights=options.weights)
        trials = [trial(knob, restoration, crop, f"{number:02d}", psnr, lpips) for number, crop in enumerate(crops)]
        report.tables += [table(knob, trials, psnr, lpips), curve(knob, trials)]
        report.data[knob.name] = {
            "values": list(knob.values),
            "psnr": [one.psnr.tolist() for one in trials],
            "lpips": [one.lpips.tolist() for one in trials],
            "spread": [float(one.spread.mean()) for one in trials],
        }
        protocols = {**protocols, psnr.protocol: None, lpips.protocol: None}
    report.state(*protocols)
    report.intro = [
        f"{SIDE}-pixel crops of photographs held out of training. Where the sampling starts, and how far the dial is "
        "turned, is set for all images alike, or by how much two samples differ: in proportion to a power of the mean "
        "spread of an image, or of the spread around each pixel. All ways have the mean PSNR of the fixed one, so that "
        "LPIPS alone tells which is better. The last row, which knows the truth, shows what a setting by image could "
        "gain at most.",
    ]
    return report


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--weights", type=Path, required=True, help="SqueezeNet 1.1 file of LPIPS, or its folder")
    parser.add_argument("--limit", type=int, help="only so many photographs")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with CSV and JSON beside it")
    return parser.parse_args(arguments)


def main() -> int:
    console, options = Console(), parse()
    keep_freed_memory()
    return conclude(lambda: measure(options), console, options.write)


if __name__ == "__main__":
    sys.exit(main())
