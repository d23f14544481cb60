"""JPEG XL files for tests: another header is put before the frames of a file that libjxl wrote.

Headers are written here bit by bit as ISO/IEC 18181-1 has them, so that nothing of the code under test is trusted.
"""

import itertools
import struct

import imagecodecs
import numpy as np


class _Bits:
    def __init__(self):
        self.text = ""

    def put(self, value, count):
        self.text += "".join(str(value >> index & 1) for index in range(count))

    def data(self):
        padded = self.text + "0" * (-len(self.text) % 8)
        return bytes(int(padded[at : at + 8][::-1], 2) for at in range(0, len(padded), 8))


def _size(bits, width, height):
    bits.put(0, 1)
    for index, side in enumerate((height, width)):
        bits.put(3, 2)
        bits.put(side - 1, 30)
        if not index:
            bits.put(0, 3)  # no ratio


def _enum(bits, value):
    if value < 2:
        bits.put(value, 2)
    elif value < 18:
        bits.put(2, 2)
        bits.put(value - 2, 4)
    else:
        bits.put(3, 2)
        bits.put(value - 18, 6)


def _coordinate(bits, number):
    packed = round(2e6 * number)  # the lowest bit is the sign
    for choice, (offset, count) in enumerate(((0, 19), (1 << 19, 19), (1 << 20, 20), (1 << 21, 21))):
        if packed < offset + (1 << count):
            bits.put(choice, 2)
            bits.put(packed - offset, count)
            return


def header(
    width,
    height,
    *,
    depth=8,
    orientation=1,
    preview=False,
    animated=False,
    alpha=None,
    further=0,
    icc=False,
    grey=False,
    white=1,
    primaries=1,
    transfer=13,
    gamma=None,
):
    """The header of a lossless file; `alpha` is None, "straight" or "multiplied", `primaries` a number, or six."""
    bits = _Bits()
    bits.put(0x0AFF, 16)
    _size(bits, width, height)
    bits.put(0, 1)
    more = orientation != 1 or preview or animated
    bits.put(more, 1)
    if more:
        bits.put(orientation - 1, 3)
        bits.put(1, 1)
        _size(bits, 5, 5)  # what it should be shown at
        bits.put(preview, 1)
        if preview:
            for value, count in ((1, 1), (2, 2), (7, 5), (0, 3), (3, 2), (40, 9)):
                bits.put(value, count)
        bits.put(animated, 1)
        if animated:
            for value, count in ((0, 2), (2, 2), (9, 8), (1, 2), (5, 3), (0, 1)):
                bits.put(value, count)
    bits.put(0, 1)
    bits.put(3, 2)
    bits.put(depth - 1, 6)
    bits.put(0, 1)
    channels = ([] if alpha is None else [0]) + [1] * further
    bits.put(min(len(channels), 2), 2)
    if len(channels) > 1:
        bits.put(len(channels) - 2, 4)
    for kind in channels:
        bits.put(0, 1)
        _enum(bits, kind)
        bits.put(0, 1)
        bits.put(3, 2)
        bits.put(depth - 1, 6)
        bits.put(0, 2)
        bits.put(1, 2)
        bits.put(3, 4)
        for letter in b"abc":
            bits.put(letter, 8)
        if kind == 0:
            bits.put(alpha == "multiplied", 1)
    bits.put(0, 1)  # as it is, not in XYB
    bits.put(0, 1)
    bits.put(icc, 1)
    _enum(bits, int(grey))
    if not icc:
        _enum(bits, white)
        if not grey:
            _enum(bits, primaries if isinstance(primaries, int) else 2)
            if not isinstance(primaries, int):
                for number in primaries:
                    _coordinate(bits, number)
        bits.put(gamma is not None, 1)
        if gamma is None:
            _enum(bits, transfer)
        else:
            bits.put(round(gamma * 1e7), 24)
        _enum(bits, 1)
    if more:
        bits.put(1, 1)  # tones as usual
    bits.put(0, 2)  # no extensions
    bits.put(1, 1)  # nothing of the decoder's own
    return bits.data()


def with_header(samples, **options):
    """A bare codestream of integer samples (H, W) or (H, W, C) without loss, with another header."""
    bits = {"bitspersample": options["depth"]} if "depth" in options else {}
    written = bytes(imagecodecs.jpegxl_encode(samples, lossless=True, usecontainer=False, **bits))
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    grey, alpha = channels < 3, channels in (2, 4)
    height, width = samples.shape[:2]
    plain = header(width, height, grey=grey, depth=options.get("depth", 8), alpha="straight" if alpha else None)
    options["alpha"] = (options.get("alpha") or "straight") if alpha else None
    return header(width, height, grey=grey, **options) + _frames(written, plain, samples)


def _frames(written, plain, samples):
    """What follows the header of a file: where libjxl decodes it behind another that says the same."""
    for start in range(4, 64):
        try:
            if np.array_equal(imagecodecs.jpegxl_decode(plain + written[start:]), samples):
                return written[start:]
        except RuntimeError:
            continue
    raise AssertionError("no frames were found")


def container(codestream, *further, pieces=False):
    """A file of boxes: the codestream, whole or in pieces, and further boxes (type, content)."""

    def box(kind, content):
        return struct.pack(">I4s", 8 + len(content), kind) + content

    parts = [box(b"jxlc", codestream)]
    if pieces:
        cut = (1, 7, len(codestream) // 2)
        edges = (0, *cut, len(codestream))
        parts = [
            box(b"jxlp", struct.pack(">I", number | (number == len(cut)) << 31) + codestream[start:end])
            for number, (start, end) in enumerate(itertools.pairwise(edges))
        ]
    head = b"\0\0\0\x0cJXL \r\n\x87\n" + box(b"ftyp", b"jxl \0\0\0\0jxl ")
    return head + b"".join([*parts, *(box(*part) for part in further)])
