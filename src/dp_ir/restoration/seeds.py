"""Which seed belongs to which image and sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dp_ir.errors import DPIRError


def image_seeds(seed: int | Sequence[int], images: int) -> list[int]:
    """One seed per image of a batch; a single one is every image's, so that no result depends on a place in a batch.

    Raises:
        DPIRError: there are more or fewer seeds than images.
    """
    seeds = [seed] * images if isinstance(seed, int) else list(seed)
    if len(seeds) != images:
        raise DPIRError(f"There are {len(seeds)} seeds for {images} images: give one seed, or one per image.")
    return seeds


def sample_seed(seed: int, index: int) -> int:
    """Seed of one of several samples: the first has the seed itself, the others numbers that depend on both alone."""
    if index == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed}/{index}".encode()).digest()[:8], "little")
