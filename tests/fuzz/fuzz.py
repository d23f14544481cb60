"""Mangle valid files of every kind for some minutes, and see that readers only ever accept or refuse them.

    python tests/fuzz/fuzz.py --minutes 10 --workers 2 --out runs/fuzz [--kind image] [--seed 0]
    python tests/fuzz/fuzz.py --again runs/fuzz/image-1234-crashed.tif

Photos, RAW files, weight files, the `config.json` of bundles and the manifests of batches get faults: flipped bits,
edited headers, cuts, repeats and splices. Each is read in a process with a limit on memory and time. What is read must
be sound and must write and load again; what is refused must be refused with a `DPIRError` of one sentence. Anything
else is bad: another error, a crash, a hang, memory beyond the limit, or anything executed: a process begun, a
connection, a file written elsewhere.
Bad files are kept in the folder of `--out`, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import fuzz_material as material
import numpy as np
import psutil
import torch

from dp_ir.batch.manifest import MANIFEST, Manifest
from dp_ir.batch.plan import plan_batch
from dp_ir.checkpoints.loading import read_network
from dp_ir.errors import DPIRError
from dp_ir.image import read_image, write_image
from dp_ir.image.raw.raw_files import read_raw
from dp_ir.restoration.pipeline import Restoration

MAX_PIXELS = 4_000_000
MEMORY = 4 << 30  # address space of a worker, most of which the libraries take
SECONDS = 20.0
LONGEST_SENTENCE = 6000  # with values of 3000 letters in it
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen")
GOOD = ("accepted", "refused")


@dataclass(frozen=True)
class Target:
    """What is fuzzed: how its seeds are made and mangled, and what reads the result."""

    seeds: Callable[[Path], list[Path]]
    mangle: Callable[[bytes, bytes, random.Random], bytes]
    read: Callable[[Path], None]


def use_image(path: Path) -> None:
    picture = read_image(path, max_pixels=MAX_PIXELS)
    assert np.isfinite(picture.pixels).all(), "pixels that are no numbers"
    assert picture.pixels.min() >= 0 and picture.pixels.max() <= 1, "pixels outside of [0, 1]"  # noqa: PT018
    assert picture.pixels.shape[0] * picture.pixels.shape[1] <= MAX_PIXELS, "more pixels than allowed"
    target = path.with_name(f"written{random.Random(path.stat().st_size).choice(('.png', '.tif', '.jpg', '.webp'))}")
    if max(picture.size) < 16000:
        write_image(target, picture)
        assert read_image(target).size == picture.size, "another size than was written"


def use_raw(path: Path) -> None:
    frame = read_raw(path, max_pixels=MAX_PIXELS)
    assert torch.isfinite(frame.planes).all(), "values that are no numbers"
    assert torch.isfinite(frame.camera.matrix).all(), "a matrix that is no numbers"


def use_weights(path: Path) -> None:
    network, _ = read_network(path)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values()), "weights that are no numbers"


def use_bundle(path: Path) -> None:
    folder = path.parent / "bundle"
    shutil.copy(path, folder / "config.json")
    restoration = Restoration.from_pretrained(folder, device="cpu")
    result = restoration(torch.full((1, 3, 8, 8), 0.5), seed=0)
    assert torch.isfinite(result.image).all(), "a result that is no numbers"


def use_manifest(path: Path) -> None:
    folder = path.parent / "batch"
    shutil.copy(path, folder / "out" / MANIFEST)
    plan = plan_batch([folder / "in"], folder / "out", manifest=Manifest(folder / "out"), made_by={"bundle": "sr4"})
    assert len(plan.jobs) + len(plan.settled) == 2, "another number of inputs"
    assert all(job.target.is_relative_to(folder / "out") for job in plan.jobs), "a result elsewhere"


def manifest_seeds(folder: Path) -> list[Path]:
    return [material.batch(folder / "batch")]


def bundle_seeds(folder: Path) -> list[Path]:
    return [material.bundle(folder / "bundle") / "config.json"]


TARGETS = {
    "image": Target(material.images, material.mangled, use_image),
    "raw": Target(material.raw_files, material.mangled, use_raw),
    "weights": Target(material.weights, material.mangled_archive, use_weights),
    "bundle": Target(bundle_seeds, material.mangled_json, use_bundle),
    "manifest": Target(manifest_seeds, material.mangled_json, use_manifest),
}
SHARES = {"image": 6, "raw": 2, "weights": 4, "bundle": 1, "manifest": 1}


def judged(read: Callable[[Path], None], path: Path) -> tuple[str, str]:
    """What reading a file comes to, with the sentence or traceback that tells."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except DPIRError as error:
        sentence = str(error)
        # The reader believed a size that was stated; that HDF5 itself refuses one is as it should be.
        if "does not fit into memory" in sentence or "DefaultCPUAllocator" in sentence:
            return "memory", sentence
        clear = "\n" not in sentence and sentence.endswith(".") and 20 < len(sentence) < LONGEST_SENTENCE
        return ("refused" if clear else "unclear"), sentence
    except MemoryError:
        return "memory", traceback.format_exc()
    except Executed:
        return "executed", traceback.format_exc()
    except BaseException:
        return "unexpected", traceback.format_exc()
    return "accepted", ""


class Executed(BaseException):
    """Something a reader must never do; no handler of ordinary errors hides it."""


