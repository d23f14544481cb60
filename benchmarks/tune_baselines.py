r"""Choose how the other methods with the same denoiser are run, on held-out photographs (never on test images).

    python benchmarks/tune_baselines.py --data ../shared/data/train --weights ../shared/weights \
        --method sr4,tau=0 ddrm:sr4,eta=0.85 ddrm:sr4,eta=0.7

Every method is what `dp-ir evaluate` takes; methods run on central crops of the validation split, and PSNR and LPIPS at
full and at half scale are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from dp_ir.evaluation import LPIPS, PSNR, Report, SlicedWasserstein, Table, load_lpips, score
from dp_ir.evaluation.method import Observation
from dp_ir.evaluation.methods import parse_method
from dp_ir.image import read_image, to_tensor
from dp_ir.tasks import get_task
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe
from dp_ir.training.store import image_files
from reporting import command_line, conclude
from tune_sampling import central_crop

COLUMNS = ["method", "calls", "PSNR", "LPIPS", "LPIPS 1/2", "SWD", "s / image"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of training images; only the held-out are used"
    )
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 file of LPIPS, or its folder; else downloaded")
    parser.add_argument("--method", nargs="+", required=True, help="as of dp-ir evaluate")
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--limit", type=int, help="the first photographs only")
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    options, console = parser.parse_args(), Console(width=200)
    return conclude(lambda: measure(options, console), console, options.write)


def measure(options: argparse.Namespace, console: Console) -> Report:
    task = get_task("sr4")
    files = [
        file
        for file in image_files(options.data)
        if is_held_out(str(file.relative_to(options.data)), DataRecipe.validation_fraction)
    ]
    targets = [central_crop(to_tensor(read_image(file)), options.crop) for file in files[: options.limit]]
    observations = [Observation("held-out", str(i), task.degrade(target)) for i, target in enumerate(targets)]
    network, distribution = load_lpips(options.weights), SlicedWasserstein()
    metrics = [PSNR(), LPIPS(network), LPIPS(network, "half")]
    rows: list[list[object]] = []
    protocols = []
    for text in options.method:
        method, started = parse_method(text, device="cpu"), time.perf_counter()
        outputs = [method(observation, seed) for seed, observation in enumerate(observations)]
        seconds = (time.perf_counter() - started) / len(outputs)
        images = [output.image.mul(255).round().clamp(0, 255).div(255) for output in outputs]  # as files have them
        values = score(method.name, "held-out", images, targets, metrics, distribution).values
        calls = ", ".join(f"{count} {role}" for role, count in outputs[0].calls.items())
        figures = [f"{values[name]:.{digits}f}" for name, digits in zip(values, (2, 4, 4, 2), strict=True)]
        rows.append([text, calls, *figures, f"{seconds:.2f}"])
        protocols += [protocol] if (protocol := getattr(method, "protocol", "")) else []
        console.print(" | ".join(map(str, rows[-1])))
    report = Report(
        title="Other methods with the same denoiser",
        command=command_line("tune_baselines"),
        intro=[f"{len(targets)} held-out photographs, central crops of {options.crop} pixels, rounded to 8 bits."],
        tables=[Table("On held-out photographs", COLUMNS, rows)],
    )
    report.state(*(metric.protocol for metric in metrics), distribution.protocol, *protocols)
    return report


if __name__ == "__main__":
    sys.exit(main())
