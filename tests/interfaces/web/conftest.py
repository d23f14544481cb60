"""One server for all tests that need no own, and a browser."""

import shutil

import pytest
from web_server import PATIENCE, Client, serving


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    with serving("--keep", tmp_path_factory.mktemp("kept"), "--max-upload", "2", "--max-pixels", "3") as found:
        yield found


@pytest.fixture
def client(address):
    with Client(base_url=address, timeout=PATIENCE) as found:
        yield found
        for photo in found.get("/api/jobs").json()["photos"]:
            found.delete(f"/api/photos/{photo['id']}")


@pytest.fixture(scope="session")
def browser():
    """Chromium from the system; without one these tests are left out, which is said."""
    playwright = pytest.importorskip("playwright.sync_api")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine: install the package chromium to try the page")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=found, args=flags, timeout=1000 * PATIENCE)
        yield chromium
        chromium.close()
