"""From whatever a person has as an image to a tensor, and from the result back to the same kind of thing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dp_ir.errors import ImageReadError
from dp_ir.image.files.encoding import encode
from dp_ir.image.files.headers import MAX_PIXELS
from dp_ir.image.files.reading import read_image
from dp_ir.image.picture.crop import Box, crop_burst, crop_picture
from dp_ir.image.picture.lazy_picture import LazyPicture
from dp_ir.image.picture.memory import from_array, from_pil, to_pil
from dp_ir.image.picture.picture import Picture, to_tensor, with_pixels
from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.burst_files import read_burst
from dp_ir.restoration.tiling.windows import Window

ImageLike: TypeAlias = Burst | Picture | Image.Image | NDArray[Any] | Tensor | str | os.PathLike[str] | bytes | BinaryIO
"""What can be restored; a tensor is (B, 3, H, W) or (3, H, W), floating point in [0, 1]; bytes, a file's content."""

_OVERSHOOT = 0.5  # noisy or resampled observations leave [0, 1]; ranges such as 0..255 or -1..1 leave it by more


class Observation(Protocol):
    """An image as the networks see it, and the way back."""

    tensor: Tensor
    """(B, 3, H, W), or of a burst (1, N, 4, h, w), float32 in [0, 1], on the CPU or where the given tensor was."""

    def encode(self, restored: Tensor) -> Tensor:
        """What the restorer returned as sRGB in [0, 1], the space that diffusion runs in."""
        ...

    def picture(self, result: Tensor) -> Any:
        """A result (B, 3, H', W') in [0, 1] as the kind of image that was given."""
        ...

    def measurement(self, values: Tensor) -> Any:
        """Per-pixel values (B, 3, H', W') that are no image, such as a standard deviation, as floats."""
        ...

    def stack(self, samples: Sequence[Any]) -> Any:
        """Several results of `picture` as one: a stacked array where they are arrays, else a tuple."""
        ...


