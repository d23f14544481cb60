"""Compare fusion networks on equal terms: same frozen partners, same data, same samples, same number of steps.

    python benchmarks/fusion_forms.py --data ../shared/data/train --write docs/fusion_forms.md [--steps 1500]

Trains the paper's form (3CA and a trunk at full resolution, blind to the noisy image) and the fast form that ships,
each from scratch for the partners of a bundle, and prints the PSNR of their estimates of E[x0 | y, x_t] on held-out
images at several noise levels, beside those of the restorer and of the denoiser alone. A run that exists is continued.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from dp_ir.checkpoints.bundle import locate_bundle, read_config
from dp_ir.checkpoints.network_file import load_network
from dp_ir.evaluation import PSNR, Report, Table
from dp_ir.training.run import train
from dp_ir.training.trainer import Progress

FORMS = {"paper's form (3CA)": "fusion-3ca", "fast form": "fast-fusion"}
LEVELS = ("0.05", "0.1", "0.2", "0.4", "0.8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training images")
    parser.add_argument("--bundle", default="sr4", help="whose restorer and denoiser are fused")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--patch", type=int, default=48)
    parser.add_argument("--runs", type=Path, default=Path("runs/fusion_forms"))
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    parser.add_argument("overrides", nargs="*", help="further changes to the recipe, for both forms")
    options = parser.parse_args()
    console = Console()

    bundle = locate_bundle(options.bundle)
    entries = read_config(bundle).networks
    figures: dict[str, dict[str, float]] = {}
    rows: list[list[str | float]] = []
    for title, architecture in FORMS.items():
        out = options.runs / architecture

        def watch(progress: Progress, title: str = title) -> None:
            if progress.loss is not None:
                console.print(f"{title}: step {progress.step} of {progress.steps}, loss {progress.loss:.4f}")

        overrides = [
            f"data.clean={options.data}",
            f"partners.restorer={bundle / entries['restorer'].file}",
            f"partners.denoiser={bundle / entries['denoiser'].file}",
            f"network.architecture={architecture}",
            f"optim.steps={options.steps}",
            f"optim.batch={options.batch}",
            f"data.patch={options.patch}",
            f"log.validate={options.steps}",
            "optim.warm_up=50",
            "optim.ema=0.99",  # a longer memory than a short run would judge its beginning
            *options.overrides,
        ]
        file = train("fusion", "fusion-sr4", overrides, out, metrics={"psnr": PSNR()}, watch=watch)
        network, record = load_network(file)
        with (out / "validation.csv").open() as log:
            figures[title] = {key: float(value) for key, value in list(csv.DictReader(log))[-1].items()}
        seconds = _seconds_per_megapixel(network)
        gains = [f"{figures[title][f'psnr_fused_sigma{level}']:.2f}" for level in LEVELS]
        rows.append([title, f"{record.parameters / 1e6:.2f} M", f"{seconds:.2f} s", *gains])
    any_form = next(iter(figures.values()))
    restored = f"{any_form['psnr_restored']:.2f}"
    denoised = [f"{any_form[f'psnr_denoised_sigma{level}']:.2f}" for level in LEVELS]
    rows = [["restorer alone", "", "", *[restored] * len(LEVELS)], ["denoiser alone", "", "", *denoised], *rows]

    report = Report(
        title="The paper's fusion network and the fast one, on equal terms",
        command=shlex.join(["python", "benchmarks/fusion_forms.py", *sys.argv[1:]]),
        intro=[
            f"Both were trained from scratch for {options.steps} steps of {options.batch} patches of {options.patch} "
            f"pixels, on the same samples, for the restorer and the denoiser of '{options.bundle}'. PSNR (RGB, dB) of "
            "the estimate of the clean image on the held-out images, at the noise levels sigma (in [0, 1] units).",
        ],
        tables=[
            Table("Estimates of E[x0 | y, x_t]", ["estimate", "parameters", "one call, 1 MP", *LEVELS], rows),
        ],
    )
    report.print(console)
    if options.write:
        for path in report.write(options.write):
            console.print(f"written: {path}")
    return 0


def _seconds_per_megapixel(network: torch.nn.Module) -> float:
    """Best of three calls on one megapixel, bfloat16 autocast on the CPU."""
    image, sigma = torch.rand(1, 3, 1024, 1024), torch.tensor([0.2])
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            network(image, image, image, sigma)
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    sys.exit(main())
