"""Training samples as a pure function of (seed, sample number): nothing to save, resuming is exact by construction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from dp_ir.errors import DataError
from dp_ir.image.raw.burst import Burst
from dp_ir.tasks import Task
from dp_ir.training.recipe import NoiseRecipe
from dp_ir.training.store import ImageStore


def is_held_out(name: str, fraction: float) -> bool:
    """Whether an image belongs to the validation split: decided by the SHA-256 of its name, so it never moves."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < fraction


def split(names: Sequence[str], fraction: float) -> tuple[list[int], list[int]]:
    """Numbers of the training images and of the held-out images among all names.

    Raises:
        DataError: one of the two would be empty.
    """
    held_out = [number for number, name in enumerate(names) if is_held_out(name, fraction)]
    training = sorted(set(range(len(names))) - set(held_out))
    if not training or not held_out:
        raise DataError(
            f"Of {len(names)} images {len(held_out)} would be held out for validation and {len(training)} be left to "
            f"train on; both must be at least one: give more images or change data.validation_fraction ({fraction})."
        )
    return training, held_out


@dataclass(frozen=True)
class Companion:
    """A second store whose images belong to the first one's by number: observations, or cached restorer outputs."""

    name: str
    store: ImageStore
    scale: int  # the clean image is this many times larger


