"""How fast a restoration is, as ratios measured in one run: against plain PyTorch, other engines, spandrel, and peers.

    python benchmarks/speed.py --data DATA --weights WEIGHTS [--only levers ...] [--write results/speed.md]

DATA holds Set14 (HR and LR_x4); WEIGHTS is the SqueezeNet 1.1 file of LPIPS or a folder that holds it. Every contestant
runs in a process of its own, so that none inherits another's memory or settings; use an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from dp_ir.checkpoints.bundle import locate_bundle, read_bundle
from dp_ir.checkpoints.contract import info_of
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.datasets.pairs import ImagePair
from dp_ir.errors import DPIRError
from dp_ir.evaluation import Report, Table, Target, flops, make_metrics, open_dataset
from dp_ir.evaluation.methods.baselines import DDRM, DiffPIR
from dp_ir.evaluation.methods.method import Observation
from dp_ir.restoration.pipeline import Restoration
from dp_ir.runtime.allocator import keep_freed_memory
from dp_ir.runtime.precision import uses_bfloat16
from dp_ir.tasks import get_task
from large_images import figures as large_images
from reporting import command_line, conclude

SIDE = 512  # of the restored image, in pixels
CALLS = 100  # of the peers
ENGINES = ("torch", "compile", "openvino", "onnxruntime")
PARTS = ("levers", "engines", "spandrel", "peers", "growth", "hundred")

Figures = dict[str, Any]


# ---- what is timed ---------------------------------------------------------------------------------------------------


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The fastest of several runs, after one that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def plain_restoration(bundle: str) -> Restoration:
    """The bundle's networks as PyTorch runs them by itself: float32, eager, contiguous, nothing about memory."""
    stored = read_bundle(locate_bundle(bundle))
    networks = {kind: _plain(network) for kind, network in stored.networks.items()}
    infos = {kind: info_of(network) for kind, network in stored.networks.items()}
    return Restoration.from_parts(**networks, infos=infos, settings=stored.settings, device="cpu", precision="float32")


def _plain(network: nn.Module) -> Callable[..., Tensor]:
    network.eval()
    return lambda *images: network(*(image.contiguous() for image in images))


