"""The folder of a server: photos as they were uploaded, and what became of them. A server that starts anew reads it.

`photos/ID/` holds `photo.json`, the file (or `frames/`), and `tiles/`; `jobs/ID/` holds `job.json`, the result, and the
tiles of its layers. A record is replaced as a whole.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from dp_ir.errors import ImageReadError
from dp_ir.image.files.headers import FORMATS
from dp_ir.image.files.writing import IMAGE_SUFFIXES
from dp_ir.image.raw.raw_files import RAW_SUFFIXES
from dp_ir.interfaces.web.models import Job, Photo

_Record = TypeVar("_Record", bound=BaseModel)
_READ_ONLY = (".gif", ".ppm", ".pgm", ".pnm")  # suffixes of photos whose results are PNG files
_LONGEST_NAME = 120  # bytes, so that names made from it fit into any file system


def checked_name(name: str) -> str:
    """The name of an uploaded file; raises ImageReadError where it is none, or not that of a photo."""
    plain = name.isprintable() and not name.startswith(".") and not set(name) & set("/\\:")
    if not plain or not name or len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise ImageReadError(
            f"The name {name[:80]!r} was given: expected that of a file, at most {_LONGEST_NAME} bytes long, without "
            "a path."
        )
    if Path(name).suffix.lower() not in (*IMAGE_SUFFIXES, *_READ_ONLY, *RAW_SUFFIXES):
        raise ImageReadError(
            f"'{name}' was given: expected {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, or a RAW file; convert it first."
        )
    return name


def is_raw(name: str) -> bool:
    """Whether a file is a RAW frame, by its name."""
    return Path(name).suffix.lower() in RAW_SUFFIXES


def result_suffix(name: str) -> str:
    """The suffix of the result of a photo: its own, or that of a PNG file where its format is not written."""
    suffix = Path(name).suffix.lower()
    return suffix if suffix in IMAGE_SUFFIXES else ".png"


def new_id() -> str:
    """An identity that cannot be guessed."""
    return secrets.token_hex(8)


class Shelf:
    """Records and files below a folder.

    Args:
        folder: made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("photos", "jobs"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def photo_folder(self, photo: Photo) -> Path:
        """Of a photo."""
        return self.folder / "photos" / photo.id

    def job_folder(self, job: Job) -> Path:
        """Of a job."""
        return self.folder / "jobs" / job.id

    def source(self, photo: Photo) -> Path:
        """The file of a photo, or the folder of the frames of a burst."""
        return self.photo_folder(photo) / "frames" if photo.burst else self.photo_folder(photo) / "file" / photo.name

    def result(self, job: Job) -> Path:
        """The file of a result."""
        return self.job_folder(job) / "result" / job.result

    def keep(self, record: Photo | Job) -> None:
        """Write a record."""
        folder, name = (
            (self.photo_folder(record), "photo") if isinstance(record, Photo) else (self.job_folder(record), "job")
        )
        folder.mkdir(exist_ok=True)
        new = folder / f"{name}.new"
        new.write_text(record.model_dump_json(), "utf-8")
        new.replace(folder / f"{name}.json")

    def forget(self, record: Photo | Job) -> None:
        """Remove a record with its files."""
        shutil.rmtree(
            self.photo_folder(record) if isinstance(record, Photo) else self.job_folder(record), ignore_errors=True
        )

    def photos(self) -> list[Photo]:
        """Those on the disk whose files are there, in order; what uploads left that were cut off is removed."""
        found = sorted(self._records("photos", "photo", Photo), key=lambda photo: photo.number)
        return [photo for photo in found if self.source(photo).exists()]

    def jobs(self) -> list[Job]:
        """Those on the disk, in order; those that were under way are queued again."""
        found = sorted(self._records("jobs", "job", Job), key=lambda job: job.number)
        for job in found:
            if job.state == "running":
                job.state, job.share = "queued", 0.0
            if job.spread in ("queued", "running"):
                job.spread = ""
        return found

    def _records(self, folder: str, name: str, kind: type[_Record]) -> Iterator[_Record]:
        for place in (self.folder / folder).iterdir():
            try:
                yield kind.model_validate_json((place / f"{name}.json").read_bytes())
            except (OSError, ValidationError):
                shutil.rmtree(place, ignore_errors=True)
