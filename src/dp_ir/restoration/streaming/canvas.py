"""Images that do not fit into memory: kept in a file, read and written part by part.

Plain reads and writes are used, not a memory map: what is held is then what was asked for, whatever the system caches.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from dp_ir.diffusion.noise import randn_parts
from dp_ir.errors import ImageWriteError
from dp_ir.restoration.tiling.windows import Window

_VALUE = 4  # bytes of a float32
_AT_ONCE = 1 << 22  # values of noise that are drawn at a time


class Canvas:
    """An image (C, H, W) of float32 in a temporary file, which is gone when the canvas is closed or the process ends.

    Args:
        shape: (C, H, W).
        folder: where the file lies.

    Raises:
        ImageWriteError: the file cannot be made, read or written.

    Examples:
        >>> with Canvas((3, 4, 5), Path(".")) as canvas:
        ...     canvas.write(1, torch.ones(3, 2, 5))
        ...     canvas.read(Window(0, 0, 4, 1))[0, 0, :, 0]
        tensor([0., 1., 1., 0.])
    """

    def __init__(self, shape: tuple[int, int, int], folder: Path) -> None:
        self.shape, self._folder = shape, folder
        try:
            # Where the system has it, the file never gets a name, so that not even a killed process leaves it behind.
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".dp-ir-", suffix=".part", buffering=0)  # noqa: SIM115
            self._file.truncate(_VALUE * shape[0] * shape[1] * shape[2])
        except OSError as error:
            raise self._failed(error) from error

    def read(self, window: Window) -> Tensor:
        """A part of the image: (1, C, height, width)."""
        channels, height, width = self.shape
        part = torch.empty(channels, window.height, window.width)
        values = part.numpy()
        if window.width == width:
            for channel in range(channels):
                self._read(values[channel], (channel * height + window.top) * width)
        else:
            for channel in range(channels):
                for row in range(window.height):
                    self._read(values[channel, row], (channel * height + window.top + row) * width + window.left)
        return part[None]

    def rows(self, top: int, number: int) -> Tensor:
        """Whole rows of the image: (1, C, number, W)."""
        return self.read(Window(top, 0, number, self.shape[2]))

    def write(self, top: int, rows: Tensor) -> None:
        """Replace rows from `top` on by (C, rows, W) or (1, C, rows, W)."""
        _, height, width = self.shape
        values = rows.reshape(-1, *rows.shape[-2:]).float().cpu()
        for channel, plane in enumerate(values):
            self._write(plane.contiguous(), (channel * height + top) * width)

    def draw_noise(self, generator: torch.Generator) -> None:
        """Fill the image with what `torch.randn` of its shape gives."""
        for offset, values in randn_parts(self.shape[0] * self.shape[1] * self.shape[2], generator, _AT_ONCE):
            self._write(values, offset)

    def _read(self, into: object, offset: int) -> None:
        view = memoryview(into).cast("B")  # type: ignore[arg-type]
        done = 0
        while done < len(view):
            try:
                self._file.seek(_VALUE * offset + done)
                got = self._file.readinto(view[done:])
            except OSError as error:
                raise self._failed(error) from error
            if got == 0:
                raise self._failed(OSError("it ended early"))
            done += got

    def _write(self, values: Tensor, offset: int) -> None:
        view = memoryview(values.numpy()).cast("B")  # type: ignore[arg-type]
        done = 0
        while done < len(view):
            try:
                self._file.seek(_VALUE * offset + done)
                done += self._file.write(view[done:])
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> ImageWriteError:
        reason = error.strerror or str(error) or type(error).__name__
        return ImageWriteError(
            f"A temporary file in '{self._folder}' cannot be used ({reason}), expected a folder with room for images "
            "larger than memory: choose another output folder."
        )

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    def __enter__(self) -> Canvas:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_disk_space(folder: Path, needed: int, name: str) -> None:
    """See that there is room for temporary files.

    Raises:
        ImageWriteError: naming what is needed and what there is.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ImageWriteError(
            f"{name} does not fit into memory and needs {needed / 1e9:.1f} GB of disk space beside its result, but "
            f"'{folder}' has {free / 1e9:.1f} GB: make room, choose another output folder, or restore a part of it."
        )
