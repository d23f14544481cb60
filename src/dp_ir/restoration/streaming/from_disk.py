"""Restoring images larger than memory: from disk to disk, band by band.

The same passes and the same steps as in memory (`Restoration.__call__`), and the same noise; only the images lie in
files (`canvas.Canvas`). A step needs the estimate, which looks at the surroundings, and then each pixel by itself. So
as soon as a band of the estimate is there, and no tile below it will look at that band again, the state is stepped on
in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dp_ir.diffusion.jump import jump
from dp_ir.diffusion.noise import generators
from dp_ir.diffusion.samplers import LinearStep, linear_steps
from dp_ir.errors import DPIRError
from dp_ir.image import Picture, from_array
from dp_ir.image.files.streamed import stream_image
from dp_ir.image.files.writing import QUALITY, check_target
from dp_ir.image.picture.colour import linear_profile, srgb_encode
from dp_ir.image.picture.output_size import Size, resized
from dp_ir.image.picture.resize import source_rows
from dp_ir.image.raw.camera import decode
from dp_ir.networks.default_dtype import float32_by_default
from dp_ir.restoration.inputs import FileObservation
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.sampling_plan import Chain
from dp_ir.restoration.seeds import sample_seed
from dp_ir.restoration.streaming.canvas import Canvas, check_disk_space
from dp_ir.restoration.tiling.tiled_networks import Progress, Read, TiledNetworks
from dp_ir.restoration.tiling.windows import Window

_ROWS = 256  # of a band where pixels do not depend on their surroundings
_PIXEL = 12  # bytes of a pixel of a canvas


def can_stream(restoration: Restoration, **settings: Any) -> bool:
    """Whether the sampler takes steps that are known as numbers, as all in `SAMPLERS` do."""
    settled = restoration.chain(**settings)
    return settled.tau == 0 or linear_steps(settled.sampler, settled.sigmas, settled.eta) is not None


def restore_streamed(
    restoration: Restoration,
    observation: FileObservation,
    targets: Sequence[Path],
    *,
    seed: int = 0,
    linear: bool = False,
    tile: int | None = None,
    memory: int | None = None,
    quality: int = QUALITY,
    size: Callable[[Size], Size] = lambda result: result,
    progress: Progress | None = None,
    **settings: Any,
) -> None:
    """Restore an image and write its results, holding no more than a row of tiles of it.

    Args:
        restoration: what restores.
        observation: from `observe_file`.
        targets: one file; or one per sample, then the mean's and the standard deviation's. Temporary files lie beside.
        seed: as for `Restoration.__call__`.
        linear: results are linear sRGB, of bursts.
        tile: as for `Restoration.__call__`.
        memory: likewise.
        quality: 1 to 100, of JPEG, WebP, AVIF and JPEG XL.
        size: makes the size (H, W) of the files of that of the upright result; of a single sample only.
        progress: as for `Restoration.__call__`.
        settings: the arguments of `Restoration.chain`.

    Raises:
        ImageWriteError: there is no room on the disk, or a result cannot be written.
        DPIRError: as `Restoration.__call__`; a sampler whose steps are not known as numbers.

    Warns:
        UnseenChainWarning: as `Restoration.__call__`.
    """
    samples = 1 if len(targets) == 1 else len(targets) - 2
    settled = restoration.chain(**settings)
    steps = [] if settled.tau == 0 else linear_steps(settled.sampler, settled.sigmas, settled.eta)
    if steps is None:
        raise DPIRError(
            "The image does not fit into memory, and the sampler is a function that needs it whole: use one of ddpm, "
            "ddim and dpmpp-2m, or restore a part of the image."
        )
    restoration.warn_of_unseen_chain(settled, stacklevel=2)

    def shown(part: Tensor, top: int, height: int) -> Picture:
        picture = observation.band(part, top, height)
        return in_light(picture) if linear else picture

    def measured(part: Tensor, top: int, height: int) -> Picture:
        return from_array(observation.measurement(part))

    with ExitStack() as stack, float32_by_default(), torch.inference_mode(), restoration.evaluation_mode():
        passes = restoration.passes(tile, memory, samples * len(steps), progress)
        desk = _Desk(targets[0].parent, str(targets[0].name), stack)
        restored = _restored(passes, observation, desk, 3 + 2 * (samples > 1) + any(step.noise for step in steps), size)
        noisy = restored if not steps else desk.canvas("noisy", restored.shape)
        moments = _Moments(desk, restored.shape, linear=linear) if samples > 1 else None
        for index in range(samples):
            if steps:
                own = generators([sample_seed(seed, index)])[0]
                _sample(restoration, passes, settled, steps, restored, noisy, own, desk)
            result = _Result(observation, noisy.shape, lambda window: noisy.read(window).clamp(0, 1), shown, linear)
            _write(targets[index], result, size(result.size), quality)
            if moments is not None:
                moments.add(noisy)
        if moments is not None:
            mean = _Result(observation, noisy.shape, moments.mean, observation.band, linear)
            deviation = _Result(observation, noisy.shape, moments.deviation, measured)
            for target, result in zip(targets[-2:], (mean, deviation), strict=True):
                _write(target, result, result.size, quality)


class _Desk:
    """The canvases of a restoration, by name, made when they are first needed."""

    def __init__(self, folder: Path, name: str, stack: ExitStack) -> None:
        self.folder, self.name, self._stack = folder, name, stack
        self._canvases: dict[str, Canvas] = {}

    def canvas(self, name: str, shape: tuple[int, int, int]) -> Canvas:
        if name not in self._canvases:
            self._canvases[name] = self._stack.enter_context(Canvas(shape, self.folder))
        return self._canvases[name]


def _restored(
    passes: TiledNetworks, observation: FileObservation, desk: _Desk, canvases: int, size: Callable[[Size], Size]
) -> Canvas:
    """The restorer's estimate; its size is known from its first band on."""
    shape = observation.shape
    canvas: Canvas | None = None
    for top, band in passes.restored_bands(shape, observation.read, observation.encode):
        if canvas is None:
            width = band.shape[-1]
            height = shape[-2] * (width // shape[-1])
            # Its scale was not known before.
            check_target(desk.folder / desk.name, size(observation.size(height, width)))
            check_disk_space(desk.folder, canvases * _PIXEL * height * width, desk.name)
            canvas = desk.canvas("restored", (3, height, width))
        canvas.write(top, band)
    assert canvas is not None
    return canvas


def _sample(
    restoration: Restoration,
    passes: TiledNetworks,
    settled: Chain,
    steps: Sequence[LinearStep],
    restored: Canvas,
    noisy: Canvas,
    generator: torch.Generator,
    desk: _Desk,
) -> None:
    """Draw one sample, which is in `noisy` at the end, at the dial, not clamped."""
    noisy.draw_noise(generator)
    for top, number in _bands(noisy.shape):
        noise = noisy.rows(top, number)
        noisy.write(
            top, jump(restoration.schedule, restored.rows(top, number), settled.tau, noise=noise, eta=settled.jump_eta)
        )
    remembered = any(step.before for step in steps)
    for step in steps:
        fresh = desk.canvas("noise", noisy.shape) if step.noise else None
        if fresh is not None:
            fresh.draw_noise(generator)
        before = desk.canvas("before", noisy.shape) if remembered else None
        shape = (1, *noisy.shape)
        for top, estimate in passes.estimate_bands(shape, restored.read, noisy.read, step.sigma, settled.detail):
            x0, number = estimate.cpu(), estimate.shape[-2]
            older = before.rows(top, number) if before is not None and step.before else None
            drawn = fresh.rows(top, number) if fresh is not None else None
            noisy.write(top, step.take(noisy.rows(top, number), x0, older, drawn))
            if before is not None:
                before.write(top, x0)
    if settled.share != 1:
        for top, number in _bands(noisy.shape):
            noisy.write(top, settled.dialled(restored.rows(top, number), noisy.rows(top, number)))


class _Moments:
    """Mean and squared differences of the samples so far (Welford 1962), pixel by pixel."""

    def __init__(self, desk: _Desk, shape: tuple[int, int, int], *, linear: bool) -> None:
        self._mean, self._squares = desk.canvas("mean", shape), desk.canvas("squares", shape)
        self._count, self._linear = 0, linear

    def add(self, sample: Canvas) -> None:
        self._count += 1
        for top, number in _bands(sample.shape):
            values = sample.rows(top, number).clamp(0, 1)
            values = decode(values) if self._linear else values
            mean, squares = self._mean.rows(top, number), self._squares.rows(top, number)
            before = values - mean
            mean += before / self._count
            squares += before * (values - mean)
            self._mean.write(top, mean)
            self._squares.write(top, squares)

    def mean(self, window: Window) -> Tensor:
        return self._mean.read(window)

    def deviation(self, window: Window) -> Tensor:
        return (self._squares.read(window) / (self._count - 1)).sqrt()


@dataclass(frozen=True)
class _Result:
    """A result that lies on the disk, as rows of an upright picture.

    Args:
        observation: which knows how results lie in their pictures.
        shape: of the result (3, H, W).
        read: gives a part of it (1, 3, h, w).
        picture: makes a part, the first row it shows and the height of the whole picture rows of that picture.
        linear: whether these hold linear sRGB, which the file says then.
    """

    observation: FileObservation
    shape: tuple[int, int, int]
    read: Read
    picture: Callable[[Tensor, int, int], Picture]
    linear: bool = False

    @property
    def size(self) -> Size:
        """(height, width) of the picture."""
        return self.observation.size(*self.shape[1:])

    def rows(self, first: int, last: int) -> Picture:
        """The picture from row `first` to the one before `last`."""
        window = self.observation.window(first, last, *self.shape[1:])
        return self.picture(self.read(window), first, self.size[0])


def _write(target: Path, result: _Result, size: Size, quality: int) -> None:
    """Write a file of this size (H, W) by bands of rows."""
    height = result.size[0]

    def bands() -> Iterator[Picture]:
        number = max(_ROWS * size[0] // height, 1)  # so that about as many rows are read at a time, whatever the size
        for top in range(0, size[0], number):
            rows = top, min(top + number, size[0])
            if size == result.size:
                band = result.rows(*rows)
            else:
                first, last = source_rows(height, size[0], rows)
                band = resized(result.rows(first, last), size, rows, (first, height))
            yield as_linear(band) if result.linear else band

    pictures = bands()
    begun = next(pictures)
    with stream_image(target, size, begun.bit_depth, quality=quality) as stream:
        for band in chain([begun], pictures):
            stream.write(band)


def in_light(picture: Picture) -> Picture:
    """A picture that a burst's camera rendered, with linear sRGB for pixels, of which means are taken."""
    return replace(picture, pixels=decode(torch.from_numpy(picture.pixels)).numpy())


def as_linear(picture: Picture) -> Picture:
    """A picture with linear sRGB for pixels as one whose files hold these as they are, and say so by their profile."""
    return replace(picture, pixels=srgb_encode(picture.pixels), icc_profile=linear_profile())


def _bands(shape: tuple[int, int, int]) -> Iterator[tuple[int, int]]:
    """First row and number of rows of each band, from top to bottom."""
    for top in range(0, shape[1], _ROWS):
        yield top, min(_ROWS, shape[1] - top)
