"""Build the site of docs/ and results/ in build/site, without a network; warnings, such as links to nowhere, end it.

    python tools/make_site.py    # or `make docs`; needs the extra docs

In the repository docs/ and results/ lie side by side, and links between them lead up and over; on the site results/
lies below the pages of docs/, so such links are turned on the way.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "build" / "pages"


def collect(pages: Path) -> None:
    """Copy docs/ and results/ to `pages`, as the site has them."""
    shutil.rmtree(pages, ignore_errors=True)
    shutil.copytree(ROOT / "docs", pages)
    shutil.copytree(ROOT / "results", pages / "results", ignore=shutil.ignore_patterns("*.json"))
    for page in pages.rglob("*.md"):
        page.write_text(turned(page.read_text("utf-8")), "utf-8")


def turned(text: str) -> str:
    """A page with its links between docs/ and results/ as they are on the site."""
    text = re.sub(r"\]\(((?:\.\./)*)\.\./results/", r"](\1results/", text)
    return re.sub(r"\]\(((?:\.\./)*)\.\./docs/", r"](\1../", text)


def main() -> int:
    collect(PAGES)
    build = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "--config-file", "mkdocs.yml"]
    return subprocess.run(build, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
