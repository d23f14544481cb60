"""Where inputs and results lie: paths of this machine, or URLs of object stores such as s3://bucket/photos/a.jpg.

Everything that fsspec knows is understood (s3, gs, az, sftp, hdfs, https, ...), each where its package is installed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from dp_ir.errors import DPIRError, ImageReadError, ImageWriteError
from dp_ir.extras import require
from dp_ir.image.files.headers import HEAD_BYTES

# A file that is put there appears whole or not at all; other stores get it under another name first.
_WHOLE_UPLOADS = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory"})


@dataclass(frozen=True)
class Url:
    """A file or folder of an object store; names are taken apart and put together as those of `pathlib.Path` are.

    Args:
        text: the whole URL, such as "s3://bucket/photos/a.jpg".
        size: bytes, where a listing said so.
        version: what tells its contents from earlier ones, where a listing said so: an ETag, or a time.
    """

    text: str
    size: int | None = field(default=None, compare=False)
    version: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str | PurePosixPath | Path) -> Url:
        return Url(f"{self.text.rstrip('/')}/{PurePosixPath(name)}")

    @property
    def path(self) -> PurePosixPath:
        """The URL without its protocol: bucket and key."""
        return PurePosixPath(self.text.split("://", 1)[1])

    @property
    def protocol(self) -> str:
        """What comes before ://."""
        return self.text.split("://", 1)[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self.path.stem

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot."""
        return self.path.suffix

    @property
    def parent(self) -> Url:
        """The folder that it lies in."""
        return Url(f"{self.protocol}://{self.path.parent}")

    def with_name(self, name: str) -> Url:
        """Another file of the same folder."""
        return self.parent / name

    def is_below(self, folder: object) -> bool:
        """Whether this lies in a folder, at any depth."""
        return isinstance(folder, Url) and folder.protocol == self.protocol and self.path.is_relative_to(folder.path)

    def resolve(self) -> Url:
        """Itself; so that locations can be compared, whatever they are."""
        return self

    def is_dir(self) -> bool:
        """False: stores of objects have no folders of their own, and a name with an image's suffix is a file."""
        return False


Location: TypeAlias = Path | Url
"""Where a file or a folder is."""


def location_of(named: str | Path | Url) -> Location:
    """What a text names: a URL where there is a protocol in it, else a path; file:// URLs are paths."""
    if isinstance(named, Path | Url):
        return named
    if named.startswith("file://"):
        return Path(named.removeprefix("file://"))
    protocol, separator, rest = named.partition("://")
    if separator and protocol.isalnum() and rest:
        return Url(named.rstrip("/"))
    return Path(named)


def files_below(folder: Url) -> Iterator[Url]:
    """Every file of a folder and below, or the file of that name, with sizes and versions, sorted.

    Raises:
        MissingExtraError: fsspec is not installed.
        ImageReadError: the store cannot be reached or listed.
    """
    system, root = _system(folder)
    try:
        system.invalidate_cache()
        if system.isfile(root):
            yield _with_details(folder, system.info(root))
            return
        found = system.find(root, detail=True) if system.exists(root) else {}
    except Exception as error:  # stores fail with errors of every type
        raise ImageReadError(
            f"{folder} cannot be listed ({_reason(error)}): check the path and your rights."
        ) from error
    for name in sorted(found):
        yield _with_details(folder / name[len(root) :].lstrip("/"), found[name])


def matching(pattern: Url) -> Iterator[Url]:
    """Files that a pattern matches (`**` reaches into sub-folders), sorted; raises as `files_below`."""
    system, path = _system(pattern)
    try:
        system.invalidate_cache()
        found = system.glob(path, detail=True)
    except Exception as error:
        raise ImageReadError(f"{pattern} cannot be listed ({_reason(error)}): check the pattern.") from error
    for name in sorted(found):
        if found[name].get("type") != "directory":
            yield _with_details(Url(f"{pattern.protocol}://{name.lstrip('/')}"), found[name])


def download(source: Url, target: Path) -> None:
    """Copy a file of a store to this machine; raises ImageReadError."""
    try:
        system, path = _system(source)
        system.get_file(path, str(target))
    except DPIRError:
        raise
    except Exception as error:
        raise ImageReadError(
            f"{source} cannot be fetched ({_reason(error)}): check the path and your rights."
        ) from error


def upload(source: Path, target: Url) -> None:
    """Copy a file of this machine to a store, where it appears whole or not at all; raises ImageWriteError."""
    try:
        system, path = _system(target)
        if target.protocol in _WHOLE_UPLOADS:
            system.put_file(str(source), path)
            return
        system.makedirs(_system(target.parent)[1], exist_ok=True)
        _, beside = _system(target.with_name(f".{target.name[:100]}.{secrets.token_hex(6)}.part"))
        try:
            system.put_file(str(source), beside)
            system.mv(beside, path)
        finally:
            if system.exists(beside):
                system.rm_file(beside)
    except DPIRError:
        raise
    except Exception as error:
        raise ImageWriteError(
            f"{target} cannot be written ({_reason(error)}): check the path and your rights."
        ) from error


def read_bytes(source: Url) -> bytes:
    """The content of a file of a store; raises ImageReadError."""
    try:
        system, path = _system(source)
        return bytes(system.cat_file(path))
    except DPIRError:
        raise
    except Exception as error:
        raise ImageReadError(f"{source} cannot be read ({_reason(error)}): check the path and your rights.") from error


def read_heads(sources: Sequence[Url]) -> list[bytes]:
    """The first `HEAD_BYTES` bytes of each file of a store, asked for together; nothing of what cannot be read.

    Args:
        sources: of one store.
    """
    if not sources:
        return []
    system, _ = _system(sources[0])
    paths = [_system(source)[1] for source in sources]
    try:
        found = system.cat_ranges(paths, [0] * len(paths), [HEAD_BYTES] * len(paths), on_error="return")
    except Exception:  # stores fail with errors of every type, some without looking at on_error
        return [b""] * len(paths)
    return [bytes(head) if isinstance(head, bytes) else b"" for head in found]


def _with_details(url: Url, details: dict[str, Any]) -> Url:
    marks = (
        details.get(key) for key in ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "created")
    )
    version = next((str(mark) for mark in marks if mark), "")
    return Url(url.text, size=details.get("size"), version=version)


def _system(url: Url) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    fsspec = require("fsspec", str(url), "ray")
    try:
        system, path = fsspec.core.url_to_fs(url.text)
    except Exception as error:
        raise DPIRError(
            f"{url} cannot be reached ({_reason(error)}): expected a path, or a URL whose package is installed."
        ) from error
    return system, path


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
