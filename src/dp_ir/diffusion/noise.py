"""Noise that belongs to one image each: the same seed gives the same image alone or in any batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dp_ir.errors import DPIRError


def generators(seeds: Iterable[int]) -> list[torch.Generator]:
    """One random generator per image, seeded with the image's own seed.

    They live on the CPU, so that a seed means the same noise whatever device the networks run on.

    Raises:
        DPIRError: if a seed is not a whole number that fits into 64 bits.
    """
    made = []
    for seed in seeds:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise DPIRError(f"The seed is {seed!r}, but it must be a whole number from 0 to 2^64 - 1: choose another.")
        made.append(torch.Generator(device="cpu").manual_seed(seed))
    return made


def randn(
    shape: Sequence[int],
    generators: Sequence[torch.Generator],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Standard normal noise of shape (B, ...) in which image i is drawn by generator i alone.

    It is drawn in float32 on the generator's device and only then converted, so that precision and device do not
    change what a seed means.

    Raises:
        DPIRError: if there is not exactly one generator per image.
    """
    if len(generators) != shape[0]:
        raise DPIRError(
            f"There are {len(generators)} random generators for {shape[0]} images, but each image needs its own: "
            "give one seed per image."
        )
    drawn = [
        torch.randn(tuple(shape[1:]), generator=generator, device=generator.device, dtype=torch.float32)
        for generator in generators
    ]
    if not drawn:
        return torch.empty(tuple(shape), device=device, dtype=dtype)
    return torch.stack([image.to(dtype).to(device) for image in drawn])
