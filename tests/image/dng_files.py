"""A small writer of DNG files, for tests of what reads them."""

from pathlib import Path

import numpy as np
import tifffile

PHASES = {"RGGB": (0, 1, 1, 2), "BGGR": (2, 1, 1, 0), "GRBG": (1, 0, 2, 1), "GBRG": (1, 2, 0, 1)}
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10
_CFA, _D65 = 32803, 21


def _fractions(values) -> tuple[int, ...]:
    return tuple(part for value in np.ravel(values) for part in (round(float(value) * 100_000), 100_000))


def write_dng(
    path: Path,
    mosaic: np.ndarray,
    *,
    pattern: tuple[int, ...] = PHASES["RGGB"],
    black: tuple[int, int, int, int] = (0, 0, 0, 0),
    white: int = 16383,
    neutral: tuple[float, float, float] | None = (1.0, 1.0, 1.0),
    matrix: np.ndarray | None = None,
    orientation: int = 1,
    active: tuple[int, int, int, int] | None = None,
    model: str = "One",
    seconds: float = 0.01,
) -> Path:
    """Write a mosaic (H, W) uint16 with the metadata that cameras state.

    Args:
        pattern: the colours of the mosaic's cell, row by row: 0 red, 1 green, 2 blue; a square of any side.
        black: levels of the four pixels of a 2x2 cell, row by row.
        neutral: what the sensor answers to white, the inverse of the white balance; None leaves it out.
        matrix: XYZ to sensor RGB (3, 3); None leaves it out.
        orientation: EXIF's, 1 to 8.
        active: top, left, bottom, right of the visible area, in pixels.
    """
    side = round(len(pattern) ** 0.5)
    tags = [
        (50706, _BYTE, 4, bytes((1, 4, 0, 0)), True),  # version of DNG
        (50707, _BYTE, 4, bytes((1, 1, 0, 0)), True),
        (271, _ASCII, 0, "Acme", True),
        (272, _ASCII, 0, model, True),
        (50708, _ASCII, 0, f"Acme {model}", True),
        (274, _SHORT, 1, orientation, True),
        (33421, _SHORT, 2, (side, side), True),
        (33422, _BYTE, len(pattern), bytes(pattern), True),
        (50713, _SHORT, 2, (2, 2), True),
        (50714, _LONG, 4, black, True),
        (50717, _LONG, 1, white, True),
        (33434, _RATIONAL, 1, _fractions(seconds), True),
    ]
    if neutral is not None:
        tags.append((50728, _RATIONAL, 3, _fractions(neutral), True))
    if matrix is not None:
        tags += [(50721, _SRATIONAL, 9, _fractions(matrix), True), (50778, _SHORT, 1, _D65, True)]
    if active is not None:
        tags.append((50829, _LONG, 4, active, True))
    tifffile.imwrite(path, mosaic, photometric=_CFA, extratags=tags, metadata=None, software=False)
    return path


def mosaic_of(rgb: np.ndarray, phase: str) -> np.ndarray:
    """The values (H, W) that a sensor of this phase sees of an image (H, W, 3)."""
    rows, columns = np.indices(rgb.shape[:2]) % 2
    return np.take_along_axis(rgb, np.array(PHASES[phase])[2 * rows + columns][..., None], -1)[..., 0]
