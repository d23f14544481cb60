"""The page in a real browser, as large as a screen and as small as a phone."""

import base64
import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from web_server import PATIENCE, photo_bytes

import dp_ir.interfaces.web
from dp_ir.image.files.writing import IMAGE_SUFFIXES
from dp_ir.image.raw.raw_files import RAW_SUFFIXES
from dp_ir.interfaces.web.shelf import checked_name
from dp_ir.interfaces.web.uploads import TYPES

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
expect.set_options(timeout=1000 * PATIENCE)

PAGE = Path(dp_ir.interfaces.web.__file__).parent / "page"
SIZES = {
    "screen": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}
HEIGHT, WIDTH = 40, 56  # of the photo; its result is four times larger and fits into a phone's view

DROP = """([content, name, type]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    window.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""
CANVAS = """() => {
  const canvas = document.getElementById("canvas");
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.slice(at, at + 8192));
  return [canvas.width, canvas.height, btoa(text)];
}"""


@pytest.fixture(params=SIZES)
def open_page(request, browser, client, address):
    """Opens the page; nothing may go wrong in it, and nothing may come from elsewhere."""
    wrong, requests = [], []
    context = browser.new_context(**SIZES[request.param])
    context.set_default_timeout(1000 * PATIENCE)

    def opened():
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: requests.append(f"{asked.method} {asked.url}"))
        page.goto(address)
        page.wait_for_selector("#welcome:not([hidden]), #stage:not([hidden])")
        return page

    opened.requests = requests
    yield opened
    context.close()
    assert not [text for text in wrong if "status of 4" not in text]  # a refusal is an answer
    assert not [asked for asked in requests if not re.match(rf"\w+ (blob:)?{re.escape(address)}", asked)]


@pytest.fixture
def page(open_page):
    return open_page()


def drop(page, content=None, name="a.jpg", kind="image/jpeg"):
    content = photo_bytes(HEIGHT, WIDTH) if content is None else content
    page.evaluate(DROP, [base64.b64encode(content).decode(), name, kind])


def done(page):
    page.wait_for_selector("#download:not([hidden])")


def canvas(page, ready=lambda image: True):
    """What the canvas shows (H, W, 3), once it is as it should be."""
    end = time.monotonic() + PATIENCE / 5
    while time.monotonic() < end:
        width, height, data = page.evaluate(CANVAS)
        image = np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3].astype(float)
        if ready(image):
            break
        page.wait_for_timeout(25)
    return image


def middle(image):
    """The part of the canvas that shows the result, which is smaller than the view, in its middle."""
    top, left = (image.shape[0] - 4 * HEIGHT) // 2, (image.shape[1] - 4 * WIDTH) // 2
    return image[top : top + 4 * HEIGHT, left : left + 4 * WIDTH]


def layer(client, name):
    job = client.get("/api/jobs").json()["jobs"][-1]["id"]
    content = client.get(f"/api/jobs/{job}/layers/{name}/0/0/0").content
    return np.asarray(Image.open(io.BytesIO(content))).astype(float)


def distance(image, other):
    return np.abs(middle(image) - other).mean()


def test_a_dropped_photo_comes_back_larger_and_the_border_parts_before_from_after(page, client):
    drop(page)
    done(page)
    page.click("#zoom-one")
    after = layer(client, "image")
    border = page.locator("#divider")
    border.focus()
    page.keyboard.press("Home")
    expect(border).to_have_attribute("aria-valuenow", "0")
    assert distance(canvas(page, lambda image: distance(image, after) < 3), after) < 3
    page.keyboard.press("End")
    before = canvas(page, lambda image: distance(image, after) > 5)
    enlarged = Image.open(io.BytesIO(photo_bytes(HEIGHT, WIDTH))).resize((4 * WIDTH, 4 * HEIGHT), Image.BICUBIC)
    assert distance(before, np.asarray(enlarged).astype(float)) < 5
    page.keyboard.press("Home")
    box = page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30, steps=3)
    page.mouse.up()
    expect(border).to_have_attribute("aria-valuenow", re.compile("49|50|51"))
    split = middle(canvas(page, lambda image: np.abs((middle(image) - after)[:, 2 * WIDTH + 3 :]).mean() < 3))
    assert np.abs(split[:, 2 * WIDTH + 3 :] - after[:, 2 * WIDTH + 3 :]).mean() < 3
    assert np.abs(split[:, : 2 * WIDTH - 3] - middle(before)[:, : 2 * WIDTH - 3]).mean() < 3
    with page.expect_download() as download:
        page.click("#download")
    job = client.get("/api/jobs").json()["jobs"][-1]
    assert download.value.suggested_filename == "a-restored.jpg"
    assert Path(download.value.path()).read_bytes() == client.get(f"/api/jobs/{job['id']}/result").content


def test_the_dial_moves_along_the_line_at_once_without_asking_the_server(page, client, open_page):
    drop(page)
    done(page)
    page.click("#zoom-one")
    page.focus("#divider")
    page.keyboard.press("Home")
    low, high = layer(client, "restored"), layer(client, "image")
    canvas(page, lambda image: distance(image, high) < 3)
    open_page.requests.clear()
    apart = np.abs(low - high).mean()
    assert apart > 2
    dial = page.locator("#detail")
    for detail in ("0", "0.1", "0.2"):
        dial.fill(detail)
        expected = low + (high - low) * float(detail) / 0.25
        assert (
            distance(canvas(page, lambda image, line=expected: distance(image, line) < apart / 3), expected) < apart / 3
        )
        expect(page.locator("#detail-value")).to_have_text(f"{float(detail):.2f}")
    assert not [asked for asked in open_page.requests if "POST" in asked]
    expect(page.locator("#download")).to_be_hidden()
    page.click("#remake")
    done(page)
    jobs = client.get("/api/jobs").json()["jobs"]
    assert [job["detail"] for job in jobs] == [0.25, 0.2]
    expect(page.locator("#versions button")).to_have_count(2)


def test_where_it_is_unsure_is_shown_with_a_legend_and_another_sample_is_one_key(page, client):
    drop(page)
    done(page)
    page.click("#zoom-one")
    page.locator("#canvas").focus()
    page.keyboard.press("u")
    expect(page.locator("#legend")).to_be_visible()
    page.focus("#divider")
    page.keyboard.press("Home")
    image, spread = layer(client, "image"), layer(client, "unsure")
    share = spread[..., 3:] / 255
    expected = image * (1 - share) + spread[..., :3] * share
    assert share.max() > 0.2
    assert distance(canvas(page, lambda shown: distance(shown, expected) < 4), expected) < 4
    page.keyboard.press("u")
    expect(page.locator("#legend")).to_be_hidden()
    page.keyboard.press("n")
    expect(page.locator("#versions button")).to_have_count(2)
    assert [job["seed"] for job in client.get("/api/jobs").json()["jobs"]] == [0, 1]
    other = layer(client, "image")
    apart = np.abs(other - image).mean()
    assert apart > 1
    assert distance(canvas(page, lambda shown: distance(shown, other) < apart / 3), other) < apart / 3


def test_a_queue_can_be_cancelled_and_is_the_same_in_two_tabs_and_after_a_reload(open_page, client):
    page, other = open_page(), open_page()
    drop(page, photo_bytes(420, 420), "slow.jpg")
    expect(page.locator("#queue li")).to_have_count(1)
    for name in ("b.jpg", "c.jpg"):
        drop(page, photo_bytes(HEIGHT, WIDTH, len(name)), name)
    for tab in (page, other):
        expect(tab.locator("#queue .name")).to_have_text(["slow.jpg", "b.jpg", "c.jpg"])
    other.reload()
    expect(other.locator("#queue .name")).to_have_text(["slow.jpg", "b.jpg", "c.jpg"])
    expect(other.locator("#queue li").nth(2)).to_contain_text("Waiting, 2 before it")
    other.get_by_role("button", name="Cancel slow.jpg").click()
    for tab in (page, other):
        expect(tab.locator("#queue li").nth(0)).to_contain_text("Cancelled")
        expect(tab.locator("#photos-title")).to_have_text("Photos: 2 of 3 done")
        expect(tab.get_by_role("link", name="Download")).not_to_have_count(0)
    page.get_by_role("button", name="Remove slow.jpg").click()
    expect(other.locator("#queue li")).to_have_count(2)
    assert [job["state"] for job in client.get("/api/jobs").json()["jobs"]] == ["done", "done"]


def test_what_cannot_be_restored_is_said_where_it_happens_and_the_rest_goes_on(page):
    drop(page, b"%PDF-1.7" + bytes(60), "letter.jpg")
    errors = page.locator("#errors p")
    expect(errors).to_have_count(1)
    expect(errors).to_contain_text("letter.jpg' is a PDF document")
    drop(page, bytes(2_500_000), "huge.png", "image/png")
    expect(errors.nth(1)).to_contain_text("huge.png has 3 MB, expected at most 2")
    drop(page, photo_bytes(64, 64)[:-400], "broken.jpg")
    expect(page.locator("#queue li.bad")).to_contain_text("broken.jpg")
    drop(page, photo_bytes(HEIGHT, WIDTH), "good.jpg")
    expect(page.locator("#photos-title")).to_have_text("Photos: 1 of 2 done")
    page.get_by_role("button", name="Dismiss").first.click()
    expect(errors).to_have_count(1)


def test_before_is_seen_while_a_key_is_held_and_zoom_follows_the_keys(page, client):
    drop(page)
    done(page)
    page.locator("#canvas").focus()
    page.keyboard.press("1")
    expect(page.locator("#zoom")).to_have_text("100 %")
    after = layer(client, "image")
    page.focus("#divider")
    page.keyboard.press("Home")
    canvas(page, lambda image: distance(image, after) < 3)
    page.keyboard.down("b")
    assert distance(canvas(page, lambda image: distance(image, after) > 5), after) > 5
    page.keyboard.up("b")
    assert distance(canvas(page, lambda image: distance(image, after) < 3), after) < 3
    for _ in range(6):
        page.keyboard.press("+")
    zoomed = canvas(page)
    page.locator("#canvas").focus()
    page.keyboard.press("ArrowRight")
    assert np.abs(canvas(page, lambda image: np.abs(image - zoomed).mean() > 1) - zoomed).mean() > 1
    page.keyboard.press("0")
    expect(page.locator("#zoom")).to_have_text("100 %")


def test_the_command_is_copied_or_shown(page):
    drop(page)
    done(page)
    page.click("#copy")
    expect(page.locator("#shown")).to_contain_text("dp-ir restore a.jpg -o a-restored.jpg --task photo")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_suits_readers_of_every_kind(page, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)
    assert axe.run(page).violations_count == 0, axe.run(page).generate_report()
    drop(page)
    done(page)
    page.click("#unsure")
    expect(page.locator("#legend")).to_be_visible()
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0


def test_the_interface_for_programs_is_described_on_a_page(page, address):
    page.goto(f"{address}api")
    expect(page.locator("h2", has_text="POST /api/restore")).to_be_visible()
    expect(page.locator("section", has_text="POST /api/restore")).to_contain_text("detail")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    assert axe.run(page).violations_count == 0, axe.run(page).generate_report()


def test_the_page_is_small_and_its_own():
    files = [path for path in PAGE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 150_000
    for path in files:
        named = re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text("utf-8"))
        foreign = [url for url in named if "w3.org" not in url]
        assert not foreign, path


def test_the_page_knows_the_same_files_as_the_server():
    accepted = re.search(r'accept="([^"]*)"', (PAGE / "index.html").read_text("utf-8"))[1].split(",")
    assert set(accepted) == {*IMAGE_SUFFIXES, *RAW_SUFFIXES, ".gif", ".ppm", ".pgm", ".pnm"}
    for suffix in accepted:
        checked_name(f"a{suffix}")
    script = (PAGE / "server.js").read_text("utf-8")
    assert set(re.search(r"\\\.\(([\w|]+)\)\$", script)[1].split("|")) == {suffix[1:] for suffix in RAW_SUFFIXES}
    types = dict(re.findall(r'(\w+): "(image/[\w-]+)"', script))
    assert {f".{suffix}" for suffix in types} == set(accepted) - set(RAW_SUFFIXES)
    assert set(types.values()) <= set(TYPES)


def test_files_of_the_page_can_be_had(client):
    for path in PAGE.iterdir():
        response = client.get(f"/page/{path.name}")
        assert response.status_code == 200
        assert response.content == path.read_bytes()
