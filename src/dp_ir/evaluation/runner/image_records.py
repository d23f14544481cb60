"""The record beside each stored image: with it a run that ended at any moment goes on without doing anything twice.

A JSON file per method and image tells what the image was made of and what the metrics said of it. It counts only where
it fits: the image's values while the image and its target are the same, the image while method, data and seed are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dp_ir.datasets.pairs import ImagePair
from dp_ir.errors import DataError, DPIRError
from dp_ir.image import from_array, write_image
from dp_ir.image.camera import Camera
from dp_ir.part_files import replace_text

_FORMAT = 1


@dataclass(frozen=True)
class ImageRecord:
    """One method on one image, as stored.

    Args:
        made_of: hash of what decided the image, see `fingerprint`.
        target: hash of the target that the values are about.
        image: hash of the file with the image; empty where the method failed.
        values: by the metric's protocol.
        calls: network evaluations by role.
        seconds: wall-clock time of the method.
        peak_memory: bytes it added at its peak; None where not measured.
        error: one sentence where the method failed.
    """

    made_of: str
    target: str
    image: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, int] = field(default_factory=dict)
    seconds: float | None = None
    peak_memory: int | None = None
    error: str | None = None


def fingerprint(*texts: object) -> str:
    """Hash of texts."""
    return hashlib.sha256(json.dumps([str(text) for text in texts]).encode()).hexdigest()


def tensor_digest(image: Tensor) -> str:
    """Hash of shape and values of a float32 image."""
    digest = hashlib.sha256(str(tuple(image.shape)).encode())
    digest.update(image.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Hash of a file's content; empty where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def read_record(path: Path) -> ImageRecord | None:
    """The record of an image; None where there is none that can be read, which costs only work."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            return None
        return ImageRecord(**content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def write_record(path: Path, record: ImageRecord) -> None:
    """Write the record of an image, whole or not at all; raises DataError."""
    write_json(path, {"format": _FORMAT, **asdict(record)})


def write_json(path: Path, content: Any) -> None:
    """Write JSON, whole or not at all; raises DataError."""
    replace_text(path, json.dumps(content, indent=1), DataError)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def store_image(path: Path, image: Tensor, bit_depth: int = 8) -> None:
    """Write (1, 3, H, W) as a PNG of 8 or 16 bits, clipped to [0, 1], whole or not at all; raises DPIRError."""
    values = image[0].detach().float().cpu().clamp(0.0, 1.0).permute(1, 2, 0).numpy()
    levels = (values * np.float32(2**bit_depth - 1)).round().astype(np.uint8 if bit_depth == 8 else np.uint16)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DPIRError(
            f"The folder '{path.parent}' cannot be made ({error.strerror or error}): name another one for the results."
        ) from error
    write_image(path, from_array(levels), bit_depth=bit_depth)


def pair_digest(pair: ImagePair) -> str:
    """Hash of all that a method sees of a pair: the observation, and the camera of a burst."""
    if pair.camera is None:
        return tensor_digest(pair.observation)
    return fingerprint(*map(tensor_digest, (pair.observation, pair.camera.gains, pair.camera.matrix)))


def stored_bits(camera: Camera | None) -> int:
    """Bits per sample of stored images: of bursts 16, so that linear light can be told of them."""
    return 8 if camera is None else 16


def shown_observation(observation: Tensor, camera: Camera | None = None) -> Tensor:
    """An observation (1, C, h, w) or (1, N, C, h, w) as an RGB image (1, 3, h, w) to look at: the first of a burst.

    Four channels are R, G, G, B of a camera, shown with the two greens averaged, as the camera renders them.
    """
    frame = observation[:, 0] if observation.ndim == 5 else observation
    if frame.shape[1] == 4:
        red, first, second, blue = frame.clamp(0.0, 1.0).unbind(1)
        return (camera or Camera.neutral()).render(torch.stack((red, (first + second) / 2, blue), dim=1))
    return frame if frame.shape[1] == 3 else frame[:, :1].expand(-1, 3, -1, -1)
