"""What is compared: anything that turns an observation into an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Protocol

import torch
from torch import Tensor

from dp_ir.image.raw.burst import Burst
from dp_ir.image.raw.camera import Camera


@dataclass(frozen=True)
class Observation:
    """One observation of a data set.

    Args:
        dataset: name of the data set.
        name: name of the image in it, without a suffix; may hold "/" where the data set has folders of scenes.
        image: (1, C, h, w) float32 in [0, 1]; a burst is (1, N, 4, h, w), linear sensor data.
        camera: of a burst.
    """

    dataset: str
    name: str
    image: Tensor
    camera: Camera | None = None

    @property
    def input(self) -> Tensor | Burst:
        """As `Restoration` takes it."""
        return self.image if self.camera is None else Burst(self.image[0], self.camera)

    def rendered(self, restored: Tensor) -> Tensor:
        """What a restorer gives, (1, 3, H, W), as a photograph: of a burst it is linear sensor RGB."""
        return restored if self.camera is None else self.camera.render(restored)


@dataclass(frozen=True)
class Output:
    """What a method made of one observation.

    Args:
        image: (1, 3, H, W) float32, an sRGB photograph; what leaves [0, 1] is clipped when it is stored.
        calls: evaluations of each network, by role ("restorer", "denoiser", "fusion", "bridge"); empty where unknown.
    """

    image: Tensor
    calls: Mapping[str, int] = field(default_factory=dict)


class Method(Protocol):
    """A method that is compared with others; implementations are small frozen dataclasses or classes.

    One that draws samples, so that another seed gives another image, says so with an attribute `draws`, see
    `draws_samples`.
    """

    @property
    def name(self) -> str:
        """Its name in tables."""
        ...

    @property
    def identity(self) -> str:
        """A text that decides its outputs: equal texts, equal images; another file or setting, another text."""
        ...

    @property
    def networks(self) -> Mapping[str, Any]:
        """Its networks by role, for parameters, FLOPs and records of training; empty where they are not known."""
        ...

    @property
    def trained(self) -> tuple[str, ...]:
        """Roles of the networks that were trained for this method and task: the others are taken as they are."""
        ...

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation; the same seed gives the same image."""
        ...


def draws_samples(method: Method) -> bool:
    """Whether another seed gives another image; a method without an attribute `draws` gives one image."""
    return bool(getattr(method, "draws", False))


def identity_text(kind: str, **facts: Any) -> str:
    """An identity for `Method.identity`: version, kind and facts as JSON, which must decide the outputs."""
    return json.dumps({"dp_ir": version("dp-ir"), "kind": kind, **facts}, sort_keys=True, default=str)


def network_identity(network: Any, record: Any) -> str:
    """Identity of a network: its record's, else of its weights, else (a plain function) its qualified name."""
    if record is not None and record.sha256:
        return str(record.sha256)
    if isinstance(network, torch.nn.Module):
        digest = hashlib.sha256(repr(network).encode())
        for name, value in sorted(network.state_dict().items()):
            digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
    return f"{getattr(network, '__module__', '')}.{getattr(network, '__qualname__', type(network).__qualname__)}"
