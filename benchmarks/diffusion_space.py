"""Measure in which space the shared denoiser serves RAW bursts best, where its restorer gives linear sensor RGB.

    python benchmarks/diffusion_space.py --data DATA/Kodak24 [--weights WEIGHTS] [--write results/diffusion_space.md]

Photographs become sensor RGB by random cameras. In each space white noise is added, as strong as makes the photograph
rendered from it equally noisy in brightness whatever the space (noise of colour alone hides little), and the denoiser
removes it there, told of the level. What is compared is the photograph that is rendered from the result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dp_ir.checkpoints.loading import load_denoiser
from dp_ir.datasets.pairing import find_images
from dp_ir.degradation.chance import image_generator
from dp_ir.degradation.synthetic_burst import random_camera
from dp_ir.diffusion.noise import randn
from dp_ir.evaluation import LPIPS, PSNR, Report, Table, load_lpips
from dp_ir.image import read_image, to_tensor
from dp_ir.image.raw.camera import GAMMA, Camera
from reporting import command_line, conclude

NOISE = (15.0, 20.0, 25.0)  # PSNR-Y of the noisy photograph, dB
BISECTIONS = 12


@dataclass(frozen=True)
class Space:
    """A space that diffusion could run in: how sensor RGB gets there and comes back."""

    name: str
    enter: Callable[[Camera, Tensor], Tensor]
    leave: Callable[[Camera, Tensor], Tensor]


def _gamma(linear: Tensor) -> Tensor:
    return linear.clamp_min(1e-8) ** (1 / GAMMA)


SPACES = (
    Space("linear sensor RGB", lambda _, sensor: sensor, lambda _, image: image),
    Space("sensor RGB with gamma", lambda _, sensor: _gamma(sensor), lambda _, image: image.clamp_min(0) ** GAMMA),
    Space(
        "white-balanced sensor RGB with gamma",
        lambda camera, sensor: _gamma(sensor * camera.gains[:, None, None]),
        lambda camera, image: image.clamp_min(0) ** GAMMA / camera.gains[:, None, None],
    ),
    Space("rendered sRGB", lambda camera, sensor: camera.render(sensor), lambda camera, image: camera.sensor(image)),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--weights", type=Path, help="of LPIPS, see benchmarks/bars.py")
    parser.add_argument("--denoiser", default="sr4", help="whatever load_denoiser takes")
    parser.add_argument("--limit", type=int, help="use the first photographs only")
    parser.add_argument("--write", type=Path, help="Markdown file")
    options, console = parser.parse_args(), Console()
    return conclude(lambda: measure(options, console), console, options.write)


def measure(options: argparse.Namespace, console: Console) -> Report:
    """Denoise every photograph in every space."""
    denoiser = load_denoiser(options.denoiser)
    metrics = {"PSNR-Y": PSNR(channels="y"), "LPIPS": LPIPS(load_lpips(options.weights))}
    files = find_images(options.data)[: options.limit]
    sums: dict[tuple[float, str], Tensor] = {}
    with torch.inference_mode():
        for file in track(files, "denoising", console=console):
            photograph = to_tensor(read_image(file))
            camera = random_camera(image_generator(file.stem))
            sensor = camera.sensor(photograph).clamp(0, 1)
            truth = camera.render(sensor)
            eps = randn(truth.shape, [image_generator(file.stem, 1)])
            for level in NOISE:
                for space in SPACES:
                    clean = space.enter(camera, sensor)

                    def shown(image: Tensor, space: Space = space, camera: Camera = camera) -> Tensor:
                        return camera.render(space.leave(camera, image))

                    sigma = _strength(lambda noisy, shown=shown: shown(noisy), clean, eps, truth, level)
                    noisy = clean + sigma * eps
                    denoised = shown(denoiser(noisy, torch.tensor([sigma])))
                    row = [float(metric(denoised, truth)) for metric in metrics.values()]
                    noise = float(metrics["PSNR-Y"](shown(noisy), truth))
                    key = (level, space.name)
                    sums[key] = sums.get(key, torch.zeros(4)) + torch.tensor([sigma, noise, *row])
    rows = []
    for level in NOISE:
        for space in SPACES:
            sigma, noise, psnr, lpips = (sums[level, space.name] / len(files)).tolist()
            rows.append(
                [f"{level:g} dB", space.name, round(sigma, 4), round(noise, 2), round(psnr, 2), round(lpips, 4)]
            )
    columns = ["rendered noise", "space", "mean sigma", "PSNR-Y noisy", "PSNR-Y denoised", "LPIPS denoised"]
    return Report(
        title="Where diffusion runs for RAW bursts",
        command=command_line("diffusion_space"),
        intro=[
            f"{len(files)} photographs of {options.data.name}, each with a random camera; noise of equal PSNR-Y after "
            "rendering; the denoiser is the one that ships. Figures are of the rendered photographs.",
        ],
        tables=[Table("The same denoiser in four spaces", columns, rows)],
    )


def _strength(shown: Callable[[Tensor], Tensor], clean: Tensor, eps: Tensor, truth: Tensor, psnr: float) -> float:
    """The noise level at which the rendered noisy image has this PSNR-Y."""
    low, high = 1e-4, 1.0
    metric = PSNR(channels="y")
    for _ in range(BISECTIONS):
        middle = (low * high) ** 0.5
        if float(metric(shown(clean + middle * eps), truth)) > psnr:
            low = middle
        else:
            high = middle
    return low


if __name__ == "__main__":
    sys.exit(main())
