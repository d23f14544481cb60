"""What is done beside the server, in processes of its own: looking at photos, previews, restorations, their spread.

A process does one piece of work after the other, so that its memory is that of one, and it can be stopped at any time.
"""

from __future__ import annotations

import io
import math
import os
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dp_ir.batch.plan import Status, carry_out, plan_batch, run_batch
from dp_ir.batch.restoring import enlargement
from dp_ir.batch.worker import Worker
from dp_ir.errors import DPIRError
from dp_ir.image.files.reading import read_samples
from dp_ir.image.picture.crop import crop_burst, crop_picture
from dp_ir.image.picture.lazy_picture import LazyPicture
from dp_ir.image.picture.output_size import OutputSize, resized
from dp_ir.image.picture.photo_facts import photo_facts
from dp_ir.image.picture.picture import Picture
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.demosaicking import demosaick_bilinear
from dp_ir.interfaces.web.tiles import Bytes, part_of, write_tiles
from dp_ir.restoration.inputs import observe, read_source
from dp_ir.restoration.pipeline import Restoration, RestorationResult
from dp_ir.restoration.replacement import restoration_of
from dp_ir.restoration.tiling.tiled_networks import CANVAS_BYTES
from dp_ir.runtime.allocator import keep_freed_memory
from dp_ir.runtime.budget import budget
from dp_ir.tasks.choice import advice, suited_bundle

Progress = Callable[[float], None]
Facts = dict[str, Any]
"""What a piece of work gives: fields of a record."""

_MARGIN = 16  # pixels of the photo around a preview, which networks look at
_SAMPLES = 3
_SURE, _UNSURE = 0.02, 0.12  # deviations that are shown as nothing, and in full
_COLOUR = (255, 96, 0)


@dataclass(frozen=True)
class Settings:
    """What holds for all work of a server; `memory` in bytes."""

    device: str = "auto"
    memory: int | None = None
    max_pixels: int = 200_000_000


@dataclass(frozen=True)
class Look:
    """Say what a photo is, and write tiles to show it by."""

    source: Path
    folder: Path
    burst: bool

    def __call__(self, settings: Settings, progress: Progress) -> Facts:
        """Give width, height, task, advice and levels."""
        source = _read(self.source, self.burst, settings.max_pixels)
        picture = _shown(source)
        height, width = picture.size
        levels = write_tiles(self.folder, picture.size, part_of(_bytes(picture)))
        facts: Facts = {"width": width, "height": height, "levels": levels}
        if not self.burst:
            said = advice(photo_facts(picture)).replace("--task ", "")
            facts |= {"task": suited_bundle(width, height), "advice": said}
        return facts


@dataclass(frozen=True)
class Preview:
    """Restore the part of a photo around a place (x, y), shares of its sides; width and height of the result."""

    source: Path
    burst: bool
    bundle: str
    detail: float | None
    seed: int
    x: float
    y: float
    width: int
    height: int
    full: bool

    def __call__(self, settings: Settings, progress: Progress) -> Facts:
        """Give an image: the part before, at detail 0, at `detail`, and at 1 if asked for, one below the other."""
        source = _read(self.source, self.burst, settings.max_pixels)
        restoration = _load(self.bundle, settings.device)
        scale = enlargement(restoration) or 1
        size = _size(source)
        sides = (min(math.ceil(self.height / scale), size[0]), min(math.ceil(self.width / scale), size[1]))
        place = [
            min(max(round(centre * whole - side / 2), 0), whole - side) // 2 * 2
            for centre, whole, side in zip((self.y, self.x), size, sides, strict=True)
        ]
        first = [max(start - _MARGIN, 0) for start in place]
        last = [min(start + side + _MARGIN, whole) for start, side, whole in zip(place, sides, size, strict=True)]
        box = (first[1], first[0], last[1] - first[1], last[0] - first[0])
        piece = crop_burst(source, box) if isinstance(source, Burst) else crop_picture(source, box)
        result = restoration(piece, seed=self.seed, detail=self.detail, memory=settings.memory)
        pictures = [resized(_shown(piece), result.image.size), result.restored, result.image]
        if self.full:
            pictures.append(restoration(piece, seed=self.seed, detail=1.0, memory=settings.memory).image)
        top, left = (round(scale * (start - begun)) for start, begun in zip(place, first, strict=True))
        height, width = (round(scale * side) for side in sides)
        strip = np.concatenate([_bytes(picture)[top : top + height, left : left + width] for picture in pictures])
        file = io.BytesIO()
        Image.fromarray(strip).save(file, "PNG", compress_level=1)
        return {
            "image": file.getvalue(),
            "facts": {
                **{"x": round(scale * place[1]), "y": round(scale * place[0]), "width": width, "height": height},
                **{"wholeWidth": round(scale * size[1]), "wholeHeight": round(scale * size[0])},
                "detail": restoration.settings.detail if self.detail is None else self.detail,
            },
        }


