"""Opening data sets: paired files laid out as `layouts` knows, or images degraded here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from dp_ir.datasets.layouts import Found, recognise
from dp_ir.datasets.pairing import is_image, listing, unpaired
from dp_ir.datasets.pairs import Degrade, PairedImages
from dp_ir.errors import DataError


def open_dataset(
    folder: str | Path, *, scale: int | None = None, degrade: Degrade | None = None, split: str | None = None
) -> PairedImages:
    """Open a data set in any of the layouts that `datasets.layouts` lists.

    Files of a pair have equal names, apart from an ending such as ``_HR``, ``_LR`` or ``x4``. Targets are cropped at
    the right and the bottom to a multiple of the scale ("mod-crop"). Paired files win over a degradation.

    Args:
        folder: the data set.
        scale: how many times larger the target is than the observation; None takes what the layout says, else 1.
        degrade: makes an observation of a target, as the degradations of tasks do.
        split: a part of the data set: "train" or "test" (GoPro, HIDE, RealBlur, Zurich), "valid" or "train" (DIV2K),
            "val" or "train" (REDS), "test-close-ups" or "test-long-shot" (HIDE), "blur_gamma" or "train/blur_gamma"
            (GoPro), "val/blur_comp" (REDS), "R" or "R/train" (RealBlur), or a sub-folder that is a data set by itself.
            By default what is tested on: test, val, valid, both parts of HIDE, "blur" of GoPro, J of RealBlur.

    Raises:
        DataError: no such folder or split, no images, unpaired files, another scale, or plain images without a
            degradation.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}' with test images; name an existing one.")
    name = root.resolve().name
    found = recognise(root, scale=scale, split=split)
    if found is None and (inner := split or "test") and (root / inner).is_dir() and not _has_images(root, split):
        root = root / inner
        found = recognise(root, scale=scale)
        split = None
    if split is not None and found is None:
        raise DataError(
            f"'{root}' has no part '{split}', neither as a folder nor as a split of a known data set; "
            f"it holds {listing(root)}."
        )
    if found is None:
        found = _images(root, scale or 1, degrade)
    if found.scale is not None and scale not in (None, found.scale):
        raise DataError(
            f"'{root}' is laid out as {found.layout}, with targets {found.scale} times as large as the observations, "
            f"but a scale of {scale} was asked for; choose data that fit the task."
        )
    if degrade is None and not all(pair.observations for pair in found.files):
        raise DataError(_no_observations(root, scale or 1))
    return PairedImages(name, found.files, found.scale or scale or 1, found.layout, degrade, found.read, found.camera)


def open_datasets(
    folders: Iterable[str | Path],
    *,
    scale: int | None = None,
    degrade: Degrade | None = None,
    split: str | None = None,
) -> list[PairedImages]:
    """Open several data sets; those that have equal names get their parent folders' names too, as in "test (GoPro)".

    Raises:
        DataError: as `open_dataset`; also where a folder is named twice.
    """
    paths = [Path(folder) for folder in folders]
    opened = [open_dataset(path, scale=scale, degrade=degrade, split=split) for path in paths]
    names = distinct_names(paths)
    return [replace(dataset, name=name) for dataset, name in zip(opened, names, strict=True)]


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder: its own where no other has it, else with as many parents as tell them apart.

    Raises:
        DataError: a folder is named twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, count in Counter(resolved).items():
        if count > 1:
            raise DataError(f"The data set '{folder}' is named {count} times; name it once.")
    names = []
    for folder in resolved:
        rivals = [other for other in resolved if other.name == folder.name and other != folder]
        depth = 0
        while any(_parents(other, depth) == _parents(folder, depth) for other in rivals):
            depth += 1
        names.append(f"{folder.name} ({'-'.join(_parents(folder, depth))})" if rivals else folder.name)
    return names


def _parents(folder: Path, depth: int) -> tuple[str, ...]:
    return folder.parent.parts[-depth:] if depth else ()


def _images(root: Path, scale: int, degrade: Degrade | None) -> Found:
    if degrade is None and not _has_images(root, None):
        raise DataError(_no_observations(root, scale))
    return Found("images", unpaired(root))


def _has_images(root: Path, split: str | None) -> bool:
    """Whether the folder itself is meant: it holds images, and no part of it was asked for."""
    return split is None and any(is_image(path) for path in root.iterdir())


def _no_observations(root: Path, scale: int) -> str:
    return (
        f"'{root}' does not hold pairs of targets and observations, such as the folders 'HR' and 'LR_x{scale}' or 'gt' "
        f"and 'lq' ({listing(root)}), and no degradation is given to make the observations; add the folders or "
        "give a degradation."
    )
