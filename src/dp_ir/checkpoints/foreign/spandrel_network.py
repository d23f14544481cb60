"""Networks of the spandrel package (extra `zoo`): some forty published architectures, recognised by their weights.

Only its recognition, its modules and its metadata are used. Its own call clamps the result to [0, 1], runs in inference
mode, whose tensors cannot enter training, and gives DRUNet one fixed noise level; here the module itself is called.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from dp_ir.checkpoints.size_guard import no_more_parameters_than
from dp_ir.errors import CheckpointError, MissingExtraError


class SpandrelNetwork(nn.Module):
    """A network that spandrel recognised, on images (B, C, H, W) in [0, 1].

    Args:
        network: spandrel's name of the architecture, such as "CRAFT".
        model: the network; there is no building one without weights, which hold its hyper-parameters.

    Raises:
        ValueError: no model was given.
    """

    sigma_input = "none"

    def __init__(self, *, network: str, model: nn.Module | None = None) -> None:
        super().__init__()
        if model is None:
            raise ValueError("networks of spandrel are made from weights only")
        self.config: dict[str, Any] = {"network": network}
        self.model = model
        self.scale = 1
        self.channels = 3
        self.multiple_of = 1
        self.minimum_size = 1
        self.tiling = "supported"
        self.supports_bfloat16 = False

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', scale * H, scale * W), not clipped."""
        return self.model(image)


def spandrel_is_installed() -> bool:
    """Whether the extra `zoo` is there."""
    return _spandrel() is not None


def spandrel_network(state: Mapping[str, Tensor], source: str, *, network: str | None = None) -> SpandrelNetwork | None:
    """Build the network that spandrel recognises a state dict as.

    Args:
        state: a flat state dict.
        source: what to call the origin of the weights in errors.
        network: the architecture it must be, where that is known.

    Returns:
        The network (evaluation mode, float32, CPU), or None where spandrel does not know it.

    Raises:
        MissingExtraError: spandrel is not installed though `network` is named.
        CheckpointError: the weights do not fit what they were recognised as, or the network is of no use here.
    """
    spandrel = _spandrel()
    if spandrel is None:
        if network is not None:
            raise MissingExtraError(f"The network {network} in {source}", "spandrel", "zoo")
        return None
    own = {name: value.to(torch.float32) if value.is_floating_point() else value for name, value in state.items()}
    try:
        with warnings.catch_warnings(), no_more_parameters_than(len(own), source):
            warnings.simplefilter("ignore")  # of spandrel's and torch's own making
            found = spandrel.ModelLoader(device="cpu").load_from_state_dict(own)
    except spandrel.UnsupportedModelError:
        return None
    except Exception as error:  # every architecture has its own ways to fail on weights of the wrong shape
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"The weights in {source} look like one of spandrel's networks but do not fit it ({reason}): use the file "
            "as it was published."
        ) from error
    name = found.architecture.id
    if network is not None and name != network:
        raise CheckpointError(
            f"The weights in {source} are of {name}, but the file says {network}: write the file again."
        )
    needs = found.size_requirements
    if not isinstance(found, spandrel.ImageModelDescriptor) or needs.square:
        raise CheckpointError(
            f"{source} holds {name}, which does not map images of any size to images (it is for "
            f"{found.purpose}): use a restoration or super-resolution network."
        )
    built = SpandrelNetwork(network=name, model=found.model.eval())
    built.scale, built.channels = found.scale, found.input_channels
    built.multiple_of, built.minimum_size = max(needs.multiple_of, 1), max(needs.minimum, 1)
    built.supports_bfloat16 = bool(found.supports_bfloat16)
    built.tiling = "supported" if found.tiling is spandrel.ModelTiling.SUPPORTED else "discouraged"
    return built


def _spandrel() -> ModuleType | None:
    try:
        return import_module("spandrel")
    except ImportError:
        return None
