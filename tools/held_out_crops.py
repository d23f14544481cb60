"""Central crops of the photographs that are held out of training, as a folder that `dp-ir evaluate` and `ablate` take.

    python tools/held_out_crops.py --data DATA/train --out runs/held-out

How the bundle and the methods beside it are run was chosen on these, never on test images.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from dp_ir.errors import DPIRError
from dp_ir.evaluation.ablations.fusion_forms import photographs
from dp_ir.evaluation.runner.image_records import store_image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training photographs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the crops")
    parser.add_argument("--side", type=int, default=256, help="of the crops, in pixels")
    options, console = parser.parse_args(), Console()
    try:
        crops = photographs(options.data, held_out=True, side=options.side)
        for number, crop in enumerate(crops):
            store_image(options.out / f"{number:02d}.png", crop)
    except DPIRError as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
        return 1
    console.print(f"{len(crops)} crops in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
