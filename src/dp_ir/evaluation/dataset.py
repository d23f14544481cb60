"""Pairs of an observation and its true image from folders: paired files, or true images degraded on the fly."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.image import read_image, to_tensor

_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
# What data sets append to the same name in the two folders: "img_001_SRF_4_HR" and "..._LR", "0801" and "0801x4".
_ROLE = re.compile(r"([_-](HR|LR|GT|LQ)|[_-]?x\d+)+$", re.IGNORECASE)


@dataclass(frozen=True)
class ImagePair:
    """An observation (1, 3, h, w) and its target (1, 3, scale*h, scale*w), both float32 RGB in [0, 1]."""

    name: str
    observation: Tensor
    target: Tensor


class PairedImages:
    """The pairs of one data set in the order of their names; files are read when a pair is asked for.

    Made by `open_pairs`. `len`, iteration and indexing work as for a sequence.
    """

    def __init__(
        self,
        name: str,
        targets: Sequence[Path],
        observations: Sequence[Path] | Callable[[Tensor], Tensor],
        scale: int,
    ) -> None:
        self.name = name
        self.scale = scale
        self._targets = list(targets)
        self._observations = observations

    @property
    def degraded_on_the_fly(self) -> bool:
        """Whether the observations are computed here rather than read from files."""
        return callable(self._observations)

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[ImagePair]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> ImagePair:
        """Read one pair; raises DataError for sizes that do not fit, ImageReadError for a file that is no image."""
        path = self._targets[index]
        target = mod_crop(load_rgb(path), self.scale)
        if min(target.shape[-2:]) == 0:
            raise DataError(f"'{path}' is smaller than the scale {self.scale} on one side; leave it out.")
        if callable(self._observations):
            source, observation = path, self._observations(target)
        else:
            source = self._observations[index]
            observation = load_rgb(source)
        height, width = observation.shape[-2:]
        if target.shape[-2:] != (height * self.scale, width * self.scale):
            raise DataError(
                f"'{source}' has {width}x{height} pixels as an observation, so its target must have "
                f"{width * self.scale}x{height * self.scale} at scale {self.scale}, but '{path}' has "
                f"{target.shape[-1]}x{target.shape[-2]}; check that the two folders belong together."
            )
        return ImagePair(name=path.stem, observation=observation, target=target)


def open_pairs(
    folder: str | Path, *, scale: int = 1, degrade: Callable[[Tensor], Tensor] | None = None
) -> PairedImages:
    """Open a data set in one of two layouts.

    ``folder/HR`` with ``folder/LR_x<scale>``: pairs of files with equal names, apart from an ending such as ``_HR``,
    ``_LR`` or ``x4``. Otherwise the images of `folder` (or of ``folder/HR``) are the targets, and `degrade` makes the
    observations from them. Targets are cropped at the right and the bottom to a multiple of `scale` ("mod-crop").

    Args:
        folder: the data set.
        scale: how many times larger the target is than the observation.
        degrade: target (1, 3, H, W) in [0, 1] -> observation (1, 3, H/scale, W/scale); not used for paired files.

    Raises:
        DataError: no such folder, no images, unpaired files, or plain images without a degradation.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}' with test images; name an existing one.")
    high, low = root / "HR", root / f"LR_x{scale}"
    if high.is_dir() and low.is_dir():
        targets, observations = _match(find_images(high), find_images(low), high, low)
        return PairedImages(root.name, targets, observations, scale)
    if degrade is None:
        raise DataError(
            f"'{root}' does not hold the folders 'HR' and 'LR_x{scale}', and no degradation is given to make the "
            "observations; add the folders or give a degradation."
        )
    return PairedImages(root.name, find_images(high if high.is_dir() else root), degrade, scale)


def find_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name; raises DataError if there are none."""
    found = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in _SUFFIXES)
    if not found:
        raise DataError(
            f"The folder '{folder}' holds no images ({', '.join(sorted(_SUFFIXES))}); name the folder that directly "
            "holds them."
        )
    return found


def load_rgb(path: Path) -> Tensor:
    """An image file as (1, 3, H, W) float32 RGB in [0, 1]; grey is repeated. Raises ImageReadError."""
    return to_tensor(read_image(path))


def mod_crop(image: Tensor, scale: int) -> Tensor:
    """Crop (B, C, H, W) at the right and the bottom to multiples of `scale`."""
    height, width = image.shape[-2:]
    return image[..., : height - height % scale, : width - width % scale]


def _match(targets: list[Path], observations: list[Path], high: Path, low: Path) -> tuple[list[Path], list[Path]]:
    """Pair files by their names, or, where these differ, by their names without the ending that tells the role."""
    equal = {path.stem for path in targets} == {path.stem for path in observations}
    first, second = (_by_name(paths, with_role=equal) for paths in (targets, observations))
    for here, there, folder in ((first, second, low), (second, first, high)):
        alone = sorted(here.keys() - there.keys())
        if alone:
            raise DataError(
                f"'{here[alone[0]]}' has no partner in '{folder}' ({len(alone)} such files); both folders must hold "
                "the same names, apart from an ending such as _HR, _LR or x4."
            )
    names = sorted(first)
    return [first[name] for name in names], [second[name] for name in names]


def _by_name(paths: list[Path], *, with_role: bool) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = path.stem if with_role else (_ROLE.sub("", path.stem) or path.stem)
        if name in named:
            raise DataError(
                f"'{named[name]}' and '{path}' count as the same name '{name}', so their partners are not clear; "
                "keep one of them."
            )
        named[name] = path
    return named
