"""Restoring one file of a batch: read, restored, and every result of it written whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dp_ir.diffusion.samplers import Callback
from dp_ir.image import Picture, from_array, write_image
from dp_ir.image.camera import decode
from dp_ir.image.crop import Box
from dp_ir.restoration.batch import Job
from dp_ir.restoration.inputs import read_source
from dp_ir.restoration.pipeline import Restoration, RestorationResult


def restore_file(
    restoration: Restoration,
    job: Job,
    *,
    crop: Box | None = None,
    linear: bool = False,
    callback: Callback | None = None,
    **settings: Any,
) -> None:
    """Restore `job.source` and write `job.targets`.

    Args:
        restoration: what restores.
        job: from `plan_batch`; `job.samples` results are drawn.
        crop: restore only this part.
        linear: see `pictures_of`.
        callback: called after every step.
        settings: further keyword arguments of `Restoration.__call__`, such as `seed`.

    Raises:
        ImageReadError, ImageWriteError: the source cannot be read, or a result cannot be written.
        DPIRError: whatever `Restoration.__call__` raises.
    """
    source = read_source(job.source, burst=restoration.takes_bursts, crop=crop)
    result = restoration(source, num_samples=job.samples, callback=callback, **settings)
    for target, picture in zip(job.targets, pictures_of(result, linear=linear), strict=True):
        write_image(target, picture)


def pictures_of(result: RestorationResult, *, linear: bool = False) -> tuple[Picture, ...]:
    """What is written of the restoration of a file, in the order of `Job.targets`.

    Args:
        result: of a file or a burst.
        linear: undo the tone curve of a burst's camera: linear sRGB, of which mean and deviation are then taken.
    """
    if result.samples is None or result.mean is None or result.std is None:
        return (_linear(result.image) if linear else result.image,)
    if not linear:
        return (*result.samples, result.mean, from_array(result.std))
    samples = [_linear(sample) for sample in result.samples]
    values = np.stack([sample.pixels for sample in samples])
    return (*samples, replace(samples[0], pixels=values.mean(0)), from_array(values.std(0, ddof=1)))


def _linear(picture: Picture) -> Picture:
    return replace(picture, pixels=decode(torch.from_numpy(picture.pixels)).numpy())