def forbid(folder: Path) -> None:
    """Raise wherever this process, from now on, would execute anything or write outside of `folder`."""
    inside = (str(folder), "/dev/null")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(FORBIDDEN):
            raise Executed(f"{event} {arguments}")
        writes = event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in ("os.mkdir", "os.remove", "os.rename")) and not str(arguments[0]).startswith(inside):
            raise Executed(f"{event} {arguments}")

    sys.addaudithook(watch)


def work(pipe: Connection, number: int, seed: int, kinds: list[str], first: int) -> None:
    """Read mangled files, telling of each before and after, until killed."""
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{number}-"))
    torch.set_num_threads(1)
    seeds: dict[str, list[tuple[str, bytes]]] = {}
    for kind in kinds:
        (folder / kind).mkdir()
        seeds[kind] = [(path.suffix, path.read_bytes()) for path in TARGETS[kind].seeds(folder / kind)]
        for index, (suffix, data) in enumerate(seeds[kind]):  # whole files are read, and imports are done by then
            path = folder / kind / f"case{suffix}"
            path.write_bytes(data)
            verdict = judged(TARGETS[kind].read, path)
            assert verdict[0] == "accepted", (kind, index, suffix, verdict)
    import_module("spandrel")  # loads libraries, which from now on counts as executing something
    pipe.send(("ready", folder))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries write there about what they meet
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    forbid(folder)
    case = first
    while True:
        rng = random.Random(f"{seed} {number} {case}")
        kind = rng.choices(kinds, [SHARES[kind] for kind in kinds])[0]
        (suffix, data), (_, other) = rng.choice(seeds[kind]), rng.choice(seeds[kind])
        path = folder / kind / f"case{suffix}"
        path.write_bytes(TARGETS[kind].mangle(data, other, rng))
        pipe.send(("begun", kind, case, path))
        pipe.send(("done", kind, *judged(TARGETS[kind].read, path)))
        case += 1


class Worker:
    """A process that reads mangled files, begun anew where it crashes or hangs."""

    def __init__(self, number: int, options: argparse.Namespace) -> None:
        self.number, self.options, self.case, self.folder = number, options, 0, None
        self.begin()

    def begin(self) -> None:
        """Start the process, with the case that follows."""
        self.pipe, other = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        arguments = (other, self.number, self.options.seed, self.options.kind, self.case)
        self.process = context.Process(target=work, args=arguments, daemon=True)
        self.process.start()
        other.close()
        self.kind, self.path, self.since, self.worked = "", None, 0.0, 0.0

    def seconds(self) -> float:
        """Processor time so far, which other programs on the machine do not prolong; 0 where it has ended."""
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self.process.pid).cpu_times()
            return times.user + times.system
        return 0.0

    def hangs(self) -> bool:
        """Whether it has worked on one file for too long, or waits for something that does not come."""
        return self.seconds() - self.worked > SECONDS or time.monotonic() - self.since > 10 * SECONDS

    def end(self) -> None:
        """Stop the process and remove its files."""
        self.process.kill()
        self.process.join()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def fuzz(options: argparse.Namespace) -> dict[str, collections.Counter[str]]:
    """Count what became of the files of each kind; bad ones are kept."""
    counts: dict[str, collections.Counter[str]] = {kind: collections.Counter() for kind in options.kind}
    workers = [Worker(number, options) for number in range(options.workers)]
    end = time.monotonic() + 60 * options.minutes

    def conclude(worker: Worker, outcome: str, words: str) -> None:
        counts[worker.kind][outcome] += 1
        if outcome not in GOOD:
            name = f"{worker.kind}-{worker.number}-{worker.case}-{outcome}"
            options.out.mkdir(parents=True, exist_ok=True)
            shutil.copy(worker.path, options.out / f"{name}{worker.path.suffix}")
            (options.out / f"{name}.txt").write_text(words)
            print(f"{name}: {words.strip().splitlines()[-1][:300] if words.strip() else ''}", flush=True)

    try:
        while time.monotonic() < end:
            ready = wait([worker.pipe for worker in workers], timeout=1.0)
            for worker in workers:
                if worker.pipe in ready:
                    try:
                        what, *details = worker.pipe.recv()
                    except EOFError:
                        worker.process.join()
                        assert worker.folder is not None, "a worker ended before it began"
                        conclude(worker, "crashed", f"exit status {worker.process.exitcode}")
                        worker.case += 1
                        worker.end()
                        worker.begin()
                        continue
                    if what == "ready":
                        worker.folder = details[0]
                    elif what == "begun":
                        worker.kind, worker.case, worker.path = details
                        worker.since, worker.worked = time.monotonic(), worker.seconds()
                    else:
                        conclude(worker, details[1], details[2])
                        worker.path = None
                        if details[1] == "memory":  # what it still holds would be blamed on the files that follow
                            worker.case += 1
                            worker.end()
                            worker.begin()
                elif worker.path is not None and worker.hangs():
                    conclude(worker, "hung", f"more than {SECONDS:g} seconds")
                    worker.case += 1
                    worker.end()
                    worker.begin()
    finally:
        for worker in workers:
            worker.end()
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=TARGETS)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--again", type=Path, help="read one file that was kept, and say what comes of it")
    options = parser.parse_args()
    options.kind = options.kind or list(TARGETS)
    if options.again:
        outcome, words = judged(TARGETS[options.again.name.split("-")[0]].read, options.again)
        print(outcome, words)
        return outcome not in GOOD
    counts = fuzz(options)
    print(json.dumps({kind: dict(sorted(count.items())) for kind, count in counts.items()}))
    return any(outcome not in GOOD for count in counts.values() for outcome in count)


if __name__ == "__main__":
    sys.exit(main())