class FileObservation(Protocol):
    """An image that came from a file, of which parts can be had, and of its result bands of rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, 3, H, W), or of a burst (1, N, 4, h, w)."""
        ...

    def read(self, window: Window) -> Tensor:
        """A part of it, float32 in [0, 1]."""
        ...

    def encode(self, restored: Tensor) -> Tensor:
        """As of `Observation`."""
        ...

    def measurement(self, values: Tensor) -> Any:
        """As of `Observation`."""
        ...

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of the picture of a result (1, 3, height, width)."""
        ...

    def window(self, top: int, bottom: int, height: int, width: int) -> Window:
        """The part of such a result that the rows from `top` to `bottom` of its picture show."""
        ...

    def band(self, part: Tensor, top: int, height: int) -> Picture:
        """That part (1, 3, h, w), in [0, 1], as rows of a picture of this height, from `top` on."""
        ...


def observe_file(source: Picture | LazyPicture | Burst) -> FileObservation:
    """Take what was read from a file; parts are for restorers that keep the size of an image."""
    if isinstance(source, Burst):
        return _BurstObservation(source)
    return _PartsObservation(source) if isinstance(source, LazyPicture) else _PictureObservation(source)


def observe(image: ImageLike, *, burst: bool = False) -> Observation:
    """Take an image of any kind, or a burst.

    Args:
        image: what was given; a path leads to an image, or where a burst is asked for to what `read_burst` reads.
        burst: whether the restorer takes bursts.

    Raises:
        ImageReadError: it is not an image, not readable, empty, not finite, or of another range than [0, 1]; an image
            where a burst is asked for, or the reverse.
    """
    if isinstance(image, str | os.PathLike):
        image = read_source(Path(image), burst=burst)
    elif not burst and (isinstance(image, bytes | bytearray | memoryview) or hasattr(image, "read")):
        image = read_image(cast(bytes, image))
    if burst and not isinstance(image, Burst):
        raise ImageReadError(
            f"{_named(image)} was given, but the restorer takes bursts: give a folder of frames, a RAW file or a Burst."
        )
    if isinstance(image, Burst) and not burst:
        raise ImageReadError(
            "A burst was given, but the restorer takes single images: use a bundle whose restorer takes bursts."
        )
    if isinstance(image, Burst):
        return _BurstObservation(image)
    if isinstance(image, Tensor):
        return _TensorObservation(image)
    if isinstance(image, np.ndarray):
        return _ArrayObservation(image)
    if isinstance(image, Image.Image):
        return _PILObservation(from_pil(image))
    if isinstance(image, Picture):
        return _PictureObservation(image)
    raise ImageReadError(
        f"{_named(image)} was given as an image: expected a path, bytes, an open file, a Picture, a PIL image, a "
        "numpy array (H, W, 3) or a tensor (B, 3, H, W)."
    )


def read_source(path: Path, *, burst: bool, crop: Box | None = None, max_pixels: int = MAX_PIXELS) -> Picture | Burst:
    """Read an image or a burst, or a part of it.

    Args:
        path: of an image; of a burst, its folder or its one file.
        burst: whether it is a burst.
        crop: the part; None for the whole.
        max_pixels: limit on width times height of the image, or of each frame.

    Raises:
        ImageReadError: as `read_image` and `read_burst`; or it has no such part.
        MissingExtraError: RAW files without the extra `raw`.
    """
    if burst:
        frames = read_burst(path, max_pixels=max_pixels)
        return frames if crop is None else crop_burst(frames, crop)
    picture = read_image(path, max_pixels=max_pixels)
    return picture if crop is None else crop_picture(picture, crop)


def _named(given: object) -> str:
    return f"An object of type {type(given).__name__}"


class _Readable:
    """What is at hand as a tensor can be read part by part."""

    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def read(self, window: Window) -> Tensor:
        return window.of(self.tensor)


class _BurstObservation(_Readable):
    """A burst: results are upright pictures of 16 bits, rendered by the burst's own camera, with its metadata."""

    def __init__(self, burst: Burst) -> None:
        self._source = burst
        self.tensor = burst.frames[None]

    def encode(self, restored: Tensor) -> Tensor:
        return self._source.camera.render(restored)

    def picture(self, result: Tensor) -> Picture:
        pixels = np.clip(self.measurement(result), 0.0, 1.0)
        return Picture(pixels, bit_depth=16, metadata=self._source.metadata, format="RAW")

    def measurement(self, values: Tensor) -> NDArray[np.float32]:
        if self._source.mirrored:
            values = values.flip(-1)
        upright = torch.rot90(values[0], self._source.turns, (-2, -1))
        return np.array(upright.permute(1, 2, 0).float().cpu().numpy(), order="C")

    def size(self, height: int, width: int) -> tuple[int, int]:
        return (width, height) if self._source.turns % 2 else (height, width)

    def window(self, top: int, bottom: int, height: int, width: int) -> Window:
        turns = self._source.turns % 4
        if turns % 2 == 0:
            return Window(top if turns == 0 else height - bottom, 0, bottom - top, width)
        # A quarter turn counter-clockwise makes the last column the first row; mirroring swaps first and last.
        from_right = (turns == 1) != self._source.mirrored
        return Window(0, width - bottom if from_right else top, height, bottom - top)

    def band(self, part: Tensor, top: int, height: int) -> Picture:
        return self.picture(part)

    def stack(self, samples: Sequence[Any]) -> Any:
        return tuple(samples)


class _PictureObservation(_Readable):
    """A picture: alpha, greyness, bit depth, profile and metadata go through to the result.

    Args:
        picture: the picture.
        colourless: whether the result shall have no colours, because the whole that the picture is a part of has none.
    """

    def __init__(self, picture: Picture, *, colourless: bool | None = None) -> None:
        self._source = picture
        self._colourless = picture.colourless if colourless is None else colourless
        self.tensor = to_tensor(picture)

    def encode(self, restored: Tensor) -> Tensor:
        return restored

    def picture(self, result: Tensor) -> Any:
        return self._picture(result)

    def _picture(self, result: Tensor) -> Picture:
        return with_pixels(self._source, self._grey(result))

    def size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def window(self, top: int, bottom: int, height: int, width: int) -> Window:
        return Window(top, 0, bottom - top, width)

    def band(self, part: Tensor, top: int, height: int) -> Picture:
        return with_pixels(self._source, self._grey(part), within=(top, height))

    def _grey(self, result: Tensor) -> Tensor:
        return result.mean(1, keepdim=True).expand(-1, 3, -1, -1) if self._colourless else result

    def measurement(self, values: Tensor) -> Any:
        return values[0].permute(1, 2, 0).cpu().numpy()

    def stack(self, samples: Sequence[Any]) -> Any:
        return tuple(samples)


