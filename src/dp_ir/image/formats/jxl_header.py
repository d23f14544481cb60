"""What a JPEG XL file says of its image before the pixels (ISO/IEC 18181-1 and -2): nothing is decoded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from dp_ir.image.formats.boxes import Box, boxes, content_of
from dp_ir.image.metadata.cicp import PRIMARIES, TRANSFERS
from dp_ir.image.metadata.icc import BT709, D65, SRGB_CURVE, Curve

CODESTREAM = b"\xff\x0a"
_MOST_HEADER = 1 << 16  # bytes of the header; names of channels may lie in it
_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_ALPHA = 0
_CUSTOM = 2  # of white points and primaries
_SAME_PRIMARIES = {1: 1, 9: 9, 11: 12}  # numbers of JPEG XL, and of ITU-T H.273
_WHITES = {1: D65, 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}


@dataclass
class JxlHeader:
    """What the header of a JPEG XL file says.

    Args:
        size: (width, height) as it is stored.
        orientation: 1..8, that is to be undone.
        animated: whether it is an animation.
        bits: per sample.
        floats: whether samples are floats.
        further: how many channels there are beside colours and a first alpha.
        premultiplied: whether colours are multiplied by alpha.
        has_profile: whether colours are described by an ICC profile, which is compressed in a way of its own.
        grey: whether it is greyscale.
        transfer: number of the transfer function by ITU-T H.273; 0 where it is a power.
        curve: to linear light; None where it is not known.
        primaries: chromaticities of red, green and blue; None where they are not known.
        white: likewise, of white.
    """

    size: tuple[int, int]
    orientation: int = 1
    animated: bool = False
    bits: int = 8
    floats: bool = False
    further: int = 0
    premultiplied: bool = False
    has_profile: bool = False
    grey: bool = False
    transfer: int = 13
    curve: Curve | None = SRGB_CURVE
    primaries: tuple[float, ...] | None = BT709
    white: tuple[float, ...] | None = D65


def jxl_header(file: BinaryIO) -> JxlHeader:
    """Read the header of a JPEG XL file.

    Raises:
        EOFError: the file ends within it.
        ValueError: it contradicts its format.
    """
    bits = _Bits(_beginning(file))
    if bits.take(16) != int.from_bytes(CODESTREAM, "little"):
        raise ValueError("its codestream does not begin with a signature")
    header = JxlHeader(_size(bits))
    if not bits.flag():  # else all is as usual: RGB of 8 bits in sRGB
        _image(bits, header)
    return header


def jxl_boxes(file: BinaryIO) -> list[Box]:
    """The boxes of a container; none where the file is a bare codestream."""
    file.seek(0)
    return [] if file.read(2) == CODESTREAM else [*boxes(file)]


def _beginning(file: BinaryIO) -> bytes:
    """The first bytes of the codestream."""
    found = b""
    for box in jxl_boxes(file):
        if box.kind == b"jxlc":
            return content_of(file, box._replace(end=min(box.end, box.start + _MOST_HEADER)))
        if box.kind == b"jxlp" and len(found) < _MOST_HEADER:  # pieces, each after its number
            found += content_of(file, Box(box.kind, box.start + 4, min(box.end, box.start + 4 + _MOST_HEADER)))
    if found:
        return found
    file.seek(0)
    return file.read(_MOST_HEADER)


class _Bits:
    """Numbers of a bit stream, the lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, 0

    def take(self, count: int) -> int:
        first, end = self._place, self._place + count
        if end > 8 * len(self._data):
            raise EOFError("it ends within its header")
        self._place = end
        number = int.from_bytes(self._data[first // 8 : (end + 7) // 8], "little")
        return number >> first % 8 & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.take(1))

    def number(self, *choices: tuple[int, int]) -> int:
        """One of four kinds of number, each an offset and how many bits are added to it."""
        offset, count = choices[self.take(2)]
        return offset + self.take(count)


def _size(bits: _Bits) -> tuple[int, int]:
    small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.number(*_SIDE)

    height = side()
    across, down = _RATIOS[ratio := bits.take(3)]
    return (height * across // down if ratio else side()), height


def _image(bits: _Bits, header: JxlHeader) -> None:
    if bits.flag():  # what few images have
        header.orientation = 1 + bits.take(3)
        if bits.flag():
            _size(bits)  # at which it should be shown
        if bits.flag():
            _preview(bits)
        header.animated = bits.flag()
        if header.animated:
            bits.number((100, 0), (1000, 0), (1, 10), (1, 30))  # ticks in a second
            bits.number((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.number((0, 0), (0, 3), (0, 16), (0, 32))  # loops
            bits.flag()
    header.floats, header.bits = _depth(bits)
    bits.flag()  # whether 16 bits are enough to decode it
    channels = [_extra_channel(bits) for _ in range(bits.number((0, 0), (1, 0), (2, 4), (1, 12)))]
    alpha = next((channel for channel in channels if channel[0] == _ALPHA), None)
    header.further = len(channels) - (alpha is not None)
    header.premultiplied = alpha is not None and alpha[1]
    bits.flag()  # whether colours are stored in a space of their own, XYB, and converted back
    if not bits.flag():  # sRGB
        _colours(bits, header)


def _preview(bits: _Bits) -> None:
    if eighths := bits.flag():
        bits.number((16, 0), (32, 0), (1, 5), (33, 9))
    else:
        bits.number((1, 6), (65, 8), (321, 10), (1345, 12))
    if not bits.take(3):
        bits.number(*((16, 0), (32, 0), (1, 5), (33, 9)) if eighths else ((1, 6), (65, 8), (321, 10), (1345, 12)))


def _depth(bits: _Bits) -> tuple[bool, int]:
    if not bits.flag():
        return False, bits.number((8, 0), (10, 0), (12, 0), (1, 6))
    count = bits.number((32, 0), (16, 0), (24, 0), (1, 6))
    bits.take(4)  # of the exponent
    return True, count


def _extra_channel(bits: _Bits) -> tuple[int, bool]:
    """The type of a channel, and whether it is an alpha that colours are multiplied by."""
    if bits.flag():
        return _ALPHA, False
    kind = bits.number(*_ENUM)
    _depth(bits)
    bits.number((0, 0), (3, 0), (4, 0), (1, 3))  # its scale
    for _ in range(bits.number((0, 0), (0, 4), (16, 5), (48, 10))):
        bits.take(8)  # of its name
    if kind == 2:  # ink of a colour
        bits.take(64)
    elif kind == 5:  # of a mosaic
        bits.number((1, 0), (0, 2), (3, 4), (19, 8))
    return kind, kind == _ALPHA and bits.flag()


def _colours(bits: _Bits, header: JxlHeader) -> None:
    header.has_profile = bits.flag()
    space = bits.number(*_ENUM)
    header.grey = space == 1
    if header.has_profile:
        return
    if space > 1:
        raise ValueError("its colours are neither RGB nor grey")
    white = bits.number(*_ENUM)
    header.white = _chromaticity(bits) if white == _CUSTOM else _WHITES.get(white)
    if not header.grey:
        kind = bits.number(*_ENUM)
        if kind == _CUSTOM:
            header.primaries = tuple(number for _ in range(3) for number in _chromaticity(bits))
        else:
            header.primaries = PRIMARIES[_SAME_PRIMARIES[kind]][0] if kind in _SAME_PRIMARIES else None
    if bits.flag():
        gamma = bits.take(24)
        header.transfer, header.curve = 0, (1e7 / gamma,) if gamma else None
    else:
        header.transfer = bits.number(*_ENUM)
        header.curve = TRANSFERS.get(header.transfer)


def _chromaticity(bits: _Bits) -> tuple[float, float]:
    def number() -> float:
        packed = bits.number((0, 19), (524288, 19), (1048576, 20), (2097152, 21))
        return (-(packed + 1) // 2 if packed & 1 else packed // 2) / 1e6

    return number(), number()
