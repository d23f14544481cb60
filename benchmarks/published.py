r"""Published networks through our loader, against their published figures.

    python benchmarks/published.py --data DATA --networks NETWORKS --write results/published.md

NETWORKS holds rlfn_x4.pth (bytedance/RLFN), craft_x4.pth (AVC2-UESTC/CRAFT-SR), ffdnet_color.pth (cszn/KAIR) and
dncnn_25.pth (cszn/KAIR); those that are missing are left out. DATA holds Set5 (HR, LR_x4) and CBSD68.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_denoiser, load_restorer
from dp_ir.diffusion.noise import generators, randn
from dp_ir.evaluation import PSNR, Report, Table, open_dataset
from reporting import command_line, conclude

PSNR_Y = PSNR(channels="y", border=4, rounding=True)
_GREY = (0.2989, 0.5870, 0.1140)  # MATLAB's rgb2gray, with which the grey BSD68 was made


@dataclass(frozen=True)
class Restores:
    """A restorer at 4x and its PSNR-Y on Set5, with the difference that is allowed."""

    file: str
    published: float
    tolerance: float = 0.03


@dataclass(frozen=True)
class Denoises:
    """A denoiser and its PSNR on the 68 images, per noise level of 255, with the difference that is allowed."""

    file: str
    published: dict[int, float]
    grey: bool = False
    stated: dict[str, Any] = field(default_factory=dict)
    tolerance: float = 0.05


NETWORKS: tuple[Restores | Denoises, ...] = (
    Restores("rlfn_x4.pth", 32.24),
    Restores("craft_x4.pth", 32.39),
    Denoises("ffdnet_color.pth", {15: 33.87, 25: 31.21, 50: 27.96}),
    Denoises("dncnn_25.pth", {25: 29.23}, grey=True, stated={"sigma_range": (25 / 255, 25 / 255)}),
)


def restored(entry: Restores, network: LoadedNetwork, data: Path, follow: Callable[..., Iterable[Any]]) -> float:
    """Mean PSNR-Y on Set5."""
    pairs = open_dataset(data / "Set5", scale=4)
    values = []
    for index in follow(range(len(pairs)), entry.file):
        with torch.inference_mode():
            values.append(PSNR_Y(network(pairs[index].observation), pairs[index].target).item())
    return statistics.fmean(values)


def denoised(
    entry: Denoises, level: int, network: LoadedNetwork, data: Path, follow: Callable[..., Iterable[Any]]
) -> float:
    """Mean PSNR on the images of CBSD68, made grey where the network is."""
    images, metric = open_dataset(data / "CBSD68", degrade=lambda clean, **_: clean), PSNR()
    values = []
    for index in follow(range(len(images)), f"{entry.file}, sigma {level}"):
        clean = images[index].target
        if entry.grey:
            clean = ((clean * torch.tensor(_GREY).view(3, 1, 1)).sum(1, keepdim=True) * 255).round() / 255
        noisy = clean + level / 255 * randn(clean.shape, generators([index]))
        with torch.inference_mode():
            values.append(metric(_rgb(network(noisy, torch.tensor([level / 255]))), _rgb(clean)).item())
    return statistics.fmean(values)


def _rgb(image: Tensor) -> Tensor:
    return image.expand(-1, 3, -1, -1)


def rows(
    entry: Restores | Denoises, folder: Path, data: Path, follow: Callable[..., Iterable[Any]]
) -> Iterable[tuple[str, str, float, float]]:
    """What is measured, with what the loader made of the file; published and measured figures."""
    if isinstance(entry, Restores):
        network = load_restorer(folder / entry.file)
        yield _name(network), "Set5, PSNR-Y, border 4", entry.published, restored(entry, network, data, follow)
        return
    network = load_denoiser(folder / entry.file, **entry.stated)
    for level, published in entry.published.items():
        what = f"{'BSD68 (CBSD68 made grey)' if entry.grey else 'CBSD68'}, PSNR, sigma {level}"
        yield _name(network), what, published, denoised(entry, level, network, data, follow)


def _name(network: LoadedNetwork) -> str:
    assert network.record is not None
    return str(network.record.config.get("network", network.record.architecture))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with Set5 and CBSD68")
    parser.add_argument("--networks", type=Path, required=True, help="folder with the published files")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with CSV and JSON beside it")
    options = parser.parse_args(arguments)
    console = Console(width=140)
    return conclude(lambda: compare(options, console), console, options.write)


def compare(options: argparse.Namespace, console: Console) -> Report:
    """Every network that is there, on every set it has a figure for."""
    table: list[list[str]] = []

    def follow(items: Sequence[Any], label: str) -> Iterable[Any]:
        return track(items, label, console=console, transient=True)

    for entry in NETWORKS:
        if not (options.networks / entry.file).is_file():
            console.print(f"{entry.file} is not there: left out")
            continue
        for name, what, published, measured in rows(entry, options.networks, options.data, follow):
            reached = "yes" if abs(measured - published) <= entry.tolerance else "NO"
            figures = [f"{published:.2f} dB", f"{measured:.2f} dB", f"{entry.tolerance:.2f} dB", reached]
            table.append([f"{name} ({entry.file})", what, *figures])
    report = Report("Published networks through our loader", command_line("published"))
    report.intro = ["Each file was given to `load_restorer` or `load_denoiser` as it was published; float32."]
    columns = ["network", "on", "published", "measured", "may differ by", "agrees"]
    report.tables.append(Table("Figures", columns, table))
    report.state(
        PSNR_Y.protocol,
        PSNR().protocol,
        "White Gaussian noise, seed = image index, added to float images, neither clipped nor rounded; the grey "
        "denoiser's published figure is on the grey BSD68, which is remade here from CBSD68",
    )
    return report


if __name__ == "__main__":
    sys.exit(main())
