"""What `fuzz.py` feeds to the readers: valid files of every kind, and the ways they are mangled."""

from __future__ import annotations

import io
import json
import random
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
import torch
from PIL import Image, ImageCms
from safetensors.torch import save_file

from dp_ir.batch.manifest import MANIFEST, Manifest
from dp_ir.batch.source_version import stamp_of
from dp_ir.checkpoints.architectures import build
from dp_ir.checkpoints.network_file import save_network
from dp_ir.networks.fast_fusion.model import FastFusion
from dp_ir.networks.fast_sr.model import FastSR
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.restoration.pipeline import Restoration

sys.path.insert(0, str(Path(__file__).parents[1] / "image"))
from dng_files import PHASES, mosaic_of, write_dng

IMAGE_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
TIFF_FORMS = (
    *({"compression": name} for name in (None, "lzw", "zlib", "packbits", "jpeg", "zstd", "lzma")),
    *({"compression": name, "tile": (16, 16)} for name in ("zlib", "jpeg")),
    {"compression": "zlib", "predictor": True},
    {"planarconfig": "separate"},
    {"bigtiff": True},
    {"byteorder": ">"},
)


def images(folder: Path) -> list[Path]:
    """Small photos of every format, mode and compression."""
    rng = np.random.default_rng(0)
    smooth = np.indices((33, 41)).sum(0)[..., None] * np.array([3, 2, 1]) + rng.integers(0, 20, (33, 41, 3))
    rgb = smooth.astype(np.uint8)
    photo, files = Image.fromarray(rgb), []
    exif = Image.Exif()
    exif.update({0x0112: 6, 0x010F: "Acme", 0x0132: "2026:01:02 03:04:05"})
    exif.get_ifd(0x8769).update({0xA002: 41, 0xA003: 33, 0x829A: 0.01})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    def keep(name: str, image: Image.Image, **options: object) -> None:
        image.save(folder / name, **options)
        files.append(folder / name)

    for mode in IMAGE_MODES:
        image = photo.convert(mode)
        keep(f"{mode}.png", image, exif=exif, icc_profile=srgb)
        if mode in ("1", "L", "P", "RGB"):
            keep(f"{mode}.bmp", image)
        keep(f"{mode}-pillow.tif", image)
    keep("clear.png", photo.convert("P"), transparency=3)
    for compression in ("group3", "group4", "tiff_ccitt"):
        keep(f"{compression}.tif", photo.convert("1"), compression=compression)
    for options in ({}, {"progressive": True}, {"subsampling": "4:4:4", "restart_marker_rows": 1}):
        keep(f"{len(files)}.jpg", photo, exif=exif, icc_profile=srgb, **options)
    keep("grey.jpg", photo.convert("L"))
    keep("cmyk.jpg", photo.convert("CMYK"), icc_profile=profile)
    for options in ({}, {"lossless": True}):
        keep(f"{len(files)}.webp", photo.convert("RGBA"), exif=exif, icc_profile=srgb, **options)
    for mode in ("L", "RGB"):
        keep(f"{mode}.ppm", photo.convert(mode))
    film = {"save_all": True, "append_images": [photo.rotate(90, expand=False)]}
    for options in ({}, {"interlace": False, "transparency": 3}, film):
        keep(f"{len(files)}.gif", photo.convert("P"), comment=b"sea", **options)
    for mode, options in (("RGB", {}), ("RGBA", {"quality": 100, "subsampling": "4:4:4"}), ("RGB", film)):
        keep(f"{len(files)}.avif", photo.convert(mode), exif=exif, icc_profile=srgb, xmp=b"<x:xmpmeta/>", **options)
    wide = rgb.astype(np.uint16) * 4
    further = {
        "deep.ppm": b"P6\n# deep\n41 33\n1020\n" + wide.astype(">u2").tobytes(),
        "numbers.avif": imagecodecs.avif_encode(wide, level=90, bitspersample=10, primaries=12, transfer=13),
        "lossy.jxl": imagecodecs.jpegxl_encode(rgb, level=90),
        "grey.jxl": imagecodecs.jpegxl_encode(rgb[..., 0], lossless=True, usecontainer=True),
        "deep.jxl": imagecodecs.jpegxl_encode(wide * 64, lossless=True),
        "float.jxl": imagecodecs.jpegxl_encode((rgb / 255).astype(np.float32), lossless=True),
        "jpeg.jxl": imagecodecs.jpegxl_encode_jpeg((folder / "grey.jpg").read_bytes()),
    }
    for name, content in further.items():
        files.append(folder / name)
        files[-1].write_bytes(content)
    for form in TIFF_FORMS:
        files.append(folder / f"{len(files)}.tif")
        tifffile.imwrite(
            files[-1],
            rgb if form.get("planarconfig") is None else rgb.transpose(2, 0, 1).copy(),
            photometric="rgb",
            metadata=None,
            **form,
        )
    for values in (rgb.astype(np.uint16) * 257, (rgb / 255).astype(np.float32), (rgb / 255).astype(np.float16)):
        files.append(folder / f"{len(files)}.tif")
        tifffile.imwrite(files[-1], values, photometric="rgb", iccprofile=srgb)
    for values, name in (
        (rgb.astype(np.uint16) * 257, "rgb16.png"),
        (rgb[..., 0].astype(np.uint16) * 257, "grey16.png"),
    ):
        (folder / name).write_bytes(imagecodecs.png_encode(values))
        files.append(folder / name)
    files.append(folder / "rle.bmp")
    files[-1].write_bytes(_run_length_bmp())
    return files