class Patches(Dataset[dict[str, Tensor]]):
    """Random patches, mirrored and turned, with the noise that belongs to them.

    Sample i depends on (seed, i) alone. Images are drawn with a probability proportional to the square root of their
    pixel count: large photographs hold more to learn, but not in proportion.

    Args:
        store: clean images.
        numbers: which of them to draw from.
        patch: side of the clean patch in pixels.
        align: patches start at multiples of this many pixels (the task's scale).
        companions: further stores cut at the same place.
        task: makes the observation of each patch anew; None where observations are companions, or not needed.
        noise: distribution of noise levels; None for training without them.
        bridge: whether to draw a time t and unit noise for it instead.
        draws: how many samples of each observation are to be drawn; 0 for training without them.
        seed: of the whole run.

    A sample holds `clean` (3, patch, patch), one entry per companion, with `task` what `observe` gives, with `noise` or
    `bridge` also `eps` (3, patch, patch) of unit variance, and `sigma` () or `t` (), which is uniform in (0, 1]; with
    `draws` the `seeds` (draws,) of the samples, and `place` (), uniform in [0, 1), of the dial.
    """

    def __init__(
        self,
        store: ImageStore,
        numbers: Sequence[int],
        *,
        patch: int,
        align: int,
        companions: Sequence[Companion] = (),
        task: Task | None = None,
        noise: NoiseRecipe | None = None,
        bridge: bool = False,
        draws: int = 0,
        seed: int = 0,
    ) -> None:
        self._task, self._border = task, task.border if task is not None else 0
        patch += 2 * self._border
        large = [i for i in numbers if min(store.images[i].height, store.images[i].width) >= patch + align]
        if not large:
            raise DataError(
                f"No image is as large as a patch of {patch} pixels; use larger images or a smaller data.patch."
            )
        self._store, self._patch, self._align = store, patch, align
        self._companions, self._noise, self._bridge, self._draws, self._seed = companions, noise, bridge, draws, seed
        weights = np.sqrt([store.images[i].height * store.images[i].width for i in large])
        self.numbers = large  # of the images that patches are drawn from
        self._cumulative = np.cumsum(weights) / weights.sum()

    def __getitem__(self, sample: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, sample))
        number = self.numbers[min(int(np.searchsorted(self._cumulative, rng.random())), len(self.numbers) - 1)]
        place = self._store.images[number]
        top = int(rng.integers((place.height - self._patch) // self._align + 1)) * self._align
        left = int(rng.integers((place.width - self._patch) // self._align + 1)) * self._align
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

        def orient(patch: npt.NDArray[np.float32]) -> Tensor:
            patch = np.rot90(patch[..., ::-1] if mirrored else patch, turns, axes=(1, 2))
            return torch.from_numpy(np.ascontiguousarray(patch))

        side = self._patch
        result = {"clean": orient(self._store.crop(number, top, left, side, side))}
        for companion in self._companions:
            k = companion.scale
            result[companion.name] = orient(companion.store.crop(number, top // k, left // k, side // k, side // k))
        if self._task is not None:
            generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
            result |= observe(self._task, result["clean"], generator)
            side -= 2 * self._border
        if self._noise is not None:
            level = np.exp(np.log(self._noise.median) + self._noise.log_std * rng.standard_normal())
            result["sigma"] = torch.tensor(np.clip(level, self._noise.low, self._noise.high), dtype=torch.float32)
        if self._bridge:
            result["t"] = torch.tensor(1 - rng.random(), dtype=torch.float32)
        if self._noise is not None or self._bridge:
            result["eps"] = torch.from_numpy(rng.standard_normal((3, side, side), dtype=np.float32))
        if self._draws:
            result["seeds"] = torch.from_numpy(rng.integers(2**63, size=self._draws))
            result["place"] = torch.tensor(rng.random(), dtype=torch.float32)
        return result


def observe(task: Task, clean: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Degrade a clean patch and cut off what its border has seen.

    Args:
        task: what observations are.
        clean: (3, H, W), with `task.border` on all sides.
        generator: of the random numbers.

    Returns:
        `clean` without its border and `observation`; of a burst, (N, 4, h, w), also `gains` (3,) and `matrix` (3, 3) of
        its camera, and `frames`: how many of them to train with, half the time all, else any number.
    """

    def inner(image: Tensor, border: int) -> Tensor:
        return image[..., border : image.shape[-2] - border, border : image.shape[-1] - border]

    observation = task.degrade(clean[None], generator=generator)
    result = {"clean": inner(clean, task.border)}
    if not isinstance(observation, Burst):
        return result | {"observation": inner(observation[0], task.border // task.scale)}
    number = len(observation.frames)
    some = torch.randint(1, number + 1, (), generator=generator)
    every = torch.rand((), generator=generator) < 0.5
    return result | {
        "observation": inner(observation.frames, task.border // task.scale),
        "gains": observation.camera.gains,
        "matrix": observation.camera.matrix,
        "frames": torch.where(every, number, some),
    }


class StepBatches(Sampler[list[int]]):
    """Sample numbers of each remaining step for one of several processes; together they draw what one would.

    Args:
        first, last: steps [first, last).
        batch: samples per step over all processes.
        process, processes: which share of each batch is this process's.
    """

    def __init__(self, first: int, last: int, batch: int, process: int = 0, processes: int = 1) -> None:
        if batch % processes:
            raise DataError(
                f"optim.batch is {batch}, which {processes} processes cannot share; use a multiple of {processes}."
            )
        self._steps, self._batch = range(first, last), batch
        share = batch // processes
        self._mine = range(process * share, (process + 1) * share)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            yield [step * self._batch + i for i in self._mine]

    def __len__(self) -> int:
        return len(self._steps)


def validation_crops(
    store: ImageStore, numbers: Sequence[int], *, count: int, sides: range, border: int = 0, align: int
) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """Central crops of the first `count` held-out images that are large enough.

    Args:
        store: clean images.
        numbers: of the held-out ones.
        count: how many crops at most.
        sides: that a crop may have without its border, pixels; an image gets the largest that it holds.
        border: pixels around it.
        align: crops start at multiples of this many pixels.

    Returns:
        (number, top, left, side with the border) of each crop, and the numbers of the images that were too small.
    """
    crops: list[tuple[int, int, int, int]] = []
    small: list[int] = []
    for number in numbers:
        place = store.images[number]
        held = [side for side in sides if side + 2 * border <= min(place.height, place.width)]
        if not held:
            small.append(number)
        elif len(crops) < count:
            size = max(held) + 2 * border
            top, left = (place.height - size) // 2 // align * align, (place.width - size) // 2 // align * align
            crops.append((number, top, left, size))
    return crops, small
