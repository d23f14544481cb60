"""Slow and broken uploads, with a request that is made up."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.requests import Request
from web_server import photo_bytes

from dp_ir.interfaces.web import uploads
from dp_ir.interfaces.web.uploads import RefusedError, receive


def send(tmp_path, messages, **options):
    async def said():
        wait, message = next(messages)
        await asyncio.sleep(wait)
        return message

    headers = [(b"content-type", b"image/jpeg")]
    request = Request({"type": "http", "method": "POST", "headers": headers, "path": "/"}, said)
    limits = {"raw": False, "max_bytes": 10_000, "max_pixels": 10_000, **options}
    with ThreadPoolExecutor(1) as pool:  # a browser's loop runs in this thread
        return pool.submit(lambda: asyncio.run(receive(request, tmp_path / "a.jpg", **limits))).result()


def body(*chunks, wait=0.0, more=False):
    for index, chunk in enumerate(chunks):
        yield wait, {"type": "http.request", "body": chunk, "more_body": more or index + 1 < len(chunks)}
    yield 3600.0, {"type": "http.disconnect"}


def test_a_file_in_pieces_is_whole(tmp_path):
    content = photo_bytes()
    pieces = [content[start : start + 100] for start in range(0, len(content), 100)]
    assert send(tmp_path, body(*pieces)) == len(content)
    assert (tmp_path / "a.jpg").read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("slow", ["silent", "trickling"])
def test_a_slow_upload_is_given_up(tmp_path, monkeypatch, slow):
    monkeypatch.setattr(uploads, "_SILENCE", 0.2)
    monkeypatch.setattr(uploads, "_START", 0.3)
    content = photo_bytes()
    pieces = body(content[:100], more=True) if slow == "silent" else body(*(bytes([n]) for n in content), wait=0.01)
    with pytest.raises(RefusedError, match="too slowly") as refused:
        send(tmp_path, pieces)
    assert refused.value.status == 408
    assert not list(tmp_path.iterdir())


def test_an_upload_that_is_cut_off_leaves_nothing(tmp_path):
    messages = iter([*list(body(photo_bytes()[:200], more=True))[:1], (0.0, {"type": "http.disconnect"})])
    with pytest.raises(RefusedError, match="cut off"):
        send(tmp_path, messages)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "_ROOM", 1 << 60)
    with pytest.raises(RefusedError, match="disk is nearly full") as refused:
        send(tmp_path, body(photo_bytes()))
    assert refused.value.status == 507