def _run_length_bmp() -> bytes:
    """A BMP of 8x4 pixels with runs, literals, a step and ends of lines."""
    pixels = bytes([8, 1, 0, 0, 3, 2, 0, 3, 5, 6, 7, 0, 0, 0, 0, 2, 2, 1, 6, 9, 0, 1])
    palette = bytes(range(256)) * 4
    info = struct.pack("<IiiHHIIiiII", 40, 8, 4, 1, 8, 1, len(pixels), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(pixels), 0, 0, 54 + 1024) + info + palette + pixels


def raw_files(folder: Path) -> list[Path]:
    """DNG files of several phases and orientations."""
    rng = np.random.default_rng(1)
    values = rng.integers(500, 16000, (32, 48, 3)).astype(np.uint16)
    return [
        write_dng(
            folder / f"{phase}.dng",
            mosaic_of(values, phase),
            pattern=PHASES[phase],
            orientation=turn,
            matrix=np.eye(3) if turn > 1 else None,
            black=(512,) * 4,
        )
        for phase, turn in zip(PHASES, (1, 3, 6, 8), strict=True)
    ]


def weights(folder: Path) -> list[Path]:
    """Weight files of several networks, formats and wrappings."""
    torch.manual_seed(0)
    files = [folder / "own.safetensors", folder / "plain.safetensors", folder / "denoiser.safetensors"]
    save_network(files[0], FastSR(channels=8, blocks=1), kind="restorer")
    rlfn = build("rlfn", {"channels": 8, "attention_channels": 4, "blocks": 1})
    save_file(rlfn.state_dict(), files[1])
    save_network(files[2], UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8), kind="denoiser")
    sources = {
        "rlfn": rlfn,
        "rrdb": build("rrdb", {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "num_grow_ch": 4}),
        "swinir": build(
            "swinir",
            {
                "upscale": 2,
                "img_size": 8,
                "window_size": 4,
                "depths": [2],
                "embed_dim": 8,
                "num_heads": [2],
                "upsampler": "pixelshuffledirect",
            },
        ),
        "ffdnet": build("ffdnet", {"nc": 8, "nb": 3}),
    }
    for name, network in sources.items():
        for zipped in (True, False):
            files.append(folder / f"{name}-{zipped}.pth")
            content = {"params": network.state_dict(), "epoch": 3, "optimizer": {"lr": 1e-3, "betas": (0.9, 0.99)}}
            torch.save(content, files[-1], _use_new_zipfile_serialization=zipped)
    return files


def bundle(folder: Path) -> Path:
    """A bundle of three tiny networks."""
    torch.manual_seed(1)
    restoration = Restoration.from_parts(
        restorer=FastSR(channels=8, blocks=1),
        denoiser=UNetDenoiser(channels=(8, 8), blocks=(1, 1), encoding=8),
        fusion=FastFusion(channels=(8, 8), blocks=(1, 1, 1), encoding=8),
        tau=300,
        steps=2,
        sigma_min=0.05,
        task="sr4",
        device="cpu",
    )
    restoration.save_pretrained(folder)
    return folder


def batch(folder: Path) -> Path:
    """Two photos in `in`, an empty result of one in `out`, and the manifest of the run that made it."""
    inputs, results = folder / "in", folder / "out"
    for path in (inputs / "a.png", inputs / "b.png", results / "a.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    made_by = {"bundle": "sr4", "seed": 0, "settings": {"tau": None, "steps": 8}}
    with Manifest(results) as manifest:
        for name, status in (("a.png", "restored"), ("b.png", "failed")):
            stamp = stamp_of(inputs / name)
            manifest.add([{"target": name, "status": status, "seconds": 1.5, **asdict(stamp)}], made_by)
    return results / MANIFEST


# Mangling -------------------------------------------------------------------------------------------------------------

_EDGES = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63, 2**64 - 1)
_NUMBERS = ("0", "-1", "1e999", "NaN", "Infinity", "99999999999999999999", "1e-320", "4097", "1000000", "null", '"x"')


