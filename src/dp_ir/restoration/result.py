"""What a restoration gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RestorationResult:
    """What a restoration gives. Images are of the kind that was given: tensor, numpy array, or PIL image of 8 bits.

    For all else, such as paths, they are of type `Picture`, which keeps 16 bits, transparency, colour profile and
    metadata, and has a `save` as PIL images have.

    Of a burst they are upright pictures of 16 bits, rendered to sRGB; `image.raw.camera.decode` makes them linear.

    Args:
        image: the restored image (the first sample), clamped to [0, 1].
        restored: the restorer's own estimate, clamped to [0, 1].
        samples: all samples where more than one was asked for: an array or tensor (N, ...), or a tuple of pictures.
        mean: their mean.
        std: their standard deviation per value (with N - 1), in [0, 1] units: a tensor, or a float32 array (H, W, 3).
        nfe: evaluations per network ("restorer", "denoiser", "fusion") that each image went through, all samples
            together.
        seeds: of each image that was given; the same ones give the same result again.
    """

    image: Any
    restored: Any
    samples: Any | None
    mean: Any | None
    std: Any | None
    nfe: dict[str, int]
    seeds: tuple[int, ...] = ()