def inputs(kind: str, scale: int) -> tuple[Tensor, ...]:
    """What a network is called with for an image of `SIDE` pixels."""
    generator = torch.Generator().manual_seed(0)
    if kind == "restorer":
        return (torch.rand(1, 3, SIDE // scale, SIDE // scale, generator=generator),)
    images = [torch.rand(1, 3, SIDE, SIDE, generator=generator) for _ in range(3 if kind == "fusion" else 1)]
    return (*images, torch.tensor([0.2]))


def timed(restoration: Restoration, repeats: int) -> Figures:
    """Seconds of the whole restoration and of each network in it."""
    scale = restoration.networks["restorer"].info.scale or 1
    (observation,) = inputs("restorer", scale)
    figures: Figures = {"restoration": seconds(lambda: restoration(observation, seed=0), repeats)}
    with torch.inference_mode():
        for kind, network in restoration.networks.items():
            arguments = inputs(kind, scale)
            figures[kind] = seconds(lambda network=network, arguments=arguments: network(*arguments), repeats)
    return figures


def ceiling(precision: torch.dtype, repeats: int) -> float:
    """FLOP/s of the best of several large matrix products."""
    rates = []
    for side in (1024, 2048, 4096):
        first, second = (torch.randn(side, side).to(precision) for _ in range(2))
        taken = seconds(lambda first=first, second=second: first @ second, repeats)
        rates.append(2 * side**3 / taken)
    return max(rates)


# ---- the contestants, each in a process of its own -------------------------------------------------------------------


def run_plain(options: argparse.Namespace) -> Figures:
    """Plain PyTorch."""
    return timed(plain_restoration(options.bundle), options.repeats)


def run_ours(options: argparse.Namespace) -> Figures:
    """As the command line runs it, lever by lever, and what the default costs in quality."""
    figures: Figures = {
        "float32": timed(
            Restoration.from_pretrained(options.bundle, device="cpu", precision="float32"), options.repeats
        )
    }
    figures["kept"] = keep_freed_memory()
    exact = Restoration.from_pretrained(options.bundle, device="cpu", precision="float32")
    figures["float32, kept memory"] = timed(exact, options.repeats)
    default = Restoration.from_pretrained(options.bundle, device="cpu")
    figures["default"] = timed(default, options.repeats)
    figures["bfloat16"] = uses_bfloat16("auto", default.device)
    figures["ceiling"] = {name: ceiling(getattr(torch, name), options.repeats) for name in ("float32", "bfloat16")}
    figures["flops"] = {
        kind: flops(network.module, *inputs(kind, default.networks["restorer"].info.scale or 1))
        for kind, network in default.networks.items()
    }
    figures["scores"] = {
        name: judged(options, lambda pair, network=network: network(pair.observation, seed=0).image)
        for name, network in (("default", default), ("float32", exact))
    }
    return figures


def run_engine(options: argparse.Namespace) -> Figures:
    """One engine in the default precision."""
    keep_freed_memory()
    (observation,) = inputs("restorer", 4)
    start = time.perf_counter()
    restoration = Restoration.from_pretrained(options.bundle, device="cpu", engine=options.engine)
    restoration(observation, seed=0)
    first = time.perf_counter() - start
    figures = timed(restoration, options.repeats)
    exact = Restoration.from_pretrained(options.bundle, device="cpu", precision="float32")
    difference = restoration(observation, seed=0).image - exact(observation, seed=0).image
    return {**figures, "first": first, "rms": float(difference.square().mean().sqrt())}


def run_peers(options: argparse.Namespace) -> Figures:
    """The peers' way with the same networks, as plain PyTorch runs them; and ours again, for the ratio."""
    plain = plain_restoration(options.bundle)
    denoiser = plain.networks["denoiser"]
    info = plain.networks["denoiser"].info
    top = (info.sigma_range or (0.0, 1.0))[1]
    tau = int(plain.schedule.step(top) + 1e-6)
    parts = {"denoiser": LoadedNetwork("denoiser", denoiser.module, info, device="cpu")}
    methods: dict[str, Callable[[ImagePair], Tensor]] = {
        f"sampling from T, {CALLS} ancestral steps": lambda pair: (
            plain(pair.observation, seed=0, tau=tau, steps=CALLS, sampler="ddpm").image
        ),
        f"DiffPIR, {CALLS} calls": _baseline(DiffPIR("DiffPIR", parts, steps=CALLS)),
        f"DDRM, {CALLS} calls": _baseline(DDRM("DDRM", parts, steps=CALLS)),
        "DP-IR, plain PyTorch": lambda pair: plain(pair.observation, seed=0).image,
    }
    figures = {name: judged(options, method) for name, method in methods.items()}
    keep_freed_memory()
    ours = Restoration.from_pretrained(options.bundle, device="cpu")
    ours(pairs(options)[0].observation, seed=0)
    figures["DP-IR"] = judged(options, lambda pair: ours(pair.observation, seed=0).image)
    return figures


def _baseline(method: DiffPIR | DDRM) -> Callable[[ImagePair], Tensor]:
    return lambda pair: method(Observation("Set14", pair.name, pair.observation), 0).image


def pairs(options: argparse.Namespace) -> list[ImagePair]:
    """The images that quality is judged on: every so-manieth of Set14."""
    task = get_task("sr4")
    images = open_dataset(options.data / "Set14", scale=task.scale, degrade=task.degrade)
    step = max(len(images) // options.images, 1)
    return [images[index] for index in range(0, len(images), step)][: options.images]


def judged(options: argparse.Namespace, method: Callable[[ImagePair], Tensor]) -> Figures:
    """Mean scores and seconds per megapixel of a method on those images."""
    (psnr, lpips, half), _ = make_metrics(["psnr", "lpips", "lpips-half"], border=4, weights=options.weights)
    values: dict[str, list[float]] = {"PSNR": [], "LPIPS": [], "LPIPS half": []}
    taken = size = 0.0
    for pair in pairs(options):
        start = time.perf_counter()
        image = method(pair)
        taken += time.perf_counter() - start
        size += image.shape[-1] * image.shape[-2] / 1e6
        for name, metric in zip(values, (psnr, lpips, half), strict=True):
            values[name].append(float(metric(image.clamp(0, 1), pair.target)))
    return {**{name: statistics.fmean(found) for name, found in values.items()}, "seconds per megapixel": taken / size}


def run_spandrel(options: argparse.Namespace) -> list[Figures]:
    """Our SwinIR, RRDBNet and FFTformer against spandrel's."""
    from against_spandrel import compare

    rows = compare(threads=torch.get_num_threads(), rounds=options.repeats)
    return [
        {"name": row.network, "size": f"{row.side}x{row.side}", "ratio": row.ratio, "error": row.error} for row in rows
    ]


def run_growth(options: argparse.Namespace) -> list[Figures]:
    """The command line on photos of 1, 4 and 16 megapixels."""
    return list(large_images((1, 4, 16), task=options.bundle))


def run_hundred(options: argparse.Namespace) -> Figures:
    """The command line on a photo of 100 megapixels, with 3 GB of memory."""
    (found,) = large_images((100,), task=options.bundle, options=["--memory", "3"])
    return found


CONTESTANTS: dict[str, Callable[[argparse.Namespace], Any]] = {
    "plain": run_plain,
    "ours": run_ours,
    "engine": run_engine,
    "peers": run_peers,
    "spandrel": run_spandrel,
    "growth": run_growth,
    "hundred": run_hundred,
}


def in_own_process(work: Path | None, contestant: str, **changes: Any) -> Any:
    """What a contestant found, in a process of its own; kept in the folder `--work`, and taken from there."""
    kept = work / f"{'-'.join([contestant, *map(str, changes.values())])}.json" if work is not None else None
    if kept is not None and kept.exists():
        return json.loads(kept.read_text())
    arguments = [f"--{key}={value}" for key, value in changes.items()]
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--contestant", contestant, *arguments],
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise DPIRError(f"The contestant '{contestant}' ended with status {done.returncode}; see above.")
    found = done.stdout.splitlines()[-1]
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(found)
    return json.loads(found)


# ---- the report ------------------------------------------------------------------------------------------------------


def report_of(options: argparse.Namespace) -> Report:
    """Measure what is asked for."""
    threads = torch.get_num_threads()
    report = Report(
        title="Speed",
        command=command_line("speed"),
        intro=[
            f"The bundle `{options.bundle}`, {SIDE // 4}x{SIDE // 4} to {SIDE}x{SIDE} pixels unless said otherwise, on "
            f"the CPU with {threads} threads. Seconds depend on the machine; the ratios are what counts."
        ],
    )
    wanted = options.only or PARTS
    measure = partial(in_own_process, options.work)
    plain = report.data["plain"] = measure("plain") if {"levers", "engines"} & set(wanted) else {}
    if "levers" in wanted:
        _levers(report, plain, measure("ours"))
    if "engines" in wanted:
        _engines(report, plain, {engine: measure("engine", engine=engine) for engine in ENGINES})
    if "spandrel" in wanted:
        _spandrel(report, measure("spandrel"))
    if "peers" in wanted:
        _peers(report, measure("peers"))
    if "growth" in wanted:
        _growth(report, measure("growth"))
    if "hundred" in wanted:
        _hundred(report, measure("hundred"))
    report.state(
        f"Seconds: the fastest of {options.repeats} runs after one that does not count; every contestant in a process "
        "of its own, one after the other.",
        "Plain PyTorch: the same modules in eager float32 with contiguous tensors and PyTorch's own memory. What the "
        "networks' own code folds (the noise level into convolutions) it folds there, too.",
    )
    return report


def _levers(report: Report, plain: Figures, ours: Figures) -> None:
    report.data["ours"] = ours
    rows = []
    names = {"float32": "channels-last", "float32, kept memory": "+ freed memory kept", "default": "+ bfloat16"}
    for name, figures in [("plain PyTorch, float32", plain), *((names[key], ours[key]) for key in names)]:
        taken = figures["restoration"]
        rows.append([name, f"{taken:.3f}", f"{plain['restoration'] / taken:.2f}"])
    report.tables.append(Table("Whole restoration, lever by lever", ["", "seconds", "times as fast"], rows))
    if not ours["bfloat16"]:
        report.state("This processor has no bfloat16 arithmetic: the default is float32 here.")
    report.targets.append(
        Target(
            "restoration, plain float32 / default",
            "time",
            ">=",
            3.0,
            plain["restoration"] / ours["default"]["restoration"],
        )
    )
    exact, default = ours["scores"]["float32"], ours["scores"]["default"]
    report.targets += [
        Target("PSNR, |default - float32|", "Set14", "<=", 0.1, abs(default["PSNR"] - exact["PSNR"]), "dB", 3),
        Target("LPIPS, |default - float32|", "Set14", "<=", 0.002, abs(default["LPIPS"] - exact["LPIPS"]), "", 4),
    ]
    precision = "bfloat16" if ours["bfloat16"] else "float32"
    rows = []
    for kind, count in ours["flops"].items():
        rate, share = count / ours["default"][kind], count / ours["default"][kind] / ours["ceiling"][precision]
        exact_rate = count / ours["float32, kept memory"][kind]
        rows.append(
            [
                kind,
                f"{count / 1e9:.1f}",
                f"{plain[kind] / ours['default'][kind]:.2f}",
                f"{rate / 1e9:.0f}",
                f"{share:.0%}",
                f"{exact_rate / 1e9:.0f}",
                f"{exact_rate / ours['ceiling']['float32']:.0%}",
            ]
        )
        report.targets.append(Target(f"{kind}, share of the matrix product's FLOP/s", precision, ">=", 0.6, share))
    columns = [
        "network",
        "GFLOPs",
        "times plain float32",
        f"GFLOP/s, {precision}",
        "of ceiling",
        "GFLOP/s, float32",
        "of ceiling",
    ]
    report.tables.append(Table("Networks", columns, rows))
    report.state(
        "Ceiling: the fastest of three square matrix products (1024, 2048, 4096) by torch.matmul in the same "
        "precision: "
        + ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in ours["ceiling"].items())
        + ". More than 100 % in float32 means that the convolutions' library is better here than that of the product."
    )


def _engines(report: Report, plain: Figures, found: dict[str, Figures]) -> None:
    rows = []
    for engine, figures in found.items():
        report.data[f"engine {engine}"] = figures
        rows.append(
            [
                engine,
                f"{figures['first']:.1f}",
                f"{figures['restoration']:.3f}",
                f"{plain['restoration'] / figures['restoration']:.2f}",
                f"{figures['rms'] * 255:.2f}",
            ]
        )
    columns = [
        "--engine",
        "load and first image / s",
        "each further image / s",
        "times plain float32",
        "RMS to float32 / 255",
    ]
    report.tables.append(Table("Engines, default precision", columns, rows))


def _spandrel(report: Report, compared: Sequence[Figures]) -> None:
    report.data["spandrel"] = compared
    rows = []
    for entry in compared:
        rows.append([entry["name"], entry["size"], f"{entry['ratio']:.2f}", f"{entry['error']:.1e}"])
        report.targets.append(
            Target(f"{entry['name']} {entry['size']}, spandrel / ours", "float32", ">=", 1.3, entry["ratio"])
        )
        report.targets.append(
            Target(f"{entry['name']} {entry['size']}, relative error", "float32", "<=", 1e-3, entry["error"], "", 6)
        )
    columns = ["architecture", "input", "times as fast as spandrel's", "relative error"]
    report.tables.append(Table("The same weights in spandrel's implementation, float32", columns, rows))


def _peers(report: Report, found: Figures) -> None:
    report.data["peers"] = found
    ours = found["DP-IR"]
    rows = [
        [
            name,
            f"{figures['seconds per megapixel']:.2f}",
            f"{figures['seconds per megapixel'] / ours['seconds per megapixel']:.1f}",
            f"{figures['PSNR']:.2f}",
            f"{figures['LPIPS']:.4f}",
            f"{figures['LPIPS half']:.4f}",
        ]
        for name, figures in found.items()
    ]
    columns = ["method", "seconds per megapixel", "times DP-IR", "PSNR", "LPIPS", "LPIPS half"]
    report.tables.append(Table("The peers' way with the same networks", columns, rows))
    theirs = found[f"DiffPIR, {CALLS} calls"]
    ratio = theirs["seconds per megapixel"] / ours["seconds per megapixel"]
    report.targets.append(Target(f"time, DiffPIR with {CALLS} calls / DP-IR", "Set14", ">=", 20.0, ratio, "", 1))
    report.targets.append(Target("LPIPS, DP-IR / DiffPIR", "Set14", "<=", 1.0, ours["LPIPS"] / theirs["LPIPS"]))


def _growth(report: Report, found: Sequence[Figures]) -> None:
    report.data["growth"] = found
    rows = [[f"{size['megapixels']:g}", f"{size['pace']:.2f}", f"{size['gigabytes']:.2f}"] for size in found]
    columns = ["megapixels of the result", "seconds per megapixel", "GB resident at most"]
    report.tables.append(Table("Growth with the image, through the command line", columns, rows))
    paces = [size["pace"] for size in found]
    bar = Target("time per megapixel, largest / smallest", "1, 4, 16 megapixels", "<=", 1.15, max(paces) / min(paces))
    report.targets.append(bar)
    report.state(
        "Growth: `dp-ir restore` in a process of its own, to TIFF; the seconds that a tiny photo takes (loading) are "
        "not counted, reading and writing are."
    )


def _hundred(report: Report, found: Figures) -> None:
    report.data["hundred"] = found
    row = ["100 megapixels, --memory 3", f"{found['gigabytes']:.2f}"]
    report.tables.append(Table("From disk to disk", ["", "GB resident at most"], [row]))
    report.targets.append(Target("memory for 100 megapixels", "--memory 3", "<=", 3.0, found["gigabytes"], "GB"))


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds Set14")
    parser.add_argument("--weights", type=Path, help="SqueezeNet 1.1, or the folder that holds it")
    parser.add_argument("--bundle", default="sr4-estimate", help="a bundle for 4x super-resolution")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="only these parts")
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the fastest counts")
    parser.add_argument("--images", type=int, default=5, help="images of Set14 that quality is judged on")
    parser.add_argument("--work", type=Path, help="folder that keeps what was measured, to go on where it was stopped")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="write PAGE (Markdown) and the same as JSON")
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(CONTESTANTS[options.contestant](options)))
        return 0
    return conclude(lambda: report_of(options), Console(), options.write)


if __name__ == "__main__":
    sys.exit(main())
