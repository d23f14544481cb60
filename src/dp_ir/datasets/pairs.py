"""Pairs of an observation and its true image: paired files, or true images degraded on the fly.

Which files of a folder belong together is decided in `layouts`; this module reads them and checks that they fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.pairing import PairFiles
from dp_ir.degradation.chance import image_generator
from dp_ir.errors import DataError, ImageReadError
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera

Degrade = Callable[..., Tensor | Burst]
"""A task's degradation: target (1, 3, H, W) in [0, 1], generator= -> observation (1, C, H / scale, W / scale), or a
burst whose planes have that size."""


@dataclass(frozen=True)
class ImagePair:
    """An observation and its target, float32 in [0, 1].

    Args:
        name: of the image in its data set, without a suffix; holds "/" where the data set has folders of scenes.
        observation: (1, C, h, w), or a burst (1, N, C, h, w), whose frames are linear sensor data.
        target: (1, 3, scale * h, scale * w), an sRGB photograph.
        camera: how sensor data become a photograph, of bursts.
    """

    name: str
    observation: Tensor
    target: Tensor
    camera: Camera | None = None


@dataclass(frozen=True, eq=False)
class PairedImages(Sequence[ImagePair]):
    """The pairs of one data set in the order of their names; files are read when a pair is asked for.

    Made by `opening.open_dataset`.

    Args:
        name: of the data set.
        files: of every pair.
        scale: side of the target / side of the observation.
        layout: how the folder was recognised, such as "GoPro".
        degrade: for pairs without files of their own for the observation; what is left to chance is decided by the
            pair's name.
        read: a file as a tensor (1, C, H, W), of targets and of observations.
        camera: by the file of a target, where targets and observations are sensor data.
    """

    name: str
    files: Sequence[PairFiles]
    scale: int
    layout: str = "images"
    degrade: Degrade | None = None
    read: tuple[Callable[[Path], Tensor], Callable[[Path], Tensor]] = (load_rgb, load_rgb)
    camera: Callable[[Path], Camera] | None = None

    @property
    def degraded_on_the_fly(self) -> bool:
        """Whether the observations are computed here rather than read from files."""
        return not any(pair.observations for pair in self.files)

    @property
    def names(self) -> list[str]:
        """The names of the pairs, without reading them."""
        return [pair.name for pair in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[ImagePair]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> ImagePair:  # type: ignore[override]  # slices would read every file
        """Read one pair; raises DataError for a file that is no image, and for sizes that do not fit."""
        pair = self.files[index]
        read_target, read_observation = self.read
        target = mod_crop(_readable(read_target, pair.target), self.scale)
        if min(target.shape[-2:]) == 0:
            raise DataError(f"'{pair.target}' is smaller than the scale {self.scale} on one side; leave it out.")
        camera: Camera | None = None
        if pair.observations:
            observation = _stacked(pair.observations, [_readable(read_observation, path) for path in pair.observations])
            if self.camera is not None:
                camera = self.camera(pair.target)
                target = camera.render(target)
        elif self.degrade is not None:
            degraded = self.degrade(target, generator=image_generator(pair.name))
            camera = degraded.camera if isinstance(degraded, Burst) else None
            observation = degraded.frames[None] if isinstance(degraded, Burst) else degraded
        else:
            raise DataError(f"'{pair.target}' has no observation, and no degradation is given to make it; give one.")
        height, width = observation.shape[-2:]
        if target.shape[-2:] != (height * self.scale, width * self.scale):
            raise DataError(
                f"'{(pair.observations or (pair.target,))[0]}' has {width}x{height} pixels as an observation, so its "
                f"target must have {width * self.scale}x{height * self.scale} at scale {self.scale}, but "
                f"'{pair.target}' has {target.shape[-1]}x{target.shape[-2]}; check that the two belong together."
            )
        return ImagePair(pair.name, observation, target, camera)


class ImageFiles(Sequence[Tensor]):
    """The images of files as a set for `FID`, `KID` or `SlicedWasserstein`, read when they are asked for.

    Args:
        paths: image files; a folder's are those of `find_images`.

    Each is (1, 3, H, W) float32 in [0, 1]; reading raises ImageReadError for a file that is no image.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...

    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...

    def __getitem__(self, index: int | slice) -> Tensor | ImageFiles:
        """The image at an index, or a part of the set."""
        return ImageFiles(self.paths[index]) if isinstance(index, slice) else load_rgb(self.paths[index])


def mod_crop(image: Tensor, scale: int) -> Tensor:
    """Crop (B, C, H, W) at the right and the bottom to multiples of `scale`."""
    height, width = image.shape[-2:]
    return image[..., : height - height % scale, : width - width % scale]


def _readable(read: Callable[[Path], Tensor], path: Path) -> Tensor:
    try:
        return read(path)
    except ImageReadError as error:  # its sentence names the file
        raise DataError(str(error)) from error


def _stacked(paths: Sequence[Path], frames: Sequence[Tensor]) -> Tensor:
    """One observation (1, C, h, w) as it is; frames (1, 1, C, h, w) as a burst (1, N, C, h, w)."""
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise DataError(
                f"'{path}' has {frame.shape[-1]}x{frame.shape[-2]} pixels in {frame.shape[-3]} channels, but the first "
                f"frame of its burst, '{paths[0]}', has {frames[0].shape[-1]}x{frames[0].shape[-2]} in "
                f"{frames[0].shape[-3]}; the frames of a burst must have one size."
            )
    return torch.cat(list(frames), dim=1) if len(frames) > 1 else frames[0]
