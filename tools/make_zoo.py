r"""Put trained networks together as the bundles that ship.

    python tools/make_zoo.py --restorer runs/restorer/restorer.safetensors \
        --denoiser runs/denoiser/denoiser.safetensors --fusion runs/fusion/fusion.safetensors \
        --setting tau=450 --setting sampler=dpmpp-2m [--bars results/bars.csv]

Each network is a file of `dp-ir train`, or whatever else `Restoration.from_parts` takes. A fusion that was trained for
certain sampler calls brings them along, --setting changes the others. The denoiser is stored once,
beside the bundles, because every task uses the same one. With --bars the measured quality goes into the bundle's card.
With --without restorer the bundle holds none: it is for one that its users have.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import yaml

from dp_ir.checkpoints.network_file import Kind
from dp_ir.evaluation.report.document import TARGETS
from dp_ir.restoration.pipeline import Restoration

ZOO = Path(__file__).resolve().parents[1] / "src" / "dp_ir" / "zoo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in ("restorer", "denoiser", "fusion"):
        parser.add_argument(f"--{kind}", required=True, help="file, bundle or hub id")
    parser.add_argument("--task", default="sr4")
    parser.add_argument("--name", help="of the bundle; the task's by default")
    parser.add_argument("--without", action="append", default=[], choices=["restorer"], help="what is left out")
    parser.add_argument("--restorer-from", metavar="BUNDLE", help="use the restorer's file in that bundle's folder")
    parser.add_argument("--zoo", type=Path, default=ZOO, help="folder of the bundles")
    parser.add_argument("--setting", action="append", default=[], metavar="KEY=VALUE", help="how the networks are run")
    parser.add_argument("--bars", type=Path, help="CSV file of benchmarks/bars.py")
    options = parser.parse_args()

    networks = {kind: getattr(options, kind) for kind in ("restorer", "denoiser", "fusion")}
    quality = measured(options.bars, options.task) if options.bars else {}
    changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.setting)}
    said = {"task": options.task, "licence": "Apache-2.0", "quality": quality}
    restoration = Restoration.from_parts(**networks, device="cpu", **{**said, **changes})
    folder = options.zoo / (options.name or options.task)
    shared: dict[Kind, str] = {"denoiser": "../denoiser/denoiser.safetensors"}
    if options.restorer_from:
        shared["restorer"] = f"../{options.restorer_from}/restorer.safetensors"
    restoration.save_pretrained(folder, shared=shared, without=options.without)
    print(folder)


def measured(path: Path, task: str) -> dict[str, Any]:
    """The targets of a report that are about this task or about the denoiser, as figures for the card."""
    targets: dict[str, dict[str, str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for cell in csv.DictReader(file):
            if cell["table"] == TARGETS:
                targets.setdefault(cell["row"], {})[cell["column"]] = cell["value"]
    figures = {}
    for target in targets.values():
        named, _, rest = target["on"].partition(", ")
        if named not in (task, "denoiser") or not target["measured"]:
            continue
        on = rest if named == task else target["on"]
        figures[f"{target['what']}, {on}"] = (
            f"{float(target['measured']):.{target['digits']}f} {target['unit']}".rstrip()
        )
    return figures


if __name__ == "__main__":
    main()
