"""Taking files in: how large, how fast and of what kind they may be, before anything looks at their pixels."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from starlette.requests import ClientDisconnect, Request

from dp_ir.errors import DPIRError
from dp_ir.image.files.headers import FORMATS, HEAD_BYTES, check_size, describe_foreign, identify
from dp_ir.image.files.reading import image_size

TYPES = (
    *("image/jpeg", "image/png", "image/webp", "image/avif", "image/jxl", "image/tiff", "image/bmp", "image/x-ms-bmp"),
    *("image/gif", "image/x-portable-pixmap", "image/x-portable-graymap", "image/x-portable-anymap"),
)
"""Content types of photos; that of RAW frames is `RAW_TYPE`."""

RAW_TYPE = "application/octet-stream"

_SILENCE = 15.0  # seconds without a byte after which an upload is given up
_START, _SLOWEST = 30.0, 20_000.0  # seconds to begin with, and bytes per second from then on
_DRAINED = 16_000_000  # bytes
_ROOM = 2_000_000_000  # bytes that stay free on the disk


class RefusedError(DPIRError):
    """An upload is refused.

    Args:
        status: of the answer.
        sentence: why.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def receive(request: Request, target: Path, *, raw: bool, max_bytes: int, max_pixels: int) -> int:
    """Write the body of a request to a file that appears whole or not at all.

    Args:
        request: with one file as its body.
        target: where to; its folder must exist.
        raw: whether it is a RAW frame.
        max_bytes: that it may have.
        max_pixels: that its header may announce; of RAW frames this is checked when they are read.

    Returns:
        Its size in bytes.

    Raises:
        RefusedError: wrong type or content, too large, too slow, cut off; the disk is full.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    expected = (RAW_TYPE,) if raw else TYPES
    if kind not in expected:
        raise RefusedError(415, f"The content type is {kind[:80]!r}: expected {', '.join(expected)}.")
    announced = request.headers.get("content-length", "0")
    if not announced.isdigit() or int(announced) > max_bytes:
        raise _too_large(target.name, max_bytes)
    if shutil.disk_usage(target.parent).free < _ROOM + int(announced):
        raise RefusedError(507, "The disk is nearly full: remove photos from the queue, or name another folder.")
    part = target.with_name(f".{target.name}.part")
    try:
        count = await _write(request, part, max_bytes)
        _check_content(part, target.name, raw=raw, max_pixels=max_pixels)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return count


async def drain(request: Request) -> None:
    """Read on for a while what is left of a body that was refused, so that the client hears why."""
    count = 0
    with suppress(asyncio.TimeoutError):
        while count < _DRAINED:
            message = await asyncio.wait_for(request.receive(), 2)
            count += len(message.get("body", b""))
            if not message.get("more_body"):
                return


async def _write(request: Request, part: Path, max_bytes: int) -> int:
    count, begun = 0, time.monotonic()
    name = part.name.removeprefix(".").removesuffix(".part")
    with part.open("wb") as file:
        try:
            async for chunk in _in_time(request.stream()):
                count += len(chunk)
                if count > max_bytes:
                    raise _too_large(name, max_bytes)
                if time.monotonic() - begun > _START + count / _SLOWEST:
                    raise asyncio.TimeoutError
                file.write(chunk)
        except asyncio.TimeoutError:
            raise RefusedError(408, f"'{name}' came too slowly: send it again over a better connection.") from None
        except ClientDisconnect:
            raise RefusedError(400, f"'{name}' was cut off: send it again.") from None
    return count


async def _in_time(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), _SILENCE)
        except StopAsyncIteration:
            return


def _check_content(part: Path, name: str, *, raw: bool, max_pixels: int) -> None:
    with part.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise RefusedError(422, f"'{name}' is empty (0 bytes), expected an image: copy or export it again.")
    if raw:
        return
    if identify(head) is None:
        raise RefusedError(
            422,
            f"'{name}' is {describe_foreign(head)}, expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}: convert it "
            "first.",
        )
    try:
        height, width = image_size(part)
        check_size(name, width, height, max_pixels)
    except DPIRError as error:
        text = (
            str(error)
            .replace(str(part), name)
            .replace(
                "raise max_pixels (--max-pixels on the command line)", "start the server with a larger --max-pixels"
            )
        )
        raise RefusedError(422, text) from error


def _too_large(name: str, max_bytes: int) -> RefusedError:
    return RefusedError(
        413, f"'{name}' is too large: expected at most {max_bytes / 1e6:.0f} MB, the --max-upload of this server."
    )