class _PartsObservation:
    """A photograph that is kept as it is stored; its result has its size."""

    def __init__(self, parts: LazyPicture) -> None:
        self._parts = parts
        self.shape: tuple[int, ...] = (1, 3, *parts.size)

    def read(self, window: Window) -> Tensor:
        return to_tensor(self._parts.part(*window))

    def encode(self, restored: Tensor) -> Tensor:
        return restored

    def measurement(self, values: Tensor) -> Any:
        return values[0].permute(1, 2, 0).cpu().numpy()

    def size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def window(self, top: int, bottom: int, height: int, width: int) -> Window:
        return Window(top, 0, bottom - top, width)

    def band(self, part: Tensor, top: int, height: int) -> Picture:
        source = self._parts.part(top, 0, part.shape[-2], part.shape[-1])
        observation = _PictureObservation(source, colourless=self._parts.colourless)
        return observation.band(part, 0, part.shape[-2])


class _ArrayObservation(_PictureObservation):
    """A numpy array: results have its type and its number of dimensions and channels."""

    def __init__(self, array: NDArray[Any]) -> None:
        super().__init__(from_array(array))
        self._dtype, self._flat = array.dtype, array.ndim == 2

    def picture(self, result: Tensor) -> Any:
        picture = self._picture(result)
        encoded = encode(picture, bit_depth=picture.bit_depth, with_grey=True, with_alpha=True, with_profile=True)
        values = encoded.values[..., 0] if self._flat else encoded.values
        return values >= 128 if self._dtype == np.bool_ else values.astype(self._dtype)

    def stack(self, samples: Sequence[Any]) -> Any:
        return np.stack(samples)


class _PILObservation(_PictureObservation):
    """A PIL image: results are PIL images, or pictures where it has more than 8 bits, which PIL has no colours for."""

    def picture(self, result: Tensor) -> Any:
        picture = self._picture(result)
        return to_pil(picture) if picture.bit_depth == 8 else picture


class _TensorObservation:
    """A tensor: results have its number of dimensions, its type and its device."""

    def __init__(self, given: Tensor) -> None:
        if given.ndim not in (3, 4) or given.shape[-3] != 3 or given.numel() == 0 or not given.is_floating_point():
            raise ImageReadError(
                f"A tensor {tuple(given.shape)} of {given.dtype} was given as an image: expected floating point "
                "(B, 3, H, W) or (3, H, W) in [0, 1] with no side of 0."
            )
        self.tensor = given.detach().float().reshape(-1, *given.shape[-3:])
        if not bool(torch.isfinite(self.tensor).all()):
            raise ImageReadError("The tensor given as an image holds NaN or infinity: repair or mask it first.")
        low, high = float(self.tensor.min()), float(self.tensor.max())
        if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
            raise ImageReadError(
                f"The tensor given as an image runs from {low:.4g} to {high:.4g}, expected [0, 1]: divide it by 255 or "
                "map [-1, 1] to [0, 1]."
            )
        self._like = given

    def encode(self, restored: Tensor) -> Tensor:
        return restored

    def picture(self, result: Tensor) -> Tensor:
        return self.measurement(result).to(self._like.dtype)

    def measurement(self, values: Tensor) -> Tensor:
        values = values.to(self._like.device)
        return values if self._like.ndim == 4 else values[0]

    def stack(self, samples: Sequence[Any]) -> Any:
        return torch.stack(list(samples))
