"""The resolution of a photograph in print, as each format states it."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from dp_ir.image.metadata.directories import RATIONAL, SHORT, Directory, as_block
from dp_ir.image.metadata.exif import PREFIX, directory_of

_X, _Y, _UNIT = 0x011A, 0x011B, 0x0128
_PER_METRE = {"inch": 1 / 0.0254, "cm": 100.0, "m": 1.0}
_UNITS = {1: "", 2: "inch", 3: "cm"}  # of TIFF and EXIF


class Resolution(NamedTuple):
    """Pixels along x and along y per inch, cm or m; without a unit, their ratio is that of a pixel's sides."""

    x: float
    y: float
    unit: str

    def per(self, unit: str) -> tuple[int, int]:
        """In whole numbers per inch or m; without a unit, in whole numbers of that ratio."""
        if not self.unit:
            whole = self.x == round(self.x) and self.y == round(self.y)
            ratio = Fraction(self.x / self.y).limit_denominator(1000)
            return (round(self.x), round(self.y)) if whole else (ratio.numerator, ratio.denominator)
        factor = _PER_METRE[self.unit] / _PER_METRE[unit]
        return round(self.x * factor), round(self.y * factor)

    def in_inches(self) -> Resolution:
        """Per inch where it was per m, and in whole numbers where those become the same per m."""
        if self.unit != "m":
            return self
        whole = Resolution(*self.per("inch"), "inch")
        factor = _PER_METRE["inch"]
        return whole if whole.per("m") == self[:2] else Resolution(self.x / factor, self.y / factor, "inch")


def usable(resolution: Resolution | None, turned: bool) -> Resolution | None:
    """What a file states, of the upright picture; None where it says nothing."""
    if resolution is None or not (0 < resolution.x < 1e9 and 0 < resolution.y < 1e9):
        return None
    if not resolution.unit and resolution.x == resolution.y:
        return None
    return Resolution(resolution.y, resolution.x, resolution.unit) if turned else resolution


def resolution_of(exif: bytes | None) -> Resolution | None:
    """The resolution that an EXIF block states; raises ValueError where it is damaged."""
    directory = Directory("<") if exif is None else directory_of(exif)
    sides = {}
    for entry in directory.entries:
        if entry.tag in (_X, _Y) and entry.kind == RATIONAL and entry.number:
            above, below = (int.from_bytes(entry.value[at : at + 4], directory.byte_order) for at in (0, 4))
            sides[entry.tag] = above / below if below else 0.0
    unit = _UNITS.get(directory.number(_UNIT) or 2, "inch")
    return usable(Resolution(sides.get(_X, 0.0), sides.get(_Y, 0.0), unit), turned=False)


def put_resolution(directory: Directory, resolution: Resolution) -> None:
    """Let a TIFF's main directory state this resolution."""
    resolution = resolution.in_inches()
    for tag, side in ((_X, resolution.x), (_Y, resolution.y)):
        fraction = Fraction(side).limit_denominator(1000)
        directory.put(tag, RATIONAL, fraction.numerator, fraction.denominator)
    directory.put(_UNIT, SHORT, {"": 1, "inch": 2, "cm": 3}[resolution.unit])


def with_resolution(exif: bytes | None, resolution: Resolution) -> bytes:
    """The EXIF block, stating this resolution; raises ValueError where it is damaged."""
    directory = Directory("<") if exif is None else directory_of(exif)
    put_resolution(directory, resolution)
    return PREFIX + as_block(directory)
