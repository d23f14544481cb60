"""Restoring one file of a batch: read, restored, and every result of it written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import torch

from dp_ir.diffusion.samplers import Callback
from dp_ir.image import Picture, from_array, write_image
from dp_ir.image.burst import Burst
from dp_ir.image.crop import Box
from dp_ir.image.headers import MAX_PIXELS
from dp_ir.image.parts import PictureParts
from dp_ir.image.reading import read_samples
from dp_ir.restoration.batch import LocalJob
from dp_ir.restoration.budget import budget
from dp_ir.restoration.duration import LONG, LongJobNote, duration, expected_seconds
from dp_ir.restoration.inputs import observe_file, read_source
from dp_ir.restoration.passes import CANVAS_BYTES, Progress
from dp_ir.restoration.pipeline import Restoration, RestorationResult
from dp_ir.restoration.streaming import as_linear, can_stream, restore_streamed
from dp_ir.restoration.tiler import TilingNote


def restore_file(
    restoration: Restoration,
    job: LocalJob,
    *,
    crop: Box | None = None,
    linear: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory: int | None = None,
    callback: Callback | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> None:
    """Restore `job.source` and write `job.targets`, from disk to disk where the images do not fit into memory.

    Args:
        restoration: what restores.
        job: from `plan_batch`; `job.samples` results are drawn.
        crop: restore only this part.
        linear: see `pictures_of`.
        max_pixels: limit on the size of what is read, see `read_source`.
        memory: bytes that the process may hold; half of what is free by default.
        callback: called after every step, where the images fit into memory.
        progress: called with the share that is done, 0 to 1, after every tile.
        settings: further keyword arguments of `Restoration.__call__`, such as `seed`.

    Raises:
        ImageReadError, ImageWriteError: the source cannot be read, or a result cannot be written.
        DPIRError: whatever `Restoration.__call__` raises.

    Warns:
        LongJobNote: the result is large, and how long it will take.
        TilingNote: the images do not fit into memory.
    """
    scale = restoration.infos["restorer"].scale or 1
    source: Picture | PictureParts | Burst
    if restoration.takes_bursts or crop is not None or scale > 1:
        source = read_source(job.source, burst=restoration.takes_bursts, crop=crop, max_pixels=max_pixels)
    else:  # as large as its result
        source = PictureParts(read_samples(job.source, max_pixels=max_pixels))
    pixels = _result_pixels(source, scale)
    if pixels > LONG and not restoration.takes_bursts:
        seconds = expected_seconds(restoration, pixels, num_samples=job.samples, memory=memory, **settings)
        warnings.warn(
            f"{job.source.name} gives {pixels / 1e6:.0f} megapixels, which will take about {duration(seconds)}.",
            LongJobNote,
            stacklevel=2,
        )
    needed = CANVAS_BYTES * pixels * (1 if job.samples == 1 else 1 + job.samples // 2)
    if needed > budget(torch.device("cpu"), memory) and can_stream(restoration, **_of_chain(settings)):
        warnings.warn(
            f"{job.source.name} gives {pixels / 1e6:.0f} megapixels, more than fit into memory: it is restored from "
            "disk to disk.",
            TilingNote,
            stacklevel=2,
        )
        restore_streamed(
            restoration, observe_file(source), job.targets, linear=linear, memory=memory, progress=progress, **settings
        )
        return
    whole = source.part(0, 0, *source.size) if isinstance(source, PictureParts) else source
    del source
    result = restoration(
        whole, num_samples=job.samples, memory=memory, callback=callback, progress=progress, **settings
    )
    for target, picture in zip(job.targets, pictures_of(result, linear=linear), strict=True):
        write_image(target, picture)


def pictures_of(result: RestorationResult, *, linear: bool = False) -> tuple[Picture, ...]:
    """What is written of the restoration of a file, in the order of `Job.targets`.

    Args:
        result: of a file or a burst.
        linear: undo the tone curve of a burst's camera: linear sRGB, of which mean and deviation are then taken.
    """
    if result.samples is None or result.mean is None or result.std is None:
        return (as_linear(result.image) if linear else result.image,)
    if not linear:
        return (*result.samples, result.mean, from_array(result.std))
    samples = [as_linear(sample) for sample in result.samples]
    values = np.stack([sample.pixels for sample in samples])
    return (*samples, replace(samples[0], pixels=values.mean(0)), from_array(values.std(0, ddof=1)))


def _result_pixels(source: Picture | PictureParts | Burst, scale: int) -> int:
    height, width = source.frames.shape[-2:] if isinstance(source, Burst) else source.size
    return height * width * scale**2


def _of_chain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a restoration that are arguments of `Restoration.chain`."""
    names = signature(Restoration.chain).parameters
    return {name: value for name, value in settings.items() if name in names}
