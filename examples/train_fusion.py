"""Train a fusion for two frozen networks on a folder of photos, and restore with it.

    python examples/train_fusion.py photos/ runs/mine [--steps 200]

The restorer and the denoiser are those of the bundle `sr4`; put your own in their place. The fusion here is a small one
that learns from pixels alone, for a first look; `docs/training.md` has the recipes of those that ship. The same command
goes on where it was stopped. Needs the extra `train`.
"""

import argparse
from pathlib import Path

from dp_ir import Restoration
from dp_ir.training.run import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, help="folder of clean photos, about 50 or more")
    parser.add_argument("out", type=Path, help="folder of the run")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--patch", type=int, default=64, help="side of the patches that are learned from, in pixels")
    options = parser.parse_args()

    changes = {
        "data.clean": options.photos,
        "data.patch": options.patch,
        "partners.restorer": "sr4",
        "partners.denoiser": "sr4",
        "network.config.channels": "[16,16]",
        "network.config.blocks": "[1,1,1]",
        "score.lpips": 0,
        "score.lpips_half": 0,
        "optim.steps": options.steps,
        "optim.batch": 2,
    }
    fusion = train(
        "fusion",
        "fusion-sr4",
        [f"{key}={value}" for key, value in changes.items()],
        options.out,
        watch=lambda now: print(f"step {now.step} of {now.steps}", dict(now.figures)) if now.figures else None,
    )
    restore = Restoration.from_pretrained("sr4", fusion=fusion)
    restore.save_pretrained(options.out / "bundle")
    print(f"dp-ir restore photo.jpg -o large.png --bundle {options.out / 'bundle'}")


if __name__ == "__main__":
    main()
