"""Restore hundreds of photos of random sizes and kinds, and see that memory does not grow.

    python tests/fuzz/endurance.py --images 400 [--through command] [--bundle sr4] [--write runs/endurance.json]

Two ways: all through one `Restoration` in this process (the default), or a folder of them through `dp-ir restore`,
whose process is watched from outside. There are sixty photos, which come round again under other names, because every
new size takes memory, up to a bound (docs/limits.md). A line is fitted to the resident memory of the second half; what
it gains must stay below 2 % of what the process has, or the exit status is 1.

Networks are tiny unless a bundle is named: what could be kept by mistake is images, results and caches.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fuzz_material as material
import numpy as np
import psutil
import torch
from PIL import Image

from dp_ir.batch.jobs import LocalJob
from dp_ir.batch.restoring import restore_file
from dp_ir.image import IMAGE_SUFFIXES
from dp_ir.part_files import remove_left_overs
from dp_ir.restoration.pipeline import Restoration

DISTINCT, WARM_UP, ALLOWED = 60, 0.5, 0.02
LONGEST_SIDE = 96
MODES = ("L", "LA", "P", "RGB", "RGBA", "CMYK", "1")
SUFFIXES = {
    "LA": (".png", ".tif"),
    "RGBA": (".png", ".tif", ".webp"),
    "CMYK": (".jpg", ".tif"),
    "P": (".png", ".bmp"),
    "1": (".png", ".tif", ".bmp"),
}  # other modes go into all of PNG, JPEG and TIFF


def write_photos(folder: Path, count: int, seed: int) -> list[Path]:
    """Photos of random sizes, modes and formats, with EXIF, the first of them again and again."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(min(count, DISTINCT)):
        height, width = rng.integers(1, LONGEST_SIDE, 2)
        mode = MODES[rng.integers(len(MODES))]
        fitting = {
            "LA": (".png", ".tif"),
            "RGBA": (".png", ".tif", ".webp"),
            "P": (".png", ".bmp"),
            "1": (".png", ".tif"),
        }
        suffixes = fitting.get(mode, (".jpg", ".tif") if mode == "CMYK" else (".png", ".jpg", ".tif"))
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)
        files.append(folder / f"{number:05}{suffixes[rng.integers(len(suffixes))]}")
        exif = Image.Exif()
        exif.update({0x0112: int(rng.integers(1, 9)), 0x010F: f"camera {number}"})
        image.save(files[-1], exif=exif)
    again = [(files[number % DISTINCT], number) for number in range(DISTINCT, count)]
    return files + [Path(shutil.copy(file, folder / f"{number:05}{file.suffix}")) for file, number in again]


def through_one(restoration: Restoration, files: list[Path], out: Path) -> list[int]:
    """Resident bytes after each photo, restored in this process."""
    out.mkdir()
    process, memory = psutil.Process(), []
    for number, file in enumerate(files):
        restore_file(restoration, LocalJob(file, out / f"{file.name}.png", 1 + number % 2), seed=number)
        if number % 10 == 0:
            gc.collect()
        memory.append(process.memory_info().rss)
    return memory


def through_command(bundle: str, folder: Path, out: Path) -> list[int]:
    """Resident bytes of `dp-ir restore`, ten times a second from its first result to its last."""
    arguments = [sys.executable, "-m", "dp_ir", "restore", str(folder), "-o", str(out), "-b", bundle, "--device", "cpu"]
    memory: list[int] = []
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as command:
        process = psutil.Process(command.pid)
        while command.poll() is None:
            if out.exists() and any(path.suffix == ".png" for path in out.iterdir()):
                memory.append(process.memory_info().rss)
            time.sleep(0.1)
    if command.returncode:
        raise SystemExit(f"dp-ir restore ended with status {command.returncode}")
    return [value for value in memory if value][:-3]  # the last are of a process that is ending


def judged(memory: list[int]) -> dict[str, float]:
    """What memory gains along the line through it after the warm-up, in MiB and as a share of what there is."""
    steady = np.array(memory[round(WARM_UP * len(memory)) :], dtype=float) / 2**20
    slope = np.polyfit(np.arange(len(steady)), steady, 1)[0]
    gained = slope * len(steady)
    return {
        "measured": len(memory),
        "after_warm_up_MiB": round(float(steady[0]), 1),
        "last_MiB": round(float(steady[-1]), 1),
        "highest_MiB": round(float(steady.max()), 1),
        "gained_along_line_MiB": round(float(gained), 2),
        "gained_share": round(float(gained / steady.mean()), 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--through", choices=("one", "command"), default="one")
    parser.add_argument("--bundle", help="a bundle instead of tiny networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="endurance-") as scratch:
        folder = Path(scratch)
        bundle = options.bundle or str(material.bundle(folder / "bundle"))
        files = write_photos(folder / "in", options.images, options.seed)
        start = time.perf_counter()
        if options.through == "one":
            memory = through_one(Restoration.from_pretrained(bundle, device="cpu"), files, folder / "out")
        else:
            memory = through_command(bundle, folder / "in", folder / "out")
        seconds = time.perf_counter() - start
        left = remove_left_overs(folder / "out")
        results = sum(path.suffix in IMAGE_SUFFIXES for path in (folder / "out").iterdir())
    figures = {"through": options.through, "images": options.images, "results": results, "left_over": left}
    figures |= {"seconds": round(seconds, 1), **judged(memory)}
    print(json.dumps(figures))
    if options.write:
        options.write.write_text(json.dumps(figures, indent=2) + "\n")
    return figures["gained_share"] > ALLOWED


if __name__ == "__main__":
    sys.exit(main())
