"""Which seed belongs to which image and sample."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch import Tensor

from dp_ir.errors import DPIRError


def plain(number: Any) -> Any:
    """A number of numpy, or an array or a tensor without dimensions, as Python's own; anything else as it is."""
    return number.item() if isinstance(number, np.generic | np.ndarray | Tensor) and not number.ndim else number


def image_seeds(seed: int | Iterable[int] | None, images: int) -> list[int]:
    """One seed per image of a batch; a single one is every image's, so that no result depends on a place in a batch.

    Args:
        seed: of all images, or of each; None draws one by chance for each.
        images: how many there are.

    Raises:
        DPIRError: there are more or fewer seeds than images.
    """
    if seed is None:
        return [secrets.randbits(32) for _ in range(images)]
    given: Any = plain(seed)
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes)
    seeds = [plain(own) for own in given] if several else [given] * images
    if len(seeds) != images:
        raise DPIRError(f"There are {len(seeds)} seeds for {images} images: give one seed, or one per image.")
    return seeds


def sample_seed(seed: int, index: int) -> int:
    """Seed of one of several samples: the first has the seed itself, the others numbers that depend on both alone."""
    if index == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:8], "little")
