"""ICC profiles (version 4, matrix and tone curves) from chromaticities and a transfer function."""

from __future__ import annotations

import struct
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Curve: TypeAlias = tuple[float, ...]
"""To linear light Y from a sample X, the parameters of ICC's parametricCurveType: (g,) is Y = X^g; (g, a, b, c, d) is
Y = (a X + b)^g for X >= d, and Y = c X below."""

SRGB_CURVE: Curve = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
D65 = (0.3127, 0.3290)
BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

_D50 = np.array([0.9642, 1.0, 0.8249])  # XYZ of the white of ICC's connection space
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_CURVE_KINDS = {1: 0, 5: 3}  # function types of parametricCurveType by their numbers of parameters
_LARGEST = 32767.0  # of ICC's numbers with 16 bits behind the point


def rgb_profile(name: str, primaries: tuple[float, ...], white: tuple[float, ...], curve: Curve) -> bytes:
    """A profile for RGB; the same arguments always give the same bytes.

    Args:
        name: what programs call it.
        primaries: chromaticities x, y of red, green and blue: six numbers.
        white: chromaticity x, y of R = G = B; adapted to D50 by Bradford, as ICC asks for.
        curve: of all three channels.

    Raises:
        ValueError: there are no such colours: primaries on a line, white or primaries out of any range.
    """
    corners = np.array(primaries, float).reshape(3, 2)
    with np.errstate(all="ignore"):
        white_xyz = _xyz(np.array(white, float)) / white[1]
        columns = np.stack([_xyz(corner) for corner in corners], axis=1)
        adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white_xyz)) @ _BRADFORD
        if abs(np.linalg.det(columns)) < 1e-6:
            raise ValueError("the primaries lie on a line")
        matrix = adapt @ columns * np.linalg.solve(columns, white_xyz)
    trc = _curve(curve)
    tags = [(b"chad", b"sf32" + bytes(4) + _fixed(adapt))]
    tags += [(name, _xyz_tag(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)]
    return _profile(name, b"RGB ", [*tags, (b"rTRC", trc), (b"gTRC", trc), (b"bTRC", trc)])


def grey_profile(name: str, curve: Curve) -> bytes:
    """A profile for greyscale; raises ValueError for a curve whose numbers ICC cannot hold."""
    return _profile(name, b"GRAY", [(b"kTRC", _curve(curve))])


def _xyz(chromaticity: NDArray[np.float64]) -> NDArray[np.float64]:
    x, y = chromaticity
    return np.array([x, y, 1.0 - x - y])


def _fixed(numbers: NDArray[np.float64]) -> bytes:
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > _LARGEST:
        raise ValueError("its numbers are too large for a profile")
    return np.rint(numbers * 65536.0).astype(">i4").tobytes()


def _xyz_tag(xyz: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(xyz)


def _curve(curve: Curve) -> bytes:
    return b"para" + struct.pack(">4xHxx", _CURVE_KINDS[len(curve)]) + _fixed(np.array(curve))


def _text(text: str) -> bytes:
    data = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII4sII", 1, 12, b"enUS", len(data), 28) + data


def _profile(name: str, space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    tags = [(b"desc", _text(name)), (b"cprt", _text("CC0")), (b"wtpt", _xyz_tag(_D50)), *tags]
    directory, body, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for tag, data in tags:
        if data not in places:  # the three curves are one
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        directory += tag + struct.pack(">II", places[data], len(data))
    created = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    head = struct.pack(">I4x4s4s4s4s", start + len(body), b"\x04\x30\0\0", b"mntr", space, b"XYZ ") + created + b"acsp"
    return (head + bytes(28) + _fixed(_D50)).ljust(128, b"\0") + directory + body
