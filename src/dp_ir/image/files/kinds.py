"""What kind a file is, told by its first bytes: which files of a folder are images, and what the others are."""

from __future__ import annotations

from pathlib import Path

from dp_ir.image.files.headers import HEAD_BYTES, describe_foreign, identify
from dp_ir.image.files.writing import IMAGE_SUFFIXES
from dp_ir.image.raw.raw_files import RAW_SUFFIXES


def head_of(path: Path) -> bytes:
    """The first `HEAD_BYTES` bytes of a file; nothing of what is no file, such as a pipe, or cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def is_image_file(path: Path) -> bool:
    """Whether a file of a folder is taken for an image: by its suffix, or by its content; RAW files are none."""
    return is_image_name(path.suffix) or is_image_head(path.suffix, head_of(path))


def is_image_name(suffix: str) -> bool:
    """Whether a file with this suffix is taken for an image without a look at it; what else it holds is said then."""
    return suffix.lower() in IMAGE_SUFFIXES


def is_image_head(suffix: str, head: bytes) -> bool:
    """Whether a file with this suffix begins like an image that can be read."""
    kind = identify(head)
    return kind is not None and not (kind == "TIFF" and suffix.lower() in RAW_SUFFIXES)  # RAW files begin like TIFF


def kind_of(suffix: str, head: bytes) -> str:
    """What a file that is no image is called where such files are counted: "HEIC", "camera RAW", ".txt"."""
    if suffix.lower() in RAW_SUFFIXES:
        return "camera RAW"
    described = describe_foreign(head)
    if not described.startswith("no "):
        return described.removeprefix("an ").removeprefix("a ").removesuffix(" file")
    return suffix.lower() or "without suffix"
