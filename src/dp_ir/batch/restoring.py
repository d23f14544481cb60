"""Restoring one file of a batch: read, restored, and every result of it written whole or not at all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
import torch

from dp_ir.batch.duration import LONG, LongJobNote, duration, expected_seconds
from dp_ir.batch.plan import LocalJob
from dp_ir.diffusion.samplers import Callback
from dp_ir.errors import ImageWriteError
from dp_ir.image import Picture, from_array, write_image
from dp_ir.image.files.headers import MAX_PIXELS
from dp_ir.image.files.reading import image_size, read_samples
from dp_ir.image.files.writing import QUALITY, check_target, format_for
from dp_ir.image.picture.crop import Box
from dp_ir.image.picture.lazy_picture import LazyPicture
from dp_ir.image.picture.output_size import OutputSize, Size, resized
from dp_ir.image.picture.photo_facts import PhotoFacts, photo_facts
from dp_ir.image.raw.burst import Burst
from dp_ir.restoration.inputs import observe_file, read_source
from dp_ir.restoration.pipeline import Restoration, RestorationResult
from dp_ir.restoration.streaming.from_disk import as_linear, can_stream, in_light, restore_streamed
from dp_ir.restoration.tiling.tiled_networks import CANVAS_BYTES, Progress
from dp_ir.restoration.tiling.tiler import TilingNote
from dp_ir.runtime.budget import budget

_AS_RESTORED = OutputSize()


def restore_file(
    restoration: Restoration,
    job: LocalJob,
    *,
    crop: Box | None = None,
    linear: bool = False,
    max_pixels: int = MAX_PIXELS,
    memory: int | None = None,
    quality: int = QUALITY,
    size: OutputSize = _AS_RESTORED,
    look: Callable[[PhotoFacts], None] | None = None,
    callback: Callback | None = None,
    progress: Progress | None = None,
    show: Callable[[RestorationResult, Size], None] | None = None,
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
        quality: 1 to 100, of JPEG, WebP, AVIF and JPEG XL.
        size: of the results, which are resized to it; checked before any network runs. Where it is more than the
            restorer gives, its own estimate (detail 0), reduced to what is needed, is restored in place of the source.
        look: told the facts of a photo before it is restored; without it they are not measured.
        callback: called after every step, where the images fit into memory.
        progress: called with the share that is done, 0 to 1, after every tile.
        show: given the restoration, and the (H, W) of the files, once they are written, where the images fit into
            memory.
        settings: further keyword arguments of `Restoration.__call__`, such as `seed`.

    Raises:
        ImageReadError, ImageWriteError: the source cannot be read, or a result cannot be written, or not in that size;
            a format that cannot hold a result of that size is refused by the header of the source, before anything is
            restored.
        DPIRError: whatever `Restoration.__call__` raises.

    Warns:
        LongJobNote: the result is large, and how long it will take.
        TilingNote: the images do not fit into memory.
    """
    scale = restoration.networks["restorer"].info.scale or 1
    is_known = restoration.networks["restorer"].info.scale is not None
    # Before pixels are decoded, but for a width: the header does not tell which side that is of the upright photo.
    if not restoration.takes_bursts and (crop is not None or size.width is None):
        header = image_size(job.source) if crop is None else (crop[3], crop[2])
        whole = _larger(size.start(header, scale), scale)
        for target in job.targets:
            check_target(target, size.of(header, whole) if is_known else whole)
    source: Picture | LazyPicture | Burst
    if restoration.takes_bursts or crop is not None or scale > 1:
        source = read_source(job.source, burst=restoration.takes_bursts, crop=crop, max_pixels=max_pixels)
    else:  # as large as its result
        source = LazyPicture(read_samples(job.source, max_pixels=max_pixels))
    given = _upright_size(source)
    start = given if isinstance(source, Burst) else size.start(given, scale)
    again = start != given
    before = given[0] * given[1] * scale**2 if again else 0
    if isinstance(source, Burst):  # frames are packed: a quarter of the pixels of the photograph that a camera gives
        given = _larger(given, 2)
    whole = _larger(start, scale)
    wanted = size.of(given, whole) if is_known else whole
    depth = 16 if isinstance(source, Burst) else source.bit_depth
    for target in job.targets:
        format_for(target, wanted, depth, quality=quality)
    if look is not None and not isinstance(source, Burst):
        look(photo_facts(source))
    pixels = whole[0] * whole[1]
    gives = f"{job.source.name}{', restored twice,' if again else ''} gives {whole[1]}x{whole[0]} pixels"
    if pixels > LONG and not restoration.takes_bursts:
        seconds = expected_seconds(restoration, before + pixels, num_samples=job.samples, memory=memory, **settings)
        warnings.warn(f"{gives}, which will take about {duration(seconds)}.", LongJobNote, stacklevel=2)
    needed = CANVAS_BYTES * pixels * (1 if job.samples == 1 else 1 + job.samples // 2)
    free = budget(torch.device("cpu"), memory)
    streams = needed > free and can_stream(restoration, **_of_chain(settings))
    if streams:
        warnings.warn(
            f"{gives}, more than fit into memory: it is restored from disk to disk.", TilingNote, stacklevel=2
        )
        if job.samples > 1 and size != _AS_RESTORED:
            raise ImageWriteError(
                f"{job.source.name} is restored from disk to disk, where the mean and the deviation of several samples "
                "are only taken in the size that is restored: leave out the size, or --samples."
            )
        if CANVAS_BYTES * before > free:
            raise ImageWriteError(
                f"{job.source.name} would be restored twice, and the first result, of {scale * given[1]}x"
                f"{scale * given[0]} pixels, does not fit into memory: restore it to a file (--scale {scale}), and "
                "that file once more."
            )
    if again and isinstance(source, Picture):
        share = before / (before + pixels)
        earlier = _part_of(progress, 0.0, share)
        # Its own estimate: what a sample makes up a second run would take for the photo's own, and exaggerate.
        mean = restoration(source, memory=memory, progress=earlier, **{**settings, "detail": 0})
        source = resized(mean.image, start)
        progress = _part_of(progress, share, 1.0)
    if streams:
        restore_streamed(
            restoration,
            observe_file(source),
            job.targets,
            linear=linear,
            memory=memory,
            quality=quality,
            size=lambda result: size.of(given, result),
            progress=progress,
            **settings,
        )
        return
    picture = source.part(0, 0, *source.size) if isinstance(source, LazyPicture) else source
    del source
    result = restoration(
        picture, num_samples=job.samples, memory=memory, callback=callback, progress=progress, **settings
    )
    wanted = size.of(given, result.image.size)
    for target, made in zip(job.targets, pictures_of(result, size=wanted, linear=linear), strict=True):
        write_image(target, made, quality=quality)
    if show is not None:
        show(result, wanted)


def _part_of(progress: Progress | None, begin: float, end: float) -> Progress | None:
    """What is told of a part of the work, which begins and ends at these shares of the whole."""
    return None if progress is None else lambda share: progress(begin + share * (end - begin))


def pictures_of(result: RestorationResult, *, size: Size | None = None, linear: bool = False) -> tuple[Picture, ...]:
    """What is written of the restoration of a file, in the order of `Job.targets`.

    Args:
        result: of a file or a burst.
        size: (H, W) of the files, None for that of the result; mean and deviation are those of samples in this size.
        linear: undo the tone curve of a burst's camera: files hold linear sRGB, with a profile that says so, and mean
            and deviation are those of the light.
    """
    size = result.image.size if size is None else size

    def shown(picture: Picture) -> Picture:
        return resized(in_light(picture) if linear else picture, size)

    def stored(picture: Picture) -> Picture:
        return as_linear(picture) if linear else picture

    if result.samples is None or result.mean is None or result.std is None:
        return (stored(shown(result.image)),)
    samples = [shown(sample) for sample in result.samples]
    if not linear and size == result.image.size:
        return (*samples, result.mean, from_array(result.std))
    values = np.stack([sample.pixels for sample in samples])
    mean = replace(shown(result.mean), pixels=values.mean(0))
    return (*map(stored, samples), stored(mean), from_array(values.std(0, ddof=1)))


def enlargement(restoration: Restoration) -> float | None:
    """How many times larger than a photograph its result is; frames of a burst are packed, to half of its sides."""
    scale = restoration.networks["restorer"].info.scale
    return scale / 2 if scale is not None and restoration.takes_bursts else scale


def largest_scale(restoration: Restoration) -> float | None:
    """The same of two runs, which only a photograph can have; None where it is not known."""
    factor = enlargement(restoration)
    return factor if factor is None or restoration.takes_bursts else factor**2


def _larger(size: Size, scale: int) -> Size:
    return scale * size[0], scale * size[1]


def _upright_size(source: Picture | LazyPicture | Burst) -> Size:
    """(height, width) as it is shown; of a burst, that of a packed frame."""
    if not isinstance(source, Burst):
        return source.size
    height, width = source.frames.shape[-2:]
    return (width, height) if source.turns % 2 else (height, width)


def _of_chain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a restoration that are arguments of `Restoration.chain`."""
    names = signature(Restoration.chain).parameters
    return {name: value for name, value in settings.items() if name in names}
