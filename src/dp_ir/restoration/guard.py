"""Calling a network as its contract says.

Its value range, size multiple and precision are met on the way in, and what it returns is checked on the way out.
Everything outside speaks float32 in [0, 1] units.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.errors import NetworkContractError
from dp_ir.restoration.protocols import NetworkInfo


class GuardedNetwork:
    """A network behind its contract.

    Args:
        kind: "restorer", "denoiser" or "fusion", for errors.
        network: callable on images (B, C, H, W), and sigma (B,) where there is one.
        info: what is known of it.
        device: where images are sent; a module is moved there.
        bfloat16: run in bfloat16 autocast, if the network allows it.
    """

    def __init__(self, kind: str, network: Any, info: NetworkInfo, *, device: torch.device, bfloat16: bool) -> None:
        self.kind, self.network = kind, network
        self.info = info if kind == "restorer" else replace(info, scale=1)
        self.device = device
        self.bfloat16 = bfloat16 and info.half_safe
        if isinstance(network, nn.Module):
            network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, *images: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Run the network.

        Args:
            images: each (B, C, H, W), float32 in [0, 1] units.
            sigma: (B,) in [0, 1] units, for networks that take one.

        Returns:
            (B, 3, scale * H, scale * W), float32 in [0, 1] units, not clipped.

        Raises:
            NetworkContractError: the result is no tensor, has another shape, or holds NaN or infinity.
        """
        if images[0].shape[1] != self.info.channels:
            raise NetworkContractError(
                f"The {self.kind} takes {self.info.channels} channels, but the image has {images[0].shape[1]}: use a "
                "network made for such images."
            )
        height, width = images[0].shape[-2:]
        arguments = [self._enter(image) for image in images]
        given = arguments[0]
        if sigma is not None:
            arguments.append(sigma * self._width)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            result = self.network(*arguments)
        scale = self._check(result, given)
        restored = self._leave(result.float()[..., : scale * height, : scale * width])
        if not bool(torch.isfinite(restored).all()):
            remedy = "bfloat16; try precision='float32'" if self.bfloat16 else "float32; check its weights"
            raise NetworkContractError(f"The {self.kind} returned NaN or infinity for a finite image, in {remedy}.")
        return restored

    @property
    def _width(self) -> float:
        return self.info.value_range[1] - self.info.value_range[0]

    def _enter(self, image: Tensor) -> Tensor:
        padded = self._pad(image)
        if self.info.value_range != (0.0, 1.0):
            padded = padded * self._width + self.info.value_range[0]
        return padded.contiguous(memory_format=torch.channels_last)

    def _leave(self, result: Tensor) -> Tensor:
        if self.info.value_range == (0.0, 1.0):
            return result
        return (result - self.info.value_range[0]) / self._width

    def _pad(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        bottom, right = -height % self.info.size_multiple, -width % self.info.size_multiple
        if not bottom and not right:
            return image
        mode = "reflect" if bottom < height and right < width else "replicate"
        return F.pad(image, (0, right, 0, bottom), mode=mode)

    def _check(self, result: Any, given: Tensor) -> int:
        """Check the shape of a result; gives its scale."""
        if not isinstance(result, Tensor):
            raise NetworkContractError(
                f"The {self.kind} returned a {type(result).__name__}: expected a tensor (B, 3, H, W); wrap the "
                "network in a function that picks the image."
            )
        batch, _, height, width = given.shape
        scale = self.info.scale or (result.shape[-1] // width if result.ndim == 4 else 1) or 1
        expected = (batch, 3, scale * height, scale * width)
        if tuple(result.shape) != expected or not result.is_floating_point():
            raise NetworkContractError(
                f"The {self.kind} returned {tuple(result.shape)} of {result.dtype} for an image {tuple(given.shape)}: "
                f"expected {expected} in floating point; check its scale and size multiple in NetworkInfo."
            )
        return scale