def mangled(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A file with one to four faults, some where only a reader that looks inside meets them."""
    result = data
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        result = rng.choice(_WAYS)(result, other, rng)
    if result.startswith(b"\x89PNG") and rng.random() < 0.7:
        result = _with_right_checks(result)
    return result


def mangled_archive(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A weight file with faults, in part within the entries of an archive whose checksums are right again."""
    if not data.startswith(b"PK") or rng.random() < 0.4:
        return _mangled_header(data, rng) if data[8:9] == b"{" and rng.random() < 0.6 else mangled(data, other, rng)
    buffer, target = io.BytesIO(), rng.random()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        names = old.namelist()
        chosen = (
            next((name for name in names if name.endswith("data.pkl")), names[0]) if target < 0.8 else rng.choice(names)
        )
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = _renamed(content, rng) if rng.random() < 0.3 else mangled(content, other, rng)
            new.writestr(name, content)
    return buffer.getvalue()


def mangled_json(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """JSON with other numbers, deep nesting, or plain faults."""
    text = data.decode(errors="replace")
    kind = rng.random()
    if kind < 0.7:
        for _ in range(rng.choice((1, 1, 2, 3))):
            places = list(re.finditer(r"-?\d+(\.\d+)?([eE][-+]?\d+)?|\"[^\"]*\"|true|false", text))
            if not places:
                break
            place = rng.choice(places)
            new = rng.choice(
                (*_NUMBERS, "[" * 50 + "]" * 50, '{"a":1}', '"../../../etc/passwd"', '"' + "a" * 3000 + '"')
            )
            text = text[: place.start()] + new + text[place.end() :]
        return text.encode()
    return b"[" * rng.choice((10, 10**5)) + data if kind < 0.75 else mangled(data, other, rng)


def _mangled_header(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file with another header of the right length."""
    (length,) = struct.unpack("<Q", data[:8])
    header, rest = data[8 : 8 + length], data[8 + length :]
    entries = json.loads(header)
    if "__metadata__" in entries and rng.random() < 0.5:
        inner = entries["__metadata__"].get("dp_ir", "{}")
        entries["__metadata__"]["dp_ir"] = mangled_json(inner.encode(), b"", rng).decode(errors="replace")
        header = json.dumps(entries).encode()
    else:
        header = _renamed(mangled_json(header, b"", rng), rng)
    return struct.pack("<Q", len(header)) + header + rest


def _renamed(data: bytes, rng: random.Random) -> bytes:
    """Names of tensors that count otherwise; their length stays, as pickles state it."""
    digits = list(re.finditer(rb"(?<=[._])\d+(?=[._])", data))
    for place in rng.sample(digits, min(len(digits), rng.randint(1, 3))):
        data = data[: place.start()] + b"9" * (place.end() - place.start()) + data[place.end() :]
    return data


def _flip(data: bytes, other: bytes, rng: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(rng.randint(1, 20) if result else 0):
        result[rng.randrange(len(result))] ^= 1 << rng.randrange(8)
    return bytes(result)


def _edit_header(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """An integer near the beginning or anywhere becomes one that programs trip over."""
    width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    last = min(len(data), rng.choice((64, 600, len(data)))) - width
    if last < 0:
        return data
    place = rng.randint(0, last)
    number = (rng.choice(_EDGES) & (1 << 8 * width) - 1).to_bytes(width, order)
    return data[:place] + number + data[place + width :]


def _cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))]


def _remove(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(data))
    return data[:start] + data[start + rng.choice((1, 4, 100)) :]


def _repeat(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start = rng.randint(0, len(data))
    part = data[start : start + rng.choice((1, 12, 200))]
    return data[:start] + part * rng.choice((2, 3, 50)) + data[start:]


def _splice(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _overwrite(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start, length = rng.randint(0, len(data)), rng.choice((4, 16, 64))
    return data[:start] + rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length))) + data[start + length :]


_WAYS: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _edit_header, _edit_header, _edit_header),
    *(_cut, _remove, _repeat, _splice, _overwrite),
)


def _with_right_checks(data: bytes) -> bytes:
    """A PNG whose chunks have the checksums they should, so that their contents are read."""
    result, position = bytearray(data), 8
    while position + 12 <= len(result):
        end = position + 12 + int.from_bytes(result[position : position + 4], "big")
        if end > len(result):
            break
        result[end - 4 : end] = struct.pack(">I", zlib.crc32(result[position + 4 : end - 4]))
        position = end
    return bytes(result)
