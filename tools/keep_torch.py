"""Let a new virtual environment use the CPU build of PyTorch that this Python has, instead of gigabytes of CUDA.

    python tools/keep_torch.py .venv    # as `make setup` does when it makes .venv

Where this Python has PyTorch 2.6 or newer without CUDA and ROCm, `.venv` sees the packages beside it, and
`.venv/torch.txt` states its version for pip. Otherwise nothing happens.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OLDEST = (2, 6)


def found() -> tuple[str, Path] | None:
    """Version of the PyTorch that can be kept, and the folder that it is installed in."""
    try:
        import torch
    except Exception:  # none, or a broken one
        return None
    version = str(torch.__version__)
    if torch.version.cuda or torch.version.hip or tuple(map(int, version.split(".")[:2])) < OLDEST:
        return None
    return version, Path(torch.__file__).resolve().parents[1]


def main() -> None:
    venv, kept = Path(sys.argv[1]), found()
    if kept is None:
        return
    version, folder = kept
    script = "import sysconfig; print(sysconfig.get_path('purelib'))"
    python = next(path for path in (venv / "bin" / "python", venv / "Scripts" / "python.exe") if path.exists())
    site = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    (Path(site) / "torch-of-another-environment.pth").write_text(f"{folder}\n", "utf-8")
    (venv / "torch.txt").write_text(f"torch=={version}\n", "utf-8")
    print(f"Keeping PyTorch {version}, a CPU build, of {folder}")


if __name__ == "__main__":
    main()
