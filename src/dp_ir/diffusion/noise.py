"""Noise that belongs to one image each: the same seed gives the same image alone or in any batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dp_ir.errors import DPIRError

_BLOCK = 16


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


def randn_parts(count: int, generator: torch.Generator, part: int) -> Iterator[tuple[int, Tensor]]:
    """What `torch.randn(count, generator=generator)` gives, part by part, for noise that does not fit into memory.

    The generator ends in the same state. What follows in the sequence is the same, too.

    Args:
        count: how many numbers.
        generator: on the CPU.
        part: about how many numbers are made at a time.

    Yields:
        Parts (n,) in float32 with the place of their first number; the last one overlaps the one before it.
    """
    if count < _BLOCK:
        yield 0, torch.randn(count, generator=generator)
        return
    # torch makes normal numbers in blocks of 16 from as many uniform ones. Where the last block is not full, it is
    # drawn once more, so that it reaches back into the one before; the numbers drawn for it first are lost.
    whole = count // _BLOCK * _BLOCK
    step = max(part // _BLOCK, 1) * _BLOCK
    for start in range(0, whole, step):
        yield start, torch.randn(min(step, whole - start), generator=generator)
    if count > whole:
        torch.rand(count - whole, generator=generator)
        yield count - _BLOCK, torch.randn(_BLOCK, generator=generator)
