"""Time and memory of restorations of growing size, each through the command line in a process of its own.

    python benchmarks/large_images.py --megapixels 1 4 16                      # time per megapixel: is it linear?
    python benchmarks/large_images.py --megapixels 100 -- --memory 3           # in 3 GB, from disk to disk

Megapixels are those of the result. The photo is enlarged and mirrored to the size that is needed. Prints a Markdown
table; memory is the largest resident set of the process, everything included.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dp_ir.image import from_array, read_image, write_image

ROOT = Path(__file__).resolve().parent.parent


def photo(path: Path, side: int) -> None:
    """A square photo: the demonstration's, mirrored at its edges until it is large enough."""
    pixels = read_image(ROOT / "docs" / "demo" / "original.png").pixels
    tile = np.concatenate([pixels, pixels[:, ::-1]], 1)
    tile = np.concatenate([tile, tile[::-1]], 0)
    copies = [-(-side // length) for length in tile.shape[:2]]
    array = np.tile((tile * 255).round().astype(np.uint8), (*copies, 1))[:side, :side]
    write_image(path, from_array(array))


def measured(command: list[str]) -> tuple[float, float]:
    """Wall-clock seconds, and gigabytes that were resident at most."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}.")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def figures(
    megapixels: Sequence[float], *, task: str = "sr4", scale: int = 4, suffix: str = ".tif", options: Sequence[str] = ()
) -> Iterator[dict[str, float]]:
    """Restore a photo of each size.

    Args:
        megapixels: of the results.
        task: what `--task` is given.
        scale: side of the result / side of the input.
        suffix: of the results.
        options: further ones of `dp-ir restore`.

    Yields:
        Per size "megapixels", "seconds", "loading" (those that a tiny photo takes), "pace" (seconds per megapixel
        without loading), and "gigabytes" resident at most.
    """
    with tempfile.TemporaryDirectory(prefix="dp-ir-") as scratch:
        source, result = Path(scratch) / "in.png", Path(scratch) / f"out{suffix}"
        command = [sys.executable, "-m", "dp_ir", "restore", str(source), "-o", str(result), "--overwrite"]
        command += ["--task", task, *options]
        photo(source, 64 // scale)
        loading, _ = measured(command)
        for size in megapixels:
            photo(source, round(math.sqrt(size * 1e6) / scale))
            seconds, gigabytes = measured(command)
            pace = (seconds - loading) / size
            yield {
                "megapixels": size,
                "seconds": seconds,
                "loading": loading,
                "pace": pace,
                "gigabytes": gigabytes,
            }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--task", default="sr4")
    parser.add_argument("--scale", type=int, default=4, help="of the task: side of the result over that of the input")
    parser.add_argument("--suffix", default=".tif")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="after --: further options of dp-ir restore")
    given = parser.parse_args()
    options = [option for option in given.options if option != "--"]
    print("| megapixels | seconds | of these loading | seconds per megapixel | GB at most |\n|---|---|---|---|---|")
    for found in figures(given.megapixels, task=given.task, scale=given.scale, suffix=given.suffix, options=options):
        print(
            f"| {found['megapixels']:g} | {found['seconds']:.1f} | {found['loading']:.1f} | {found['pace']:.2f} "
            f"| {found['gigabytes']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
