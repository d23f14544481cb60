"""Recognising the folders of data sets as they are published, and plain ones of pairs.

SyntheticBurst   bursts/0000/im_raw_00.png ... and gt/0000/im_rgb.png
Zurich           train/canon and train/huawei_raw (or test): photographs, and mosaics of another camera beside them
HIDE             test/test-close-ups, test/test-long-shot (or train), and GT with the sharp images of all
REDS             val/val_sharp/SCENE and val/val_blur/SCENE (or train); these two may lie directly in the folder
RealBlur         RealBlur_J_test_list.txt (or R, train), which names the images of scenes with gt and blur
GoPro            test/SCENE/blur (or blur_gamma) and test/SCENE/sharp; the scenes may lie directly in the folder
DIV2K            DIV2K_valid_HR and DIV2K_valid_LR_bicubic/X4 (or train)
pairs            a folder of targets (HR, GT, sharp, target, clean) beside one of observations (LR_x4, LR_bicubic/X4,
                 LQ, LR, blur, input, noisy); either may have sub-folders
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dp_ir.datasets.pairing import PairFiles, find_images, folders_of, listing, matched, unpaired
from dp_ir.errors import DataError
from dp_ir.image.files.reading import read_image
from dp_ir.image.picture.picture import to_tensor
from dp_ir.image.raw.camera import Camera
from dp_ir.image.raw.mosaic_files import read_mosaic
from dp_ir.image.raw.synthetic_burst import METADATA, read_camera, read_frame, read_truth
from dp_ir.image.raw.synthetic_burst import SCALE as BURST_SCALE

ZURICH_SCALE = 2
"""Side of a photograph / side of a plane of its mosaic."""

_TARGETS = ("hr", "gt", "sharp", "target", "targets", "clean", "gtmod12")
_OBSERVATIONS = ("lq", "lr", "blur", "input", "inputs", "noisy", "degraded")
_OF_SCALE = ("lr_x{0}", "lr_bicubic/x{0}", "lrbicx{0}")
_ZERO_BASED_FRAME = re.compile(r"im_raw_(\d+)\.png")
_REAL_BLUR_LIST = "RealBlur_{0}_{1}_list.txt"


def load_rgb(path: Path) -> Tensor:
    """An image file as (1, 3, H, W) float32 RGB in [0, 1]; grey is repeated. Raises ImageReadError."""
    return to_tensor(read_image(path))


@dataclass(frozen=True)
class Found:
    """What a folder was recognised as.

    Args:
        layout: its name.
        files: of every pair.
        scale: side of the target / side of the observation, where the layout knows it.
        read: a target, and an observation, each as a tensor (1, C, H, W).
        camera: of a target, where targets and observations are linear sensor data of bursts.
    """

    layout: str
    files: Sequence[PairFiles]
    scale: int | None = None
    read: tuple[Callable[[Path], Tensor], Callable[[Path], Tensor]] = (load_rgb, load_rgb)
    camera: Callable[[Path], Camera] | None = None


def recognise(root: Path, *, scale: int | None = None, split: str | None = None) -> Found | None:
    """Find the pairs of a data set in any of the layouts above.

    Args:
        root: its folder.
        scale: that is wanted, where a data set has observations of several; None stands for the layout's own, else 1.
        split: a part of the data set, see `opening.open_dataset`; None is what is tested on.

    Returns:
        None where the folder is laid out in another way, or has no such part.

    Raises:
        DataError: it is laid out so, but files are missing or do not belong together.
    """
    for layout in (_synthetic_burst, _zurich, _hide, _reds, _real_blur, _gopro, _div2k, _pairs):
        found = layout(root, scale, split)
        if found is not None:
            return found
    return None


def _synthetic_burst(root: Path, scale: int | None, split: str | None) -> Found | None:
    bursts, truths = root / "bursts", root / "gt"
    if split is not None or not bursts.is_dir() or not truths.is_dir():
        return None
    files = []
    for burst in folders_of(bursts):
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
    if alone := sorted({path.name for path in folders_of(truths)} - {pair.name for pair in files}):
        raise DataError(
            f"'{truths / alone[0]}' has no partner in '{bursts}' ({len(alone)} such folders); both must be there."
        )
    if not any(pair.target.with_name(METADATA).is_file() for pair in files):
        warnings.warn(
            f"The bursts of '{root}' have no {METADATA} that tells how their cameras render (pickles are not opened): "
            "they are rendered as if their sensors saw sRGB.",
            stacklevel=2,
        )
    return Found("SyntheticBurst", files, BURST_SCALE, (read_truth, read_frame), _camera)


def _zurich(root: Path, scale: int | None, split: str | None) -> Found | None:
    base = root / (split or "test")
    if split is None and not base.is_dir():
        base = root
    photographs, mosaics = base / "canon", base / "huawei_raw"
    if not photographs.is_dir():
        return None
    if scale not in (None, ZURICH_SCALE) or not mosaics.is_dir():  # standard bursts are made of the photographs alone
        return Found("Zurich", unpaired(photographs))
    return Found("Zurich", matched(photographs, mosaics), ZURICH_SCALE, (load_rgb, read_mosaic))


def _hide(root: Path, scale: int | None, split: str | None) -> Found | None:
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
    return Found("HIDE", files, 1)


def _reds(root: Path, scale: int | None, split: str | None) -> Found | None:
    name, _, kind = (split or "val").partition("/")
    if name not in ("val", "train"):
        return None
    base = root / name if (root / name / f"{name}_sharp").is_dir() else root
    sharp = base / f"{name}_sharp"
    if not sharp.is_dir():
        return None
    blurred = scale in (None, 1)
    observed = base / (f"{name}_{kind or 'blur'}" if blurred else f"{name}_sharp_bicubic/X{scale}")
    if not observed.is_dir():
        raise DataError(f"'{base}' has no folder '{observed.relative_to(base)}', only {listing(base)}; add it.")
    return Found("REDS", matched(sharp, observed))


def _real_blur(root: Path, scale: int | None, split: str | None) -> Found | None:
    asked = (split or "").split("/")
    camera = next((word for word in asked if word in ("J", "R")), None)
    part = next((word for word in asked if word in ("train", "test")), "test")
    if split is not None and not {camera, part} >= set(asked):
        return None
    lists = [root / _REAL_BLUR_LIST.format(word, part) for word in ([camera] if camera else ["J", "R"])]
    chosen = next((path for path in lists if path.is_file()), None)
    if chosen is None:
        return None
    files = []
    for line in chosen.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            continue
        words = line.split()
        if len(words) < 2:
            raise DataError(
                f"'{chosen}' has the line '{line}', expected a sharp image and a blurred one; copy it again."
            )
        sharp, blurred = (root / word for word in words[:2])
        if missing := next((path for path in (sharp, blurred) if not path.is_file()), None):
            raise DataError(f"'{chosen}' names '{missing}', which is not there; copy the data set again.")
        files.append(PairFiles(f"{sharp.parent.parent.name}/{sharp.stem.removeprefix('gt_')}", sharp, (blurred,)))
    if not files:
        raise DataError(f"'{chosen}' names no images; copy it again.")
    return Found("RealBlur", files, 1)


def _gopro(root: Path, scale: int | None, split: str | None) -> Found | None:
    blur = "blur_gamma" if split is not None and split.split("/")[-1] == "blur_gamma" else "blur"
    part = (split or "").removesuffix("blur_gamma").rstrip("/")
    candidates = [root / part] if part else [root / "test", root]
    for base in candidates:
        scenes = [scene for scene in folders_of(base) if (scene / "sharp").is_dir() and _has_blur(scene)]
        if scenes:
            files = []
            for scene in scenes:
                if not (scene / blur).is_dir():
                    raise DataError(f"The scene '{scene}' has no folder '{blur}', only {listing(scene)}; add it.")
                files += matched(scene / "sharp", scene / blur, prefix=f"{scene.name}/")
            return Found("GoPro", files, 1)
    return None


def _div2k(root: Path, scale: int | None, split: str | None) -> Found | None:
    if split not in (None, "valid", "train"):
        return None
    high = root / f"DIV2K_{split or 'valid'}_HR"
    low = root / f"DIV2K_{split or 'valid'}_LR_bicubic" / f"X{scale or 1}"
    if not high.is_dir():
        return None
    files = matched(high, low) if low.is_dir() else unpaired(high)
    return Found("DIV2K", files)


def _pairs(root: Path, scale: int | None, split: str | None) -> Found | None:
    if split is not None:
        return None
    folders = {path.name.lower(): path for path in folders_of(root)}
    targets = [folders[name] for name in _TARGETS if name in folders]
    if not targets:
        return None
    observations = _observation_folders(folders, scale or 1)
    for role, several in (("targets", targets), ("observations", observations)):
        if len(several) > 1:
            raise DataError(
                f"'{root}' has several folders that could hold the {role}: "
                f"{', '.join(str(path.relative_to(root)) for path in several)}; keep one of them there."
            )
    return Found("pairs", matched(targets[0], observations[0]) if observations else unpaired(targets[0]))


def _camera(truth: Path) -> Camera:
    """The camera of a true image of SyntheticBurst; without metadata one whose sensor sees sRGB."""
    return read_camera(truth) or Camera.neutral()


def _observation_folders(folders: Mapping[str, Path], scale: int) -> list[Path]:
    """The folder that names the scale, or else every one that has a name of observations."""
    for pattern in _OF_SCALE:
        first, *rest = pattern.format(scale).split("/")
        if first not in folders:
            continue
        inner = {path.name.lower(): path for path in folders_of(folders[first])}
        if not rest or rest[0] in inner:
            return [inner[rest[0]] if rest else folders[first]]
    return [folders[name] for name in _OBSERVATIONS if name in folders]


def _has_blur(scene: Path) -> bool:
    return (scene / "blur").is_dir() or (scene / "blur_gamma").is_dir()
