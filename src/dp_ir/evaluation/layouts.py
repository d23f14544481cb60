"""Recognising the folders of data sets as they are published, and plain ones.

SyntheticBurst   bursts/0000/im_raw_00.png ... and gt/0000/im_rgb.png
HIDE             test/test-close-ups, test/test-long-shot (or train), and GT with the sharp images of all
GoPro            test/SCENE/blur (or blur_gamma) and test/SCENE/sharp; the scenes may lie directly in the folder
DIV2K            DIV2K_valid_HR and DIV2K_valid_LR_bicubic/X4 (or train)
pairs            a folder of targets (HR, GT, sharp, target, clean) beside one of observations (LR_x4, LR_bicubic/X4,
                 LQ, LR, blur, input, noisy); either may have sub-folders
images           images of clean scenes, which are degraded on the fly
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from dp_ir.errors import DataError
from dp_ir.evaluation.dataset import PairedImages, PairFiles, find_images, is_image, load_rgb
from dp_ir.evaluation.synthetic_burst import SCALE as BURST_SCALE
from dp_ir.evaluation.synthetic_burst import read_frame, read_truth

Degrade = Callable[[Tensor], Tensor]

# What data sets append to the same name in the two folders: "img_001_SRF_4_HR" and "..._LR", "0801" and "0801x4".
ROLE = re.compile(r"([_-](HR|LR|GT|LQ)|[_-]?x\d+)+$", re.IGNORECASE)
_TARGETS = ("hr", "gt", "sharp", "target", "targets", "clean", "gtmod12")
_OBSERVATIONS = ("lq", "lr", "blur", "input", "inputs", "noisy", "degraded")
_OF_SCALE = ("lr_x{0}", "lr_bicubic/x{0}", "lrbicx{0}")
_ZERO_BASED_FRAME = re.compile(r"im_raw_(\d+)\.png")


@dataclass(frozen=True)
class _Found:
    """What a folder was recognised as; `scale` where the layout knows it."""

    layout: str
    files: Sequence[PairFiles]
    scale: int | None = None
    read: tuple[Callable[[Path], Tensor], Callable[[Path], Tensor]] = (load_rgb, load_rgb)


def open_dataset(
    folder: str | Path, *, scale: int | None = None, degrade: Degrade | None = None, split: str | None = None
) -> PairedImages:
    """Open a data set in any of the layouts above.

    Files of a pair have equal names, apart from an ending such as ``_HR``, ``_LR`` or ``x4``. Targets are cropped at
    the right and the bottom to a multiple of the scale ("mod-crop"). Paired files win over a degradation.

    Args:
        folder: the data set.
        scale: how many times larger the target is than the observation; None takes what the layout says, else 1.
        degrade: target (1, 3, H, W) in [0, 1] -> observation (1, 3, H / scale, W / scale).
        split: a part of the data set: "train" or "test" (GoPro, HIDE), "valid" or "train" (DIV2K), "test-close-ups" or
            "test-long-shot" (HIDE), "blur_gamma" or "train/blur_gamma" (GoPro), or a sub-folder that is a data set by
            itself. By default what is tested on: test, valid, both parts of HIDE, "blur" of GoPro.

    Raises:
        DataError: no such folder or split, no images, unpaired files, another scale, or plain images without a
            degradation.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}' with test images; name an existing one.")
    name = root.resolve().name
    found = _recognise(root, scale or 1, split)
    if found is None and (inner := split or "test") and (root / inner).is_dir() and not _has_images(root, split):
        root = root / inner
        found = _recognise(root, scale or 1, None)
        split = None
    if split is not None and found is None:
        raise DataError(
            f"'{root}' has no part '{split}', neither as a folder nor as a split of a known data set; "
            f"it holds {_listing(root)}."
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
    return PairedImages(name, found.files, found.scale or scale or 1, found.layout, degrade, found.read)


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


def _recognise(root: Path, scale: int, split: str | None) -> _Found | None:
    for layout in (_synthetic_burst, _hide, _gopro, _div2k, _pairs):
        found = layout(root, scale, split)
        if found is not None:
            return found
    return None


# ---- layouts: each gives None where the folder is laid out in another way --------------------------------------------


def _synthetic_burst(root: Path, scale: int, split: str | None) -> _Found | None:
    bursts, truths = root / "bursts", root / "gt"
    if split is not None or not bursts.is_dir() or not truths.is_dir():
        return None
    files = []
    for burst in _folders(bursts):
        frames = sorted(path for path in burst.iterdir() if _ZERO_BASED_FRAME.fullmatch(path.name))
        for index, frame in enumerate(frames):
            if frame.name != f"im_raw_{index:02d}.png":
                raise DataError(f"'{burst / f'im_raw_{index:02d}.png'}' is missing; copy the burst again.")
        if not frames:
            raise DataError(f"The burst '{burst}' holds no frames im_raw_00.png, im_raw_01.png, ...; copy it again.")
        truth = truths / burst.name / "im_rgb.png"
        if not truth.is_file():
            raise DataError(f"The burst '{burst}' has no true image '{truth}'; both must be there.")
        files.append(PairFiles(burst.name, truth, tuple(frames)))
    if not files:
        raise DataError(f"'{bursts}' holds no folders of bursts such as 0000; copy the data set again.")
    if alone := sorted({path.name for path in _folders(truths)} - {pair.name for pair in files}):
        raise DataError(
            f"'{truths / alone[0]}' has no partner in '{bursts}' ({len(alone)} such folders); both must be there."
        )
    return _Found("SyntheticBurst", files, BURST_SCALE, (read_truth, read_frame))


def _hide(root: Path, scale: int, split: str | None) -> _Found | None:
    sharp, test = root / "GT", root / "test"
    parts = [path for path in (test / "test-close-ups", test / "test-long-shot") if path.is_dir()]
    if not sharp.is_dir() or not parts:
        return None
    if split == "train" and (root / split).is_dir():
        chosen = [root / split]
    else:
        chosen = [part for part in parts if split in (None, "test", part.name)]
    if not chosen:
        return None
    truths = {path.name: path for path in find_images(sharp)}
    files = []
    for part in chosen:
        for path in find_images(part):
            if path.name not in truths:
                raise DataError(f"'{path}' has no partner in '{sharp}'; both must hold the same name.")
            files.append(PairFiles(f"{part.name}/{path.stem}", truths[path.name], (path,)))
    return _Found("HIDE", files, 1)


def _gopro(root: Path, scale: int, split: str | None) -> _Found | None:
    blur = "blur_gamma" if split is not None and split.split("/")[-1] == "blur_gamma" else "blur"
    part = (split or "").removesuffix("blur_gamma").rstrip("/")
    candidates = [root / part] if part else [root / "test", root]
    for base in candidates:
        scenes = [scene for scene in _folders(base) if (scene / "sharp").is_dir() and _has_blur(scene)]
        if scenes:
            files = []
            for scene in scenes:
                if not (scene / blur).is_dir():
                    raise DataError(f"The scene '{scene}' has no folder '{blur}', only {_listing(scene)}; add it.")
                files += _matched(scene / "sharp", scene / blur, prefix=f"{scene.name}/")
            return _Found("GoPro", files, 1)
    return None


def _div2k(root: Path, scale: int, split: str | None) -> _Found | None:
    if split not in (None, "valid", "train"):
        return None
    high = root / f"DIV2K_{split or 'valid'}_HR"
    low = root / f"DIV2K_{split or 'valid'}_LR_bicubic" / f"X{scale}"
    if not high.is_dir():
        return None
    files = _matched(high, low) if low.is_dir() else _alone(high)
    return _Found("DIV2K", files)


def _pairs(root: Path, scale: int, split: str | None) -> _Found | None:
    if split is not None:
        return None
    folders = {path.name.lower(): path for path in _folders(root)}
    targets = [folders[name] for name in _TARGETS if name in folders]
    if not targets:
        return None
    observations = _observation_folders(folders, scale)
    for role, several in (("targets", targets), ("observations", observations)):
        if len(several) > 1:
            raise DataError(
                f"'{root}' has several folders that could hold the {role}: "
                f"{', '.join(str(path.relative_to(root)) for path in several)}; keep one of them there."
            )
    return _Found("pairs", _matched(targets[0], observations[0]) if observations else _alone(targets[0]))


def _images(root: Path, scale: int, degrade: Degrade | None) -> _Found:
    if degrade is None and not _has_images(root, None):
        raise DataError(_no_observations(root, scale))
    return _Found("images", _alone(root))


# ---- files -----------------------------------------------------------------------------------------------------------


def _observation_folders(folders: Mapping[str, Path], scale: int) -> list[Path]:
    """The folder that names the scale, or else every one that has a name of observations."""
    for pattern in _OF_SCALE:
        first, *rest = pattern.format(scale).split("/")
        if first not in folders:
            continue
        inner = {path.name.lower(): path for path in _folders(folders[first])}
        if not rest or rest[0] in inner:
            return [inner[rest[0]] if rest else folders[first]]
    return [folders[name] for name in _OBSERVATIONS if name in folders]


def _alone(folder: Path) -> list[PairFiles]:
    return [PairFiles(path.stem, path) for path in find_images(folder)]


def _matched(high: Path, low: Path, prefix: str = "") -> list[PairFiles]:
    """Pair files by their names, or, where these differ, by their names without the ending that tells the role."""
    targets, observations = _below(high), _below(low)
    equal = {_stem(path, high) for path in targets} == {_stem(path, low) for path in observations}
    first, second = _by_name(targets, high, with_role=equal), _by_name(observations, low, with_role=equal)
    for here, there, folder in ((first, second, low), (second, first, high)):
        alone = sorted(here.keys() - there.keys())
        if alone:
            raise DataError(
                f"'{here[alone[0]]}' has no partner in '{folder}' ({len(alone)} such files); both folders must hold "
                "the same names, apart from an ending such as _HR, _LR or x4."
            )
    return [PairFiles(prefix + _stem(first[name], high), first[name], (second[name],)) for name in sorted(first)]


def _by_name(paths: Sequence[Path], folder: Path, *, with_role: bool) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = _stem(path, folder)
        if not with_role and path.stem != ROLE.sub("", path.stem) != "":
            name = ROLE.sub("", name)
        if name in named:
            raise DataError(
                f"'{named[name]}' and '{path}' count as the same name '{name}', so their partners are not clear; "
                "keep one of them."
            )
        named[name] = path
    return named


def _below(folder: Path) -> list[Path]:
    """The images of a folder and of its sub-folders."""
    found = sorted(path for path in folder.rglob("*") if is_image(path))
    return found or find_images(folder)  # which says what is missing


def _stem(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _has_blur(scene: Path) -> bool:
    return (scene / "blur").is_dir() or (scene / "blur_gamma").is_dir()


def _has_images(root: Path, split: str | None) -> bool:
    """Whether the folder itself is meant: it holds images, and no part of it was asked for."""
    return split is None and any(is_image(path) for path in root.iterdir())


def _listing(folder: Path) -> str:
    names = [path.name for path in _folders(folder)]
    if not names:
        return "no folders"
    return f"the folders {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"


def _no_observations(root: Path, scale: int) -> str:
    return (
        f"'{root}' does not hold pairs of targets and observations, such as the folders 'HR' and 'LR_x{scale}' or 'gt' "
        f"and 'lq' ({_listing(root)}), and no degradation is given to make the observations; add the folders or "
        "give a degradation."
    )
