"""Metadata in files, written and read here byte by byte, so that nothing of the code under test is trusted."""

import os
import struct
import zlib

from hypothesis import HealthCheck, settings
from PIL import _avif

ROOT, EXIF, GPS, INTEROP = 0, 0x8769, 0x8825, 0xA005
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
XMP_SPACE = b"http://ns.adobe.com/xap/1.0/\0"

any_case = settings(
    max_examples=int(os.environ.get("DP_IR_EXAMPLES", "40")),  # thousands by hand
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def exif_block(root=(), exif=(), gps=(), interop=(), thumbnail=b"", order="<", gap=b""):
    """A block of entries (tag, type, number of values, bytes of the values)."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8))

    def directory(entries, pointers=()):
        """Lay an empty directory, then its values; gives a function that fills in where other directories lie."""
        entries = sorted([*entries, *((tag, 4, 1, None) for tag in pointers)], key=lambda entry: entry[0])
        start = len(out)
        out.extend(bytes(2 + 12 * len(entries) + 4) + gap)
        struct.pack_into(order + "H", out, start, len(entries))
        places = {}
        for number, (tag, kind, count, value) in enumerate(entries):
            at = start + 2 + 12 * number
            struct.pack_into(order + "HHI", out, at, tag, kind, count)
            if value is None:
                places[tag] = at + 8
            elif len(value) <= 4:
                out[at + 8 : at + 8 + len(value)] = value
            else:
                struct.pack_into(order + "I", out, at + 8, len(out))
                out.extend(value + bytes(len(value) % 2))
        return start, places, start + 2 + 12 * len(entries)

    pointers = [tag for tag, entries in ((EXIF, (*exif, *interop)), (GPS, gps)) if entries]
    _, places, following = directory(root, pointers)
    if EXIF in places:
        start, below, _ = directory(exif, [INTEROP] if interop else [])
        struct.pack_into(order + "I", out, places[EXIF], start)
        if interop:
            struct.pack_into(order + "I", out, below[INTEROP], directory(interop)[0])
    if GPS in places:
        struct.pack_into(order + "I", out, places[GPS], directory(gps)[0])
    if thumbnail:
        sizes = [(0x0201, 4, 1, bytes(4)), (0x0202, 4, 1, struct.pack(order + "I", len(thumbnail)))]
        start, _, _ = directory(sizes)
        struct.pack_into(order + "I", out, start + 2 + 8, len(out))
        struct.pack_into(order + "I", out, following, start)
        out.extend(thumbnail)
    return bytes(out)


def tags_of(block):
    """{(directory, tag): (type, number of values, bytes)} of a block, or of a whole TIFF file."""
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    found = {}

    def walk(at, name):
        (count,) = struct.unpack_from(order + "H", block, at)
        tags = []
        for index in range(count):
            tag, kind, number, raw = struct.unpack_from(order + "HHI4s", block, at + 2 + 12 * index)
            tags.append(tag)
            (offset,) = struct.unpack(order + "I", raw)
            if tag in (EXIF, GPS, INTEROP):
                walk(offset, tag)
                continue
            size = SIZES[kind] * number
            value = raw[:size] if size <= 4 else block[offset : offset + size]
            assert len(value) == size
            found[name, tag] = (kind, number, value)
        assert tags == sorted(tags)
        (following,) = struct.unpack_from(order + "I", block, at + 2 + 12 * count)
        assert following == 0

    walk(struct.unpack_from(order + "I", block, 4)[0], ROOT)
    return found


def segments_of(data):
    """(marker, content) of a JPEG file before its pixels."""
    at, found = 2, []
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def with_segments(data, *segments):
    """A JPEG file with further segments (marker, content) behind its first one."""
    end = 4 + struct.unpack_from(">H", data, 4)[0]
    added = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body for kind, body in segments)
    return data[:end] + added + data[end:]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks_of(data):
    """(type, content) of a PNG file."""
    at, found = 8, []
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        found.append((kind, body))
        at += 12 + length
    return found


def with_chunks(data, *chunks):
    """A PNG file with further chunks (type, content) before its pixels."""
    return data[:33] + b"".join(chunk(*one) for one in chunks) + data[33:]


def riff_of(data):
    """{type: content} of a WebP file."""
    at, found = 12, {}
    while at < len(data):
        length = struct.unpack_from("<I", data, at + 4)[0]
        found[data[at : at + 4]] = data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    return found


def of_avif(data):
    """The EXIF block and the XMP packet of an AVIF file, as libavif finds them."""
    *_, exif, _, xmp = _avif.AvifDecoder(data, "auto", 1).get_info()
    return exif or None, xmp or None


def boxes_of(data):
    """{type: content} of a JPEG XL container."""
    at, found = 0, {}
    while at < len(data):
        length = struct.unpack_from(">I", data, at)[0] or len(data) - at
        found[data[at + 4 : at + 8]] = data[at + 8 : at + length]
        at += length
    return found


def exif_in(path):
    """The EXIF block of a file, without its prefix; a TIFF file is one itself; None."""
    data = path.read_bytes()
    match path.suffix:
        case ".tif":
            return data
        case ".jpg":
            found = [body for kind, body in segments_of(data) if kind == 0xE1 and body.startswith(b"Exif\0\0")]
            block = found[0] if found else None
        case ".png":
            block = dict(chunks_of(data)).get(b"eXIf")
        case ".webp":
            block = riff_of(data).get(b"EXIF")
        case ".avif":
            block = of_avif(data)[0]
        case ".jxl":
            block = boxes_of(data).get(b"Exif", bytes(4))[4:] or None
    return None if block is None else block.removeprefix(b"Exif\0\0")


def xmp_in(path):
    """The XMP packet of a file, or None."""
    data = path.read_bytes()
    match path.suffix:
        case ".tif":
            return tags_of(data).get((ROOT, 700), (0, 0, None))[2]
        case ".jpg":
            found = [body.removeprefix(XMP_SPACE) for kind, body in segments_of(data) if body.startswith(XMP_SPACE)]
        case ".png":
            head = b"XML:com.adobe.xmp" + bytes(5)
            found = [body.removeprefix(head) for kind, body in chunks_of(data) if body.startswith(head)]
        case ".webp":
            found = [riff_of(data)[b"XMP "]] if b"XMP " in riff_of(data) else []
        case ".avif":
            found = [of_avif(data)[1]] if of_avif(data)[1] is not None else []
        case ".jxl":
            found = [boxes_of(data)[b"xml "]] if b"xml " in boxes_of(data) else []
    assert len(found) <= 1
    return found[0] if found else None


def write_with(path, image, *, exif=None, xmp=None):
    """Write an image with a block and a packet as they are."""
    plain = path.with_name(f"plain{path.suffix}")
    image.save(plain, **({"lossless": True, "exact": True} if path.suffix == ".webp" else {}))
    data = plain.read_bytes()
    if path.suffix == ".jpg":
        segments = [(0xE1, b"Exif\0\0" + exif)] if exif is not None else []
        segments += [(0xE1, XMP_SPACE + xmp)] if xmp is not None else []
        data = with_segments(data, *segments)
    elif path.suffix == ".png":
        chunks = [(b"eXIf", exif)] if exif is not None else []
        chunks += [(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + xmp)] if xmp is not None else []
        data = with_chunks(data, *chunks)
    else:
        parts = riff_of(data)
        flags = 8 * (exif is not None) + 4 * (xmp is not None)
        size = b"".join((side - 1).to_bytes(3, "little") for side in image.size)
        parts = {b"VP8X": bytes([flags, 0, 0, 0]) + size} | parts
        parts |= {b"EXIF": exif} if exif is not None else {}
        parts |= {b"XMP ": xmp} if xmp is not None else {}
        body = b"".join(
            kind + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for kind, part in parts.items()
        )
        data = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    path.write_bytes(data)
    return path