@dataclass(frozen=True)
class Restore:
    """Restore a photo as `dp-ir restore` does, and write tiles of the result."""

    source: Path
    target: Path
    folder: Path
    burst: bool
    bundle: str
    detail: float
    seed: int
    scale: float | None

    def __call__(self, settings: Settings, progress: Progress) -> Facts:
        """Give width, height, bytes, layers, levels and notes; raises DPIRError with the reason of a failure."""
        shown: Facts = {}

        def show(result: RestorationResult, size: tuple[int, int]) -> None:
            for layer, picture in (("restored", result.restored), ("image", result.image)):
                pixels = _bytes(resized(picture, size))
                shown["levels"] = write_tiles(self.folder / layer, size, part_of(pixels))
            shown.update(layers=["restored", "image"], width=size[1], height=size[0])

        _forget()
        options = {"seed": self.seed, "detail": self.detail, "size": OutputSize(self.scale), "show": show}
        limits = {"memory": settings.memory, "max_pixels": settings.max_pixels}
        worker = Worker(partial(_load, device=settings.device), self.bundle, {**options, **limits})
        plan = plan_batch([self.source], self.target, overwrite=True, bursts=self.burst)
        (outcome,) = carry_out(plan, partial(run_batch, process=partial(worker, progress=progress)))
        if outcome.status is Status.FAILED:
            raise DPIRError(outcome.reason.replace(f"{self.source.parent}{os.sep}", ""))
        if not shown:  # from disk to disk
            parts = LazyPicture(read_samples(self.target, max_pixels=16 * settings.max_pixels))
            levels = write_tiles(self.folder / "image", parts.size, lambda *box: _bytes(parts.part(*box)))
            shown.update(layers=["image"], levels=levels, width=parts.size[1], height=parts.size[0])
        notes = [note.replace(f"{self.source.parent}{os.sep}", "") for note in outcome.notes]
        return {**shown, "bytes": self.target.stat().st_size, "notes": notes}


