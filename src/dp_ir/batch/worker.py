"""What handles the jobs of a batch, here or in another process: networks that are loaded once, and files at hand."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dp_ir.batch.locations import Location, Url, download, files_below, upload
from dp_ir.batch.plan import Job, LocalJob
from dp_ir.batch.restoring import largest_scale, restore_file
from dp_ir.errors import DPIRError
from dp_ir.image.files.reading import image_size
from dp_ir.image.picture.crop import Box
from dp_ir.image.picture.photo_facts import PhotoFacts
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.tiling.tiled_networks import Progress
from dp_ir.runtime.allocator import keep_freed_memory


class Worker:
    """Handles jobs one after the other; it can be sent to other processes, each of which loads its own networks.

    Args:
        load: reads the networks of a bundle; called once for each that is needed.
        bundle: what restores, or what chooses it by width and height of a photo, in pixels.
        settings: keyword arguments of `restore_file`, such as `seed`.
        look: makes what is recorded of a photo of its name and its facts; without it these are not measured.
    """

    def __init__(
        self,
        load: Callable[[str], Restoration],
        bundle: str | Callable[[int, int], str],
        settings: Mapping[str, Any],
        look: Callable[[str, PhotoFacts], Mapping[str, Any]] | None = None,
    ) -> None:
        self._load, self._bundle, self._settings, self._look = load, bundle, dict(settings), look
        self._loaded: dict[str, Restoration] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loaded": {}}

    def prepare(self) -> None:
        """Load what every job needs, so that what no job can be done with is said once; raises DPIRError."""
        if isinstance(self._bundle, str):
            self._restoration(self._bundle)

    def __call__(self, job: Job, progress: Progress | None = None) -> dict[str, Any]:
        """Restore one source and write all of its results; `progress` is told how far it is, 0 to 1.

        Returns:
            What is recorded of the photo.

        Raises:
            DPIRError: as `restore_file`.
        """
        found: dict[str, Any] = {}
        look = self._look
        looking = None if look is None else lambda facts: found.update(look(job.source.name, facts))
        with at_hand(job) as local:
            restore_file(self._suited(local.source), local, look=looking, progress=progress, **self._settings)
        return found

    def _suited(self, source: Path) -> Restoration:
        if isinstance(self._bundle, str):
            return self._restoration(self._bundle)
        crop: Box | None = self._settings.get("crop")
        height, width = image_size(source) if crop is None else (crop[3], crop[2])
        return self._restoration(self._bundle(width, height))

    def _restoration(self, bundle: str) -> Restoration:
        if bundle not in self._loaded:
            keep_freed_memory()  # the process restores one image after the other
            self._loaded[bundle] = self._load(bundle)
        restoration = self._loaded[bundle]
        if (size := self._settings.get("size")) is not None:
            size.check_factor(largest_scale(restoration))
        return restoration


@contextmanager
def at_hand(job: Job) -> Iterator[LocalJob]:
    """A job with its files on this machine: those of a store are fetched before, and put there whole afterwards.

    Raises:
        ImageReadError, ImageWriteError: a file cannot be fetched or put where it belongs. Errors within name the files
            as the job does.
    """
    if isinstance(job.source, Path) and isinstance(job.target, Path):
        yield LocalJob(job.source, job.target, job.samples)
        return
    with tempfile.TemporaryDirectory(prefix="dp-ir-") as scratch:
        folder = Path(scratch)
        source = job.source if isinstance(job.source, Path) else _fetched(job.source, folder / "in")
        target = job.target if isinstance(job.target, Path) else folder / "out" / job.target.name
        target.parent.mkdir(exist_ok=True)
        local = LocalJob(source, target, job.samples)
        try:
            yield local
        except DPIRError as error:
            error.args = (_renamed(str(error), {source: job.source, target.parent: job.target.parent}),)
            raise
        for path, place in zip(local.targets, job.targets, strict=True):
            if isinstance(place, Url):
                upload(path, place)


def _fetched(source: Url, folder: Path) -> Path:
    """The copy of a file, or of the frames of a burst, which lie directly in their folder."""
    copy = folder / source.name
    files = [file for file in files_below(source) if file == source or file.parent == source]
    for file in files:
        path = copy if file == source else copy / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        download(file, path)
    return copy


def _renamed(text: str, names: Mapping[Path, Location]) -> str:
    for here, there in names.items():
        text = text.replace(str(here), str(there))
    return text
