"""Decoded training images in one memory-mapped file: a patch costs a copy, not the decoding of a photograph."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dp_ir.batch.folders import images_in
from dp_ir.datasets.layouts import recognise
from dp_ir.errors import DataError, ImageReadError
from dp_ir.image import read_image
from dp_ir.image.files.headers import FORMATS
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
        self._sha256: str | None = index.get("sha256")  # of the elements; stores of before do not say

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def identity(self) -> str:
        """What the images are, wherever they lie: how many, and a hash of their names, sizes and pixels."""
        pixels = self._sha256 or hashlib.sha256(self._elements.data).hexdigest()
        places = [(image.name, image.height, image.width) for image in self.images]
        return f"{len(self)} images, sha256 {hashlib.sha256(json.dumps([places, pixels]).encode()).hexdigest()[:16]}"

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
        self._elements, self._digest = 0, hashlib.sha256()

    def add(self, name: str, pixels: npt.NDArray[Any]) -> None:
        """Append pixels (H, W, 3) of the store's dtype."""
        height, width, _ = pixels.shape
        elements = np.ascontiguousarray(pixels, dtype=self._dtype).tobytes()
        with _storing(self._path.parent):
            self._file.write(elements)
        self._digest.update(elements)
        self._images.append({"name": name, "height": height, "width": width, "offset": self._elements})
        self._elements += pixels.size

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, error_type: type[BaseException] | None, error: object, traceback: object) -> None:
        index = self._path.with_suffix(".json")
        partial_index = index.with_name(f"{index.name}.{os.getpid()}.partial")
        content = {"dtype": self._dtype, "images": self._images, "sha256": self._digest.hexdigest()}
        try:
            with _storing(self._path.parent):
                self._file.close()
                if error_type is None:
                    partial_index.write_text(json.dumps(content), "utf-8")
                    self._partial.replace(self._path)
                    partial_index.replace(index)
        finally:
            with suppress(OSError):  # what went wrong before matters more than a leftover
                self._partial.unlink(missing_ok=True)
                partial_index.unlink(missing_ok=True)


def default_cache() -> Path:
    """The user's cache folder for decoded images.

    Raises:
        DataError: there is no home folder to put it in.
    """
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "dp-ir"
    try:
        return Path.home() / ".cache" / "dp-ir"
    except RuntimeError as error:
        raise DataError(
            f"There is no home folder for decoded images ({error}): name a folder for them (data.cache)."
        ) from error


def image_files(folder: Path) -> list[Path]:
    """The images below a folder that `dp-ir restore` would take, sorted by their path; hidden ones are left out.

    Raises:
        DataError: the folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; training needs a folder of images.")
    files = sorted(images_in(folder))
    if not files:
        raise DataError(f"{folder} holds no image; expected {', '.join(FORMATS)} files.")
    return files


def named_images(folder: Path) -> dict[str, Path]:
    """The images below a folder by their names in a store: their paths below it; raises as `image_files`."""
    return {str(file.relative_to(folder)): file for file in image_files(folder)}


def open_store(folder: Path, cache: Path, files: Mapping[str, Path]) -> ImageStore:
    """Decode images of a folder once (8 bits per channel) and open the result.

    The store is keyed by the files' names, sizes and times, so a changed folder is decoded again.

    Args:
        folder: that holds the images.
        cache: folder for the store.
        files: which of its files, by the names they get; see `named_images`.

    Raises:
        DataError: files cannot be decoded, or are images of a standard test set; all of them are named.
    """
    listing = [(str(file.relative_to(folder)), *_stamp(file)) for file in files.values()]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), listing]).encode()).hexdigest()[:16]
    path = cache / f"images-{key}.raw"
    if path.with_suffix(".json").is_file():
        return ImageStore(path)
    tests = known_images("test-images")
    bad: list[str] = []
    with StoreWriter(path, "uint8") as writer:
        for name, file in files.items():
            try:
                pixels = read_image(file).pixels
            except ImageReadError as error:
                reason = str(error).removeprefix(f"'{file}' ").partition(", expected")[0].rstrip(".")
                bad.append(f"{file.relative_to(folder)} ({reason})")
                continue
            test_image = matching_test_image(Fingerprint.of(pixels), tests)
            if test_image is not None:
                bad.append(
                    f"{file.relative_to(folder)} (is the image {test_image.name} of the test set {test_image.split}; "
                    "figures on images that were trained on mean nothing)"
                )
            if not bad:
                writer.add(name, (pixels * 255).round())
        if bad:
            raise DataError(
                f"{len(bad)} of {len(files)} images in {folder} cannot be trained on, remove or replace them: "
                f"{', '.join(bad)}."
            )
    return ImageStore(path)


def _stamp(file: Path) -> tuple[int, int]:
    """Size and time of a file; zeros of a broken link, which is named when it is read."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def training_pairs(folder: Path, scale: int) -> dict[str, tuple[Path, Path | None]] | None:
    """The training part of a data set that is laid out as published, or as a pair of folders.

    Args:
        folder: of the data set; see `datasets.layouts`.
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
