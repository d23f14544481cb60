"""Synthetic sets: what a task's degradation makes of a folder of clean images, written once to be tested or trained on.

An observation is decided by the seed and the image's name alone: neither the other images of the folder nor their order
change it, and a run that was ended at any moment goes on without making anything twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dp_ir.degradation.chance import image_generator
from dp_ir.errors import DataError, DPIRError
from dp_ir.image import IMAGE_SUFFIXES, from_array, read_image, to_tensor, write_image
from dp_ir.image.files.writing import write_whole
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.synthetic_burst import has_synthetic_burst, write_synthetic_burst
from dp_ir.tasks.task import Task

SETTINGS = "synthetic.json"
"""File beside a synthetic set that says how it was made."""


@dataclass(frozen=True)
class Synthesised:
    """What became of one clean image.

    Args:
        name: of the pair.
        error: one sentence where there is none.
        existed: whether an earlier run had made it.
    """

    name: str
    error: str | None = None
    existed: bool = False


def synthesise(
    task: Task, source: Path, out: Path, *, seed: int = 0, limit: int | None = None, crop: int | None = None
) -> Iterator[Synthesised]:
    """Degrade clean images and write them beside what became of them.

    Images become `out/gt/NAME.png` and `out/lq/NAME.png` with 8 bits, bursts the folders of
    `image.raw.synthetic_burst`. NAME is the path of the clean image below `source`, without its suffix and with "-" for
    "/".

    Args:
        task: gives the degradation.
        source: a folder of clean images, searched with its sub-folders, or one image.
        out: folder of the set.
        seed: of the set.
        limit: take only so many images, the first by name.
        crop: side in pixels of the central square that is used of each image; of a shorter side all is used.

    Yields:
        What became of each image, as it is done; one that cannot be read or is too small ends nothing.

    Raises:
        DataError: no images, two of one name, `out` in `source`, or a set in `out` that was made otherwise.
        ImageWriteError: `out` cannot be written.
    """
    files = clean_images(source, out)
    _keep_settings(out, {"task": task.name, "seed": seed, "crop": crop})
    for name, file in list(files.items())[:limit]:
        if _is_there(out, name):
            yield Synthesised(name, existed=True)
            continue
        try:
            clean = task.crop(_central(_read(file), crop))
            observation = task.degrade(clean, generator=image_generator(name, seed))
        except DPIRError as error:
            yield Synthesised(name, f"'{file}' gives no pair: {error}")
            continue
        _write_pair(out, name, clean, observation)
        yield Synthesised(name)


def clean_images(source: Path, out: Path) -> dict[str, Path]:
    """Clean images by the names of their pairs, in the order of these names; raises DataError as `synthesise`."""
    if out.resolve() == source.resolve() or source.resolve() in out.resolve().parents:
        raise DataError(f"The folder '{out}' for the set lies in '{source}', whose images it is made of: name another.")
    root = source if source.is_dir() else source.parent
    files = [file for file in sorted(source.rglob("*")) if _is_image(file)] if source.is_dir() else [source]
    if not source.exists() or not files:
        found = "holds no images" if source.exists() else "does not exist"
        raise DataError(f"'{source}' {found}: name a clean image, or a folder of them ({', '.join(IMAGE_SUFFIXES)}).")
    named: dict[str, Path] = {}
    for file in files:
        name = "-".join(file.relative_to(root).with_suffix("").parts)
        if name in named:
            raise DataError(f"'{named[name]}' and '{file}' would both be the pair '{name}': rename one of them.")
        named[name] = file
    return dict(sorted(named.items()))


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _read(file: Path) -> Tensor:
    """A clean image (1, 3, H, W) in multiples of 1/255, since that is what is stored of it."""
    return to_tensor(read_image(file)).mul(255).round().div(255)


def _central(clean: Tensor, side: int | None) -> Tensor:
    if side is None:
        return clean
    for dimension in (2, 3):
        size = min(side, clean.shape[dimension])
        clean = clean.narrow(dimension, (clean.shape[dimension] - size) // 2, size)
    return clean


def _keep_settings(out: Path, settings: dict[str, object]) -> None:
    """Write how a set is made, or see that the one that is there was made so."""
    path = out / SETTINGS
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(settings).encode())
        return
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        there = None
    if there != settings:
        raise DataError(
            f"The set in '{out}' was made with {json.dumps(there)}, but {json.dumps(settings)} is asked for: name "
            "another folder, or remove that one."
        )


def _paths(out: Path, name: str) -> tuple[Path, Path]:
    return out / "gt" / f"{name}.png", out / "lq" / f"{name}.png"


def _is_there(out: Path, name: str) -> bool:
    return has_synthetic_burst(out, name) or all(path.is_file() for path in _paths(out, name))


def _write_pair(out: Path, name: str, clean: Tensor, observation: Tensor | Burst) -> None:
    if isinstance(observation, Burst):
        write_synthetic_burst(out, name, observation, observation.camera.sensor(clean))
        return
    for path, image in zip(_paths(out, name), (clean, observation), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
        write_image(path, from_array(levels.numpy()), bit_depth=8)
