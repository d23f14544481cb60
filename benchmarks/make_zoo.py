r"""Put trained networks together as the bundles that ship.

    python benchmarks/make_zoo.py --restorer runs/restorer --denoiser runs/denoiser --fusion runs/fusion \
        --setting tau=450 --setting sampler=dpmpp-2m [--bars docs/bars.json]

Each run folder is one of `dp-ir train`. The denoiser is stored once, beside the bundles, because every task uses the
same one. With --bars the measured quality goes into the bundle's card.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dp_ir.checkpoints.network_file import load_network
from dp_ir.restoration.pipeline import DEFAULT_SETTINGS, Restoration

ZOO = Path(__file__).resolve().parents[1] / "src" / "dp_ir" / "zoo"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in ("restorer", "denoiser", "fusion"):
        parser.add_argument(f"--{kind}", type=Path, required=True, help="folder of its training run")
    parser.add_argument("--task", default="sr4")
    parser.add_argument("--setting", action="append", default=[], metavar="KEY=VALUE", help="how the networks are run")
    parser.add_argument("--bars", type=Path, help="JSON file of benchmarks/bars.py")
    options = parser.parse_args()

    networks: dict[str, Any] = {}
    records: dict[str, Any] = {}
    for kind in ("restorer", "denoiser", "fusion"):
        networks[kind], records[kind] = load_network(getattr(options, kind) / f"{kind}.safetensors")
    quality = measured(options.bars) if options.bars else {}
    settings = replace(DEFAULT_SETTINGS, task=options.task, licence="Apache-2.0", quality=quality)
    changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in options.setting)}
    restoration = Restoration.from_parts(**networks, records=records, settings=settings, device="cpu", **changes)
    restoration.save_pretrained(ZOO / options.task, shared={"denoiser": "../denoiser/denoiser.safetensors"})
    print(ZOO / options.task)


def measured(path: Path) -> dict[str, Any]:
    """The bars of a report, as figures for the card."""
    report = json.loads(path.read_text("utf-8"))
    figures = {}
    for bar in report["bars"]:
        figures[f"{bar['what']}, {bar['on']}"] = f"{bar['measured']:.{bar['digits']}f} {bar['unit']}".rstrip()
    return figures


if __name__ == "__main__":
    main()
