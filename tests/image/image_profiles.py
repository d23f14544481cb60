"""Colour profiles for tests, built here so that no file needs to be shipped."""

import struct
from functools import cache

import imagecodecs
import numpy as np

D65 = (0.3127, 0.3290, 1.0)
DISPLAY_P3_PRIMARIES = (0.680, 0.320, 1.0, 0.265, 0.690, 1.0, 0.150, 0.060, 1.0)
WIDE_PRIMARIES = (0.7347, 0.2653, 1.0, 0.1596, 0.8404, 1.0, 0.0366, 0.0001, 1.0)


@cache  # a profile holds the second in which it was made
def rgb_profile(primaries=DISPLAY_P3_PRIMARIES, gamma=2.2):
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=D65, primaries=primaries, gamma=gamma))


@cache
def grey_profile(gamma=1.8):
    return bytes(imagecodecs.cms_profile("gray", whitepoint=D65, gamma=gamma))


def cmyk_profile():
    """A printer profile (ICC v2, lut16) whose inks mix multilinearly between the 16 corners of the ink cube."""
    corners = []
    for index in range(16):  # the last ink varies fastest
        ink = [(index >> shift) & 1 for shift in (3, 2, 1, 0)]
        lightness = (95 - 22 * ink[0] - 30 * ink[1] - 6 * ink[2]) * (1 - 0.85 * ink[3])
        tint = 1 - ink[3]
        a = 60 * (ink[1] - 0.6 * ink[0]) * tint
        b = (75 * ink[2] - 45 * ink[0] - 5 * ink[1]) * tint
        corners.append((lightness / 100 * 65280, (a + 128) / 256 * 65536, (b + 128) / 256 * 65536))
    ramp = struct.pack(">2H", 0, 65535)
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + struct.pack(">2H", 2, 2)
    table += ramp * 4 + np.clip(np.rint(corners), 0, 65535).astype(">u2").tobytes() + ramp * 3
    description = b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78)
    copyright_ = b"text" + bytes(4) + b"none\0"
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = [(b"desc", description), (b"cprt", copyright_), (b"wtpt", white), (b"A2B0", table)]
    body, directory, offset = b"", struct.pack(">I", len(tags)), 128 + 4 + 12 * len(tags)
    for name, data in tags:
        padded = data + bytes(-len(data) % 4)
        directory += name + struct.pack(">II", offset + len(body), len(data))
        body += padded
    header = struct.pack(">I", offset + len(body)) + b"lcms" + b"\x02\x10\0\0" + b"prtr" + b"CMYK" + b"Lab "
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + directory + body
