"""Decoded training images in one memory-mapped file: a patch costs a copy, not the decoding of a photograph."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dp_ir.errors import DataError
from dp_ir.image import IMAGE_SUFFIXES, read_image
from dp_ir.image.data_layouts import recognise
from dp_ir.training.fingerprint import Fingerprint, known_images, matching_test_image

_WITHOUT_PARTS = ("GoPro", "pairs")  # layouts whose scenes or folders may lie in the folder that is named


@dataclass(frozen=True)
class StoredImage:
    """Where one image lies in the store."""

    name: str
    height: int
    width: int
    offset: int  # elements from the start of the file


class ImageStore:
    """Images of one folder as a memory-mapped array.

    Args:
        path: file of raw elements; `path` with the suffix .json names the images and their places.
    """

    def __init__(self, path: Path) -> None:
        index = json.loads(path.with_suffix(".json").read_text("utf-8"))
        self.key = path.stem
        self.images = [StoredImage(**entry) for entry in index["images"]]
        self._elements: npt.NDArray[Any] = np.memmap(path, dtype=index["dtype"], mode="r")

    def __len__(self) -> int:
        return len(self.images)

    def crop(self, number: int, top: int, left: int, height: int, width: int) -> npt.NDArray[np.float32]:
        """Cut (3, height, width) float32 in [0, 1] out of image `number`."""
        place = self.images[number]
        size = 3 * place.height * place.width
        image = self._elements[place.offset : place.offset + size].reshape(place.height, place.width, 3)
        patch = image[top : top + height, left : left + width].transpose(2, 0, 1)
        return patch.astype(np.float32) / 255 if patch.dtype == np.uint8 else patch.astype(np.float32)


@contextmanager
def _storing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"Decoded images cannot be stored in '{folder}' ({error}): make room there, or name another folder "
            "(data.cache)."
        ) from error


class StoreWriter:
    """Context manager that writes an `ImageStore`; nothing has its final name before the context ends well.

    Raises:
        DataError: its folder cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._path, self._dtype = path, dtype
        self._partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with _storing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._partial.open("wb")
        self._images: list[dict[str, Any]] = []
        self._elements = 0

    def add(self, name: str, pixels: npt.NDArray[Any]) -> None:
        """Append pixels (H, W, 3) of the store's dtype."""
        height, width, _ = pixels.shape
        with _storing(self._path.parent):
            self._file.write(np.ascontiguousarray(pixels, dtype=self._dtype).tobytes())
        self._images.append({"name": name, "height": height, "width": width, "offset": self._elements})
        self._elements += pixels.size

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, error_type: type[BaseException] | None, error: object, traceback: object) -> None:
        try:
            with _storing(self._path.parent):
                self._file.close()
                if error_type is None:
                    self._partial.replace(self._path)
                    index = self._path.with_suffix(".json")
                    partial = index.with_name(f"{index.name}.{os.getpid()}.partial")
                    partial.write_text(json.dumps({"dtype": self._dtype, "images": self._images}), "utf-8")
                    partial.replace(index)
        finally:
            self._partial.unlink(missing_ok=True)


def default_cache() -> Path:
    """The user's cache folder for decoded images."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dp-ir"


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, sorted by their path.

    Raises:
        DataError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; training needs a folder of images.")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
    if not files:
        raise DataError(f"{folder} holds no image; expected files ending in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return files


def open_store(folder: Path, cache: Path, files: Mapping[str, Path] | None = None) -> ImageStore:
    """Decode images of a folder once (8 bits per channel) and open the result.

    The store is keyed by the files' names, sizes and times, so a changed folder is decoded again.

    Args:
        folder: that holds the images.
        cache: folder for the store.
        files: which of its files, by the names they get; all images below the folder by default.

    Raises:
        DataError: the folder holds no image, or an image of a standard test set.
        ImageReadError: a file cannot be decoded.
    """
    named = {str(f.relative_to(folder)): f for f in image_files(folder)} if files is None else files
    listing = [(str(f.relative_to(folder)), f.stat().st_size, f.stat().st_mtime_ns) for f in named.values()]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), listing]).encode()).hexdigest()[:16]
    path = cache / f"images-{key}.raw"
    if path.with_suffix(".json").is_file():
        return ImageStore(path)
    tests = known_images("test-images")
    with StoreWriter(path, "uint8") as writer:
        for name, file in named.items():
            pixels = read_image(file).pixels
            test_image = matching_test_image(Fingerprint.of(pixels), tests)
            if test_image is not None:
                raise DataError(
                    f"{file} is the image {test_image.name} of the test set {test_image.split}; figures on images that "
                    "were trained on mean nothing: remove it from the folder."
                )
            writer.add(name, (pixels * 255).round())
    return ImageStore(path)


def training_pairs(folder: Path, scale: int) -> dict[str, tuple[Path, Path | None]] | None:
    """The training part of a data set that is laid out as published, or as a pair of folders.

    Args:
        folder: of the data set; see `image.data_layouts`.
        scale: side of a clean image / side of its observation.

    Returns:
        Clean image and observation (None where it is to be made) by name; None for a folder of images as it comes.

    Raises:
        DataError: files do not belong together; only a test part is there; or the observations are RAW data.
    """
    if not folder.is_dir():
        return None
    training = recognise(folder, scale=scale, split="train")
    found = training or recognise(folder, scale=scale)
    if found is None:
        return None
    if found.camera is not None or (found.scale or scale) != scale:
        raise DataError(
            f"{folder} is laid out as {found.layout}, whose observations are not trained on as they are stored: give "
            "the folder of its photographs, which bursts are made of."
        )
    if training is None and (found.layout not in _WITHOUT_PARTS or (folder / "test").is_dir()):
        raise DataError(
            f"{folder} is laid out as {found.layout}, but has no part to train on: add it, or give a folder of images."
        )
    return {pair.name: (pair.target, pair.observations[0] if pair.observations else None) for pair in found.files}
