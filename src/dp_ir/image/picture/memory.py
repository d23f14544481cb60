"""Pictures from and to objects in memory: numpy arrays and PIL images."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dp_ir.errors import ImageReadError
from dp_ir.image.files.encoding import encode
from dp_ir.image.files.samples import Samples, check_floats, scaled, split_alpha, to_picture
from dp_ir.image.formats.png_colour import described_profile
from dp_ir.image.metadata.metadata import Metadata, Room, fitted, gathered
from dp_ir.image.metadata.resolution import Resolution
from dp_ir.image.picture.picture import Picture

# Arrays carry no profile that would explain colours outside [0, 1]; a little overshoot of a filter is expected.
_OVERSHOOT = 0.1


def from_array(array: NDArray[Any]) -> Picture:
    """Build a picture from samples in sRGB.

    Args:
        array: (H, W) or (H, W, 1) grey, (H, W, 2) grey and alpha, (H, W, 3) RGB, or (H, W, 4) RGB and straight alpha;
            uint8 in 0..255, uint16 in 0..65535, bool, or any floating type in [0, 1] (up to 0.1 beyond is clipped).

    Raises:
        ImageReadError: another shape or type, an empty array, NaN, infinity, or floats of another range.
    """
    if not isinstance(array, np.ndarray):
        raise ImageReadError(f"An object of type {type(array).__name__} was given as an image, expected a numpy array.")
    name = f"The array of shape {array.shape} and type {array.dtype}"
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] > 4:
        raise ImageReadError(f"{name} seems to have its channels first, expected (H, W, C): transpose it to (1, 2, 0).")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise ImageReadError(
            f"{name} is not an image, expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): pass the images of a "
            "batch one at a time."
        )
    if array.size == 0:
        raise ImageReadError(f"{name} is empty, expected at least one pixel.")
    if array.dtype == np.uint8:
        values, bit_depth = scaled(array, 255.0), 8
    elif array.dtype.newbyteorder("=") == np.uint16:
        values, bit_depth = scaled(array, 65535.0), 16
    elif array.dtype == np.bool_:
        values, bit_depth = array.astype(np.float32), 8
    elif np.issubdtype(array.dtype, np.floating):
        values, bit_depth = array.astype(np.float32), 32
        check_floats(name, values, -_OVERSHOOT, 1.0 + _OVERSHOOT)
        values = np.clip(values, np.float32(0.0), np.float32(1.0))
    else:
        raise ImageReadError(f"{name} is not an image, expected uint8, uint16 or floats in [0, 1]: convert it first.")
    colours, alpha = split_alpha(values)
    return to_picture(Samples(colours, alpha, bit_depth, "array"))


def from_pil(image: Image.Image) -> Picture:
    """Build a picture from a PIL image of any photographic mode, with its EXIF orientation and ICC profile applied.

    Of an animated image the current frame is taken.

    Raises:
        ImageReadError: an empty image, or a mode that holds no photograph.
    """
    if not isinstance(image, Image.Image):
        raise ImageReadError(f"An object of type {type(image).__name__} was given as an image, expected a PIL image.")
    if image.width < 1 or image.height < 1:
        raise ImageReadError(f"The PIL image is {image.width}x{image.height} pixels, expected at least 1x1.")
    samples = samples_from_pil(image, (image.format or "PIL").replace("WEBP", "WebP"))
    metadata, turn = _metadata_of_pil(image)
    return to_picture(replace(samples, metadata=metadata, orientation=turn))


def samples_from_pil(image: Image.Image, format_name: str) -> Samples:
    """Expand a PIL image of any mode to samples; premultiplied alpha is divided out, palettes are looked up."""
    image.load()  # before all else: of TIFF files, and only those, Pillow applies the orientation itself on loading
    mode = image.mode
    transparent = "transparency" in image.info
    bit_depth = 8
    full_scale = None
    if mode.startswith("I;16"):
        array, bit_depth = scaled(np.asarray(image), 65535.0), 16
    elif mode == "I":
        numbers = np.asarray(image)
        if numbers.min() < 0 or numbers.max() > 65535:
            raise ImageReadError(
                f"The PIL image of mode I holds values from {numbers.min()} to {numbers.max()}, expected 0 to 65535: "
                "rescale it first."
            )
        array, bit_depth = scaled(numbers, 65535.0), 16
    elif mode == "F":
        array, bit_depth = np.array(image, dtype=np.float32), 32
        check_floats("The PIL image of mode F", array, -_OVERSHOOT, 1.0 + _OVERSHOOT)
        array = np.clip(array, np.float32(0.0), np.float32(1.0))
    else:
        target = {
            "1": "LA" if transparent else "L",
            "L": "LA" if transparent else "L",
            "LA": "LA",
            "La": "LA",
            "P": "RGBA" if transparent else "RGB",
            "PA": "RGBA",
            "RGB": "RGBA" if transparent else "RGB",
            "RGBX": "RGB",
            "RGBA": "RGBA",
            "RGBa": "RGBA",
            "YCbCr": "RGB",
            "HSV": "RGB",
            "CMYK": "CMYK",
        }.get(mode)
        if target is None:
            raise ImageReadError(
                f"The PIL image has mode {mode}, expected L, RGB, RGBA or the like: convert it to RGB."
            )
        array, full_scale = np.asarray(image if mode == target else image.convert(target)), 255.0
    colours, alpha = (array, None) if mode == "CMYK" else split_alpha(array)
    profile = image.info.get("icc_profile") or None
    if profile is None:  # Pillow's names for what PNG files say instead
        gamma, corners = image.info.get("gamma"), tuple(image.info.get("chromaticity", ()))
        profile = described_profile(colours.shape[-1], srgb="srgb" in image.info, gamma=gamma, chromaticities=corners)
    return Samples(colours, alpha, bit_depth, format_name, profile, full_scale=full_scale)


def to_pil(picture: Picture) -> Image.Image:
    """Give the picture as an 8-bit PIL image of mode L, LA, RGB or RGBA.

    The samples are in the picture's own profile, which is attached, as are its EXIF, XMP and resolution
    (``info["icc_profile"]``, ``info["exif"]``, ``info["xmp"]``, ``info["dpi"]``: Pillow stores the first by itself on
    saving, the others where they are passed on).
    """
    encoded = encode(picture, bit_depth=8, with_grey=True, with_alpha=True, with_profile=True)
    image = pil_from_samples(encoded.values)
    if encoded.icc_profile is not None:
        image.info["icc_profile"] = encoded.icc_profile
    metadata = fitted(picture.metadata, Room(resolution=("inch", 1 << 31)), picture.size)
    for key, value in (("exif", metadata.exif), ("xmp", metadata.xmp)):
        if value is not None:
            image.info[key] = value
    if metadata.resolution is not None and metadata.resolution.unit:
        image.info["dpi"] = metadata.resolution.per("inch")
    return image


def pil_from_samples(values: NDArray[Any]) -> Image.Image:
    """A PIL image of mode L, LA, RGB or RGBA from uint8 samples (H, W, C)."""
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def _metadata_of_pil(image: Image.Image) -> tuple[Metadata, int]:
    """What Pillow has of the metadata of an image, which it names by itself, and the orientation to be undone."""
    info = image.info
    exif = info.get("exif")
    try:
        exif = exif if isinstance(exif, bytes) and exif else image.getexif().tobytes() if image.getexif() else None
    except Exception:  # values that Pillow took and cannot write, which surface as errors of every type
        exif = None
    xmp, dpi = info.get("xmp"), info.get("dpi")
    return gathered(
        "",
        exif=exif,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        resolution=Resolution(float(dpi[0]), float(dpi[1]), "inch") if dpi and len(dpi) == 2 else None,
    )
