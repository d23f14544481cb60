"""Measure the page in the browser, and take its pictures, in Chromium on this machine.

    python benchmarks/page_bars.py docs/demo/input.jpg --pictures docs/web --result-megapixels 24

Starts `dp-ir serve`, opens the page, gives it the photo for the pictures, a JPEG of 12 megapixels for the preview, and
one whose result has as many megapixels as asked for, over which the border is moved back and forth. Prints one line of
JSON per figure: the name, what was measured, and the bar.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

import dp_ir.interfaces.web

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PATIENCE = 600_000  # milliseconds
FRAMES = """() => new Promise((resolve) => {
  const divider = document.getElementById("divider");
  const canvas = document.getElementById("canvas").getBoundingClientRect();
  const times = [];
  const step = (now) => {
    times.push(now);
    const x = canvas.left + canvas.width * (0.5 + 0.45 * Math.sin(times.length / 10));
    divider.dispatchEvent(new PointerEvent("pointermove", { pointerId: 1, clientX: x }));
    if (times.length < 241) requestAnimationFrame(step);
    else resolve(240000 / (times.at(-1) - times[0]));
  };
  divider.hasPointerCapture = () => true;
  requestAnimationFrame(step);
})"""


def say(name: str, measured: float, bar: str) -> None:
    print(json.dumps({"what": name, "measured": round(measured, 3), "bar": bar}), flush=True)


@contextmanager
def served() -> Iterator[str]:
    """The address of a server without photos, whose networks are loaded."""
    command = [sys.executable, "-u", "-m", "dp_ir", "serve", "--no-open", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            found = re.search(r"http://\S+", server.stdout.readline() if server.stdout else "")
            assert found
            time.sleep(20)
            yield found[0]
        finally:
            server.terminate()


def opened(browser: Browser, address: str, size: tuple[int, int], scheme: str) -> Page:
    phone = size[0] < 600
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        is_mobile=phone,
        has_touch=phone,
        device_scale_factor=1,
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("#welcome:not([hidden]), #stage:not([hidden])")
    return page


def wait_until_done(page: Page) -> None:
    page.wait_for_selector("#download:not([hidden])")
    page.wait_for_timeout(2000)  # the tiles


def keep(page: Page, path: Path, **options: bool) -> None:
    Image.open(io.BytesIO(page.screenshot(**options))).convert("RGB").save(path, quality=88)


def take_pictures(browser: Browser, address: str, photo: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = opened(browser, address, SIZES["desktop"], "light")
    keep(page, folder / "welcome.webp")
    page.set_input_files("#files", photo)
    wait_until_done(page)
    page.click("#unsure")
    page.wait_for_selector("#legend:not([hidden])")
    page.wait_for_timeout(1000)
    keep(page, folder / "unsure.webp")
    for name, size in SIZES.items():
        for scheme in ("light", "dark"):
            page = opened(browser, address, size, scheme)
            wait_until_done(page)
            keep(page, folder / f"{name}-{scheme}.webp", full_page=True)


def measure(browser: Browser, address: str, folder: Path, megapixels: float) -> None:
    files = Path(dp_ir.interfaces.web.__file__).parent / "page"
    say("page, kB", sum(path.stat().st_size for path in files.iterdir()) / 1000, "< 150")
    page = opened(browser, address, SIZES["desktop"], "light")
    page.reload()
    page.wait_for_selector("#welcome:not([hidden]), #stage:not([hidden])")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    say("first paint, s", paint / 1000, "< 0.3")
    with Image.open("docs/demo/original.png") as original:
        source = original.convert("RGB")
    large = folder / "large.jpg"
    source.resize((4000, 3000), Image.Resampling.BICUBIC).save(large, quality=90)
    begun = time.perf_counter()
    with page.expect_response(lambda answer: answer.url.endswith("/api/preview")) as preview:
        page.set_input_files("#files", large)
    preview.value.finished()
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    say("preview of a JPEG of 12 megapixels, s", time.perf_counter() - begun, "< 2")
    page.click("#cancel")
    small = folder / "small.jpg"
    side = round((megapixels * 1e6 / 1.5) ** 0.5 / 4)
    source.resize((round(1.5 * side), side), Image.Resampling.BICUBIC).save(small, quality=90)
    page.set_input_files("#files", small)
    page.locator("#queue .open", has_text="small.jpg").click()
    begun = time.perf_counter()
    wait_until_done(page)
    say(f"restoration of {megapixels:g} megapixels, s", time.perf_counter() - begun, "")
    page.click("#zoom-one")
    page.wait_for_timeout(2000)
    say(f"frames per second, border over {megapixels:g} megapixels", page.evaluate(FRAMES), ">= 60")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--result-megapixels", type=float)
    options = parser.parse_args()
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        print("There is no Chromium on this machine: install the package chromium.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=PATIENCE)
        if options.result_megapixels is not None:
            with served() as address:
                measure(browser, address, Path(folder), options.result_megapixels)
        if options.pictures is not None:
            with served() as address:
                take_pictures(browser, address, options.photo, options.pictures)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
