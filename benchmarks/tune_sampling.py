r"""Choose how a bundle is sampled, on held-out photographs (never on test images).

    python benchmarks/tune_sampling.py --data ../shared/data/train --weights ../shared/weights \
        --write docs/sampling.md --tau 300 450 600 --steps 8 --sampler ddim dpmpp-2m

Prints, for every combination, PSNR and LPIPS at full and at half scale, also relative to the restorer's and to the
noise control's, on the central crops of the validation split.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import sys
from pathlib import Path

from rich.console import Console

from dp_ir.evaluation import LPIPS, PSNR, Report, SlicedWasserstein, Table, load_lpips, noise_control, score
from dp_ir.image import read_image, to_tensor
from dp_ir.restoration.pipeline import Restoration
from dp_ir.tasks import get_task
from dp_ir.training.data import is_held_out
from dp_ir.training.recipe import DataRecipe
from dp_ir.training.store import image_files

COLUMNS = ["tau", "sigma", "steps", "sampler", "sigma_min", "spacing", "PSNR", "LPIPS", "LPIPS 1/2", "SWD"]
RATIOS = ["LPIPS / restorer", "1/2 / restorer", "LPIPS / noise", "1/2 / noise"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of training images; only the held-out are used"
    )
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1 file of LPIPS, or its folder; else downloaded")
    parser.add_argument("--bundle", default="sr4")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--tau", type=float, nargs="+", default=[450])
    parser.add_argument("--steps", type=int, nargs="+", default=[8])
    parser.add_argument("--sampler", nargs="+", default=["ddim"])
    parser.add_argument("--sigma-min", type=float, nargs="+", default=[0.01])
    parser.add_argument("--spacing", nargs="+", default=["log-sigma"])
    parser.add_argument("--write", type=Path, help="Markdown page to write, with a JSON file beside it")
    options = parser.parse_args()
    console = Console(width=200)

    task, pipeline = get_task("sr4"), Restoration.from_pretrained(options.bundle, device="cpu")
    targets = [
        central_crop(to_tensor(read_image(file)), options.crop)
        for file in image_files(options.data)
        if is_held_out(str(file.relative_to(options.data)), DataRecipe.validation_fraction)
    ]
    observations = [task.degrade(target) for target in targets]
    network = load_lpips(options.weights)
    metrics, distribution = [PSNR(), LPIPS(network), LPIPS(network, "half")], SlicedWasserstein()

    restored = [pipeline(observation, tau=0).image for observation in observations]
    alone = score("restorer", "held-out", restored, targets, metrics, distribution).values
    control = noise_control(restored, targets, metrics[1])
    noise = score("noise", "held-out", list(control.images), targets, metrics, distribution).values

    def row(head: list[object], values: dict[str, float]) -> list[object]:
        figures = [
            f"{values['PSNR']:.2f}",
            f"{values['LPIPS']:.4f}",
            f"{values['LPIPS 1/2']:.4f}",
            f"{values['SWD']:.2f}",
        ]
        ratios = [values[name] / base[name] for base in (alone, noise) for name in ("LPIPS", "LPIPS 1/2")]
        return [*head, *figures, *(f"{ratio:.3f}" for ratio in ratios)]

    rows = [
        row(["restorer", "", "", "", "", ""], dict(alone)),
        row([f"+ noise {control.std:.4f}", "", "", "", "", ""], dict(noise)),
    ]
    combinations = itertools.product(options.tau, options.steps, options.sampler, options.sigma_min, options.spacing)
    for tau, steps, sampler, sigma_min, spacing in combinations:
        images = [
            pipeline(y, seed=i, tau=tau, steps=steps, sampler=sampler, sigma_min=sigma_min, spacing=spacing).image
            for i, y in enumerate(observations)
        ]
        values = score("DP-IR", "held-out", images, targets, metrics, distribution).values
        sigma = f"{float(pipeline.schedule.sigma(tau)):.3f}"
        rows.append(row([f"{tau:g}", sigma, steps, sampler, f"{sigma_min:g}", spacing], dict(values)))
        console.print(" ".join(map(str, rows[-1])))

    report = Report(
        title="How the bundle is sampled",
        command=shlex.join(["python", "benchmarks/tune_sampling.py", *sys.argv[1:]]),
        intro=[
            f"{len(targets)} held-out photographs, central crops of {options.crop} pixels; bundle '{options.bundle}'."
        ],
        tables=[Table("Sampling on held-out photographs", [*COLUMNS, *RATIOS], rows)],
    )
    report.state(*(metric.protocol for metric in metrics), distribution.protocol, control.protocol)
    report.print(console)
    if options.write:
        for path in report.write(options.write):
            console.print(f"written: {path}")
    return 0


def central_crop(image, side):
    top, left = ((full - side) // 2 for full in image.shape[-2:])
    return image[..., top : top + side, left : left + side]


if __name__ == "__main__":
    sys.exit(main())
