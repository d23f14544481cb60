"""A server as people start it, in a process of its own, with the networks that ship; tiny photos; a client."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import numpy as np
from PIL import Image

PATIENCE = 200  # seconds that anything may take on a busy machine


def pixels(height, width, seed=0):
    """(H, W, 3) uint8: smooth colours with some noise."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 3 + seed), np.cos(y / 4 - seed), np.sin((x + y) / 5)]
    noise = np.random.default_rng(seed).normal(0, 6, (height, width, 3))
    return np.clip(128 + 90 * np.stack(waves, -1) + noise, 0, 255).astype(np.uint8)


def photo_bytes(height=16, width=24, seed=0, kind="JPEG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels(height, width, seed)).save(file, kind, **options)
    return file.getvalue()


@contextmanager
def serving(*options, end=signal.SIGINT, **environment):
    """`dp-ir serve` with these options; gives its address."""
    command = [sys.executable, "-m", "dp_ir", "serve", "--no-open", "--port", "0", *map(str, options)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    )
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line
        address = found[0]
        base = address.split("?")[0].replace("0.0.0.0", "127.0.0.1")
        until(lambda: _answers(base))
        yield address
    finally:
        process.send_signal(end)
        process.wait(PATIENCE)
        process.stdout.close()


def _answers(base):
    try:
        return httpx.get(base, timeout=PATIENCE)
    except httpx.TransportError:
        return None


def until(found, seconds=PATIENCE):
    """What a function gives as soon as it is not empty."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


class Client(httpx.Client):
    """Calls the API."""

    def upload(self, content, name="a.jpg", kind="image/jpeg", **query):
        return self.post("/api/photos", params={"name": name, **query}, content=content, headers={"content-type": kind})

    def restored(self, photo, **wish):
        """The job of a restoration, once it has ended."""
        job = self.post("/api/restore", json={"photo": photo, **wish}).json()
        return self.ended(job["id"])

    def ended(self, job):
        def settled():
            now = self.get(f"/api/jobs/{job}").json()
            return now if now["state"] in ("done", "failed", "cancelled") else None

        return until(settled)