@dataclass(frozen=True)
class Spread:
    """Draw full samples of a photo, and write tiles of the first, and of how much they differ."""

    source: Path
    folder: Path
    burst: bool
    bundle: str
    seed: int
    size: tuple[int, int]

    def __call__(self, settings: Settings, progress: Progress) -> Facts:
        """Give nothing; raises DPIRError where memory does not suffice."""
        _forget()
        restoration = _load(self.bundle, settings.device)
        source = read_source(self.source, burst=self.burst, max_pixels=settings.max_pixels)
        height, width = _size(source)
        pixels = (enlargement(restoration) or 1) ** 2 * height * width
        if CANVAS_BYTES * pixels * (1 + _SAMPLES // 2) > budget(torch.device("cpu"), settings.memory):
            raise DPIRError(
                f"The result has {pixels / 1e6:.0f} megapixels, for which several samples do not fit into memory: "
                "look at a part of the photo, or close other programs."
            )
        result = restoration(
            source,
            num_samples=_SAMPLES,
            seed=self.seed,
            detail=1.0,
            memory=settings.memory,
            progress=progress,
        )
        write_tiles(self.folder / "full", self.size, part_of(_bytes(resized(result.image, self.size))))
        write_tiles(self.folder / "unsure", self.size, part_of(overlay(result.std, self.size)))
        return {}


Work = Look | Preview | Restore | Spread


def overlay(deviation: Any, size: tuple[int, int]) -> Bytes:
    """The standard deviation (H, W, 3) of samples as a colour whose opacity grows with it, of (H, W) = `size`."""
    values = torch.from_numpy(np.asarray(deviation, np.float32)).mean(-1)[None, None]
    smooth = torch.nn.functional.avg_pool2d(values, 17, 1, 8, count_include_pad=False)
    smooth = torch.nn.functional.interpolate(smooth, size, mode="bilinear", antialias=True)[0, 0]
    opacity = ((smooth - _SURE) / (_UNSURE - _SURE)).clamp(0, 1) * 191
    image = np.empty((*size, 4), np.uint8)
    image[..., :3], image[..., 3] = _COLOUR, opacity.numpy().astype(np.uint8)
    return image


def serve_work(connection: Connection, settings: Settings, priority: int, warm: tuple[str, ...]) -> None:
    """Do what comes through a connection, until it ends.

    What goes back is ("progress", share), then ("done", facts) or ("failed", a sentence).

    Args:
        connection: gives `Work`.
        settings: of all of it.
        priority: by how much this process stands behind others, 0 to 19.
        warm: bundles to load before anything comes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when to end
    with suppress(OSError, AttributeError):
        os.nice(priority)
    keep_freed_memory()
    warnings.showwarning = lambda *_, **__: None  # the page shows the notes of each job
    for bundle in warm:
        _load(bundle, settings.device)(np.zeros((64, 64, 3), np.uint8))
    with suppress(EOFError, OSError):
        while True:
            _answer(connection, connection.recv(), settings)


def _answer(connection: Connection, work: Work, settings: Settings) -> None:
    told = 0.0

    def progress(share: float) -> None:
        nonlocal told
        if time.monotonic() - told > 0.1:
            told = time.monotonic()
            connection.send(("progress", share))

    try:
        connection.send(("done", work(settings, progress)))
    except (BrokenPipeError, EOFError):
        raise
    except DPIRError as error:
        connection.send(("failed", " ".join(str(error).replace(f"{work.source.parent}{os.sep}", "").split())))
    except MemoryError:
        connection.send(("failed", f"There is not enough memory for {work.source.name}: close other programs."))
    except Exception as error:
        reason = f"{work.source.name} could not be read ({type(error).__name__}: {error}): please report it."
        connection.send(("failed", reason))


@lru_cache(maxsize=3)
def _load(bundle: str, device: str) -> Restoration:
    return restoration_of(bundle, {}, [], device=device, precision="auto", settings={})


@lru_cache(maxsize=1)
def _read(path: Path, burst: bool, max_pixels: int) -> Picture | Burst:
    return read_source(path, burst=burst, max_pixels=max_pixels)


def _forget() -> None:
    _read.cache_clear()


def _size(source: Picture | Burst) -> tuple[int, int]:
    if isinstance(source, Picture):
        return source.size
    height, width = (2 * side for side in source.frames.shape[-2:])
    return (width, height) if source.turns % 2 else (height, width)


def _shown(source: Picture | Burst) -> Picture:
    """A photo as it is, of a burst its first frame."""
    if isinstance(source, Picture):
        return source
    first = replace(source, frames=source.frames[:1])
    seen = observe(first, burst=True)
    picture: Picture = seen.picture(seen.encode(demosaick_bilinear(seen.tensor[:, 0])))
    return picture


def _bytes(picture: Picture) -> Bytes:
    """(H, W, 3), transparent parts over grey."""
    pixels = picture.pixels
    if picture.alpha is not None:
        opacity = picture.alpha[..., None]
        pixels = pixels * opacity + np.float32(0.5) * (1 - opacity)
    return np.rint(pixels * 255).astype(np.uint8)
