"""Restoring one file of a batch: read, restored, and every result of it written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
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
from dp_ir.image.reading import image_size, read_samples
from dp_ir.image.writing import check_target
from dp_ir.restoration.batch import LocalJob
from dp_ir.restoration.budget import budget
from dp_ir.restoration.duration import LONG, LongJobNote, duration, expected_seconds
from dp_ir.restoration.inputs import observe_file, read_source
from dp_ir.restoration.passes import CANVAS_BYTES, Progress
from dp_ir.restoration.pipeline import Restoration, RestorationResult
from dp_ir.restoration.streaming import can_stream, light_of, linear_picture, restore_streamed
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
        ImageReadError, ImageWriteError: the source cannot be read, or a result cannot be written; a format that cannot
            hold a result of that size is refused by the header of the source, before anything is restored.
        DPIRError: whatever `Restoration.__call__` raises.

    Warns:
        LongJobNote: the result is large, and how long it will take.
        TilingNote: the images do not fit into memory.
    """
    scale = restoration.infos["restorer"].scale or 1
    if not restoration.takes_bursts:  # before pixels are decoded
        _check_targets(job, image_size(job.source) if crop is None else (crop[3], crop[2]), scale)
    source: Picture | PictureParts | Burst
    if restoration.takes_bursts or crop is not None or scale > 1:
        source = read_source(job.source, burst=restoration.takes_bursts, crop=crop, max_pixels=max_pixels)
    else:  # as large as its result
        source = PictureParts(read_samples(job.source, max_pixels=max_pixels))
    size = source.frames.shape[-2:] if isinstance(source, Burst) else source.size
    _check_targets(job, size, scale)
    pixels = size[0] * size[1] * scale**2
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
        linear: undo the tone curve of a burst's camera: files hold linear sRGB, with a profile that says so, and mean
            and deviation are those of the light.
    """
    if result.samples is None or result.mean is None or result.std is None:
        return (linear_picture(result.image, light_of(result.image)) if linear else result.image,)
    if not linear:
        return (*result.samples, result.mean, from_array(result.std))
    light = np.stack([light_of(sample) for sample in result.samples])
    found = [linear_picture(result.image, values) for values in (*light, light.mean(0))]
    return (*found, from_array(light.std(0, ddof=1)))


def _check_targets(job: LocalJob, size: Sequence[int], scale: int) -> None:
    """Refuse results that their formats cannot hold, before any network runs, for a source of this size (H, W)."""
    for target in job.targets:
        check_target(target, (size[0] * scale, size[1] * scale))


def _of_chain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a restoration that are arguments of `Restoration.chain`."""
    names = signature(Restoration.chain).parameters
    return {name: value for name, value in settings.items() if name in names}
