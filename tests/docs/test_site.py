"""The site of docs/ and results/: it builds without a warning, and without anything of another host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class Loaded(HTMLParser):
    """Addresses of what a browser loads with a page: scripts, styles, fonts, images, frames."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in {"script", "img", "iframe", "source", "video"} and given.get("src"):
            self.addresses.append(given["src"])
        if tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}:
            self.addresses.append(given["href"])


@pytest.fixture(scope="module")
def site():
    made = subprocess.run([sys.executable, "tools/make_site.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return ROOT / "build" / "site"


def pages_of(nav):
    """Every file that the navigation names."""
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(entry)]


def test_every_page_is_in_the_navigation_and_built(site):
    named = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    there = {path.relative_to(ROOT / "build" / "pages").as_posix() for path in (ROOT / "build" / "pages").rglob("*.md")}
    assert set(named) == there
    assert len(named) == len(there) > 30
    for page in named:
        built = site / page.replace("README.md", "index.md").replace(".md", ".html")
        assert "<h1" in built.read_text("utf-8"), page


def test_browsers_load_what_is_on_the_site_and_nothing_else(site):
    for page in site.rglob("*.html"):
        parser = Loaded()
        parser.feed(page.read_text("utf-8"))
        assert parser.addresses
        for address in parser.addresses:
            file = address.split("?")[0]
            assert (site / file[1:] if file.startswith("/") else page.parent / file).is_file(), (page, address)
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text("utf-8")), style


def test_the_api_page_has_signatures_and_arguments(site):
    text = (site / "api.html").read_text("utf-8")
    for name in ("Restoration", "from_pretrained", "load_restorer", "NoiseSchedule", "noise_control"):
        assert name in text
    assert text.count("Parameters:") + text.count("Raises:") > 20
