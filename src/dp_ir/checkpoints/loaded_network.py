"""Calling a network as its contract says.

Its value range, noise-level convention, padding and precision are met on the way in, and what it returns is checked on
the way out. Everything outside speaks float32 in [0, 1] units. There is no second place for any of this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dp_ir.checkpoints.contract import NetworkInfo, info_of
from dp_ir.checkpoints.network_file import Kind, NetworkRecord
from dp_ir.errors import NetworkContractError
from dp_ir.networks.default_dtype import float32_by_default


class LoadedNetwork(nn.Module):
    """A network with what is known of it: a restorer, a denoiser or a fusion in float32 and [0, 1] units.

    It moves as modules do (`.to("cuda")`), and `.device` says where images are sent.

    Args:
        kind: "restorer", "denoiser" or "fusion".
        module: callable on images (B, C, H, W), and on sigma (B,) after them unless it is a restorer; or another
            `LoadedNetwork`, whose module is used on this device and in this precision.
        info: what is known of it; what it says of itself by default.
        record: its identity and card, where it has them; None for what no file of this package could hold.
        device: where it is moved; None leaves it where it is, which is the CPU for a function.
        bfloat16: run in bfloat16 autocast, if the network allows it.
        run: what is called in the module's place, such as the same network in another engine.
        smallest: side of the images that `run` takes, where it is more than the module needs.

    Examples:
        >>> double = LoadedNetwork("restorer", lambda y: y.repeat_interleave(2, 2).repeat_interleave(2, 3))
        >>> double(torch.rand(1, 3, 4, 5)).shape
        torch.Size([1, 3, 8, 10])
    """

    def __init__(
        self,
        kind: Kind,
        module: Any,
        info: NetworkInfo | None = None,
        *,
        record: NetworkRecord | None = None,
        device: torch.device | str | None = None,
        bfloat16: bool = False,
        run: Callable[..., Tensor] | None = None,
        smallest: int = 1,
    ) -> None:
        super().__init__()
        info = info_of(module) if info is None else info
        if isinstance(module, LoadedNetwork):
            module, record = module.module, record or module.record
        if kind == "fusion" and info.detail is not None:
            _check_sees_the_dial(module, info)
        self.kind, self.record, self.run = kind, record, run
        self._smallest = max(info.minimum_size, smallest)
        self.info = info if kind == "restorer" else replace(info, scale=1)
        self.module: Any = module
        self.autocast = bfloat16 and info.supports_bfloat16
        weight = next(module.parameters(), None) if isinstance(module, nn.Module) else None
        if isinstance(module, nn.Module) and (device is not None or (weight is not None and weight.is_meta)):
            _move(kind, module, device or "cpu")
        device = device or ("cpu" if weight is None else weight.device)
        self.register_buffer("_place", torch.empty(0, device=device), persistent=False)  # moves with the rest

    @property
    def device(self) -> torch.device:
        """Where images are sent."""
        return self.get_buffer("_place").device

    @float32_by_default()
    def forward(self, *arguments: Tensor) -> Tensor:
        """Run the network.

        Args:
            arguments: images, each (B, C, H, W), float32 in [0, 1] units; for a denoiser or a fusion then sigma (B,) in
                [0, 1] units; for a fusion then, if wanted, detail (B,), which one that does not see it is not given.

        Returns:
            (B, 3, scale * H, scale * W), float32 in [0, 1] units, not clipped.

        Raises:
            NetworkContractError: the result is no tensor, has another shape, or holds NaN or infinity; or a fusion is
                given a dial that it was built without.
        """
        images = [argument for argument in arguments if argument.ndim > 1]
        sigma, *detail = arguments[len(images) :] or (None,)
        channels, height, width = images[0].shape[-3:]
        if channels != self.info.channels:
            raise NetworkContractError(
                f"The {self.kind} takes {self.info.channels} channels, but the image has {channels}: use a "
                "network made for such images."
            )
        kind = self._number_type
        entered = [self._enter(image).to(kind) for image in images]
        sigma, detail = None if sigma is None else sigma.to(kind), [dial.to(kind) for dial in detail]
        given = entered[0]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            call = self.module if self.run is None else self.run
            levels = [] if sigma is None else self._with_sigma(entered, sigma * self._width)
            result = call(*(levels or entered), *(() if self.info.detail is None else detail))
        scale = self._check(result, given)
        restored = self._leave(result.float()[..., : scale * height, : scale * width])
        if not bool(torch.isfinite(restored).all()):
            remedy = "bfloat16; try precision='float32'" if self.autocast else "float32; check its weights"
            raise NetworkContractError(f"The {self.kind} returned NaN or infinity for a finite image, in {remedy}.")
        return restored

    def _with_sigma(self, images: list[Tensor], sigma: Tensor) -> list[Tensor]:
        """The arguments of a network that sees the noise level, or does not, each in its own way."""
        match self.info.sigma_input:
            case "sigma":
                return [*images, sigma]
            case "variance":
                return [*images, sigma**2]
            case "map":
                noisy = images[0]
                return [torch.cat((noisy, sigma.view(-1, 1, 1, 1).expand_as(noisy[:, :1])), dim=1)]
            case "none":
                return images

    @property
    def _number_type(self) -> torch.dtype:
        """What the network is given: float32, unless it was made where float64 is the default type."""
        weights = self.module.parameters() if isinstance(self.module, nn.Module) and self.run is None else ()
        first = next((weight.dtype for weight in weights if weight.is_floating_point()), torch.float32)
        return torch.float64 if first == torch.float64 else torch.float32

    @property
    def _width(self) -> float:
        return self.info.value_range[1] - self.info.value_range[0]

    def _enter(self, image: Tensor) -> Tensor:
        padded = self._pad(image)
        if self.info.value_range != (0.0, 1.0):
            padded = padded * self._width + self.info.value_range[0]
        return padded.contiguous(memory_format=torch.channels_last) if padded.ndim == 4 else padded

    def _leave(self, result: Tensor) -> Tensor:
        if self.info.value_range == (0.0, 1.0):
            return result
        return (result - self.info.value_range[0]) / self._width

    def _pad(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        multiple = self.info.multiple_of
        bottom, right = (-(-max(side, self._smallest) // multiple) * multiple - side for side in (height, width))
        if not bottom and not right:
            return image
        mode = "reflect" if bottom < height and right < width else "replicate"
        flat = F.pad(image.flatten(0, -4), (0, right, 0, bottom), mode=mode)
        return flat.view(*image.shape[:-2], *flat.shape[-2:])

    def _check(self, result: Any, given: Tensor) -> int:
        """Check the shape of a result; gives its scale."""
        if not isinstance(result, Tensor):
            raise NetworkContractError(
                f"The {self.kind} returned a {type(result).__name__}: expected a tensor (B, 3, H, W); wrap the "
                "network in a function that picks the image."
            )
        batch, (height, width) = given.shape[0], given.shape[-2:]
        scale = self.info.scale or (result.shape[-1] // width if result.ndim == 4 else 1) or 1
        channels = 1 if self.info.channels == 1 else 3
        expected = (batch, channels, scale * height, scale * width)
        if tuple(result.shape) != expected or not result.is_floating_point():
            raise NetworkContractError(
                f"The {self.kind} returned {tuple(result.shape)} of {result.dtype} for an image {tuple(given.shape)}: "
                f"expected {expected} in floating point; check its scale and multiple of the sides in NetworkInfo."
            )
        return scale


def _move(kind: Kind, module: nn.Module, device: torch.device | str) -> None:
    try:
        channels_last(module.to(device))
    except (RuntimeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise NetworkContractError(
            f"The {kind}, a {type(module).__name__}, cannot be moved to {device} ({reason}): load its weights "
            "first, or choose another device."
        ) from error


def _check_sees_the_dial(fusion: Any, info: NetworkInfo) -> None:
    """Raise NetworkContractError where a fusion takes no dial after its other arguments; one that cannot say may."""
    given = ["restored", "denoised", "noisy", *([] if info.sigma_input == "none" else ["sigma"]), "detail"]
    try:
        signature = inspect.signature(fusion.forward if isinstance(fusion, nn.Module) else fusion)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*given)
    except TypeError as error:
        name = getattr(fusion, "__name__", type(fusion).__name__)
        raise NetworkContractError(
            f"The fusion {name} is stated to see the dial from {info.detail:g} on, but it cannot be called with "
            f"({', '.join(given)}): leave detail out of its NetworkInfo, or give a fusion that takes it."
        ) from error


def channels_last(module: nn.Module) -> nn.Module:
    """Lay the convolution weights of a module out as is fastest for them, whatever other parameters it has."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module
