"""The network that a training begins with: new, or with the weights of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from dp_ir.checkpoints import NetworkRecord, build
from dp_ir.checkpoints.architectures import architecture_of
from dp_ir.checkpoints.bundle import bundle_network, locate_bundle
from dp_ir.checkpoints.hub import locate_file
from dp_ir.checkpoints.loading import read_network
from dp_ir.errors import RecipeError
from dp_ir.networks.fast_deblur import FastDeblur
from dp_ir.networks.unet_bridge import UNetBridge
from dp_ir.networks.unet_denoiser import UNetDenoiser
from dp_ir.training.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """A network as its training finds it.

    Args:
        network: to train.
        origin: of the weights it starts from; None for random ones.
    """

    network: nn.Module
    origin: NetworkRecord | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What the network and its first weights are, for `history.History`."""
        return {
            "network.config": dict(cast(Any, self.network.config)),
            "network.init_sha256": self.origin.sha256 if self.origin is not None else None,
        }

    @property
    def card(self) -> dict[str, Any]:
        """What the card of the trained network says of its start."""
        if self.origin is None:
            return {}
        told = {name: self.origin.card[name] for name in ("origin", "training") if name in self.origin.card}
        return {"started_from": {"sha256": self.origin.sha256, **told}}


def starting_network(settings: Recipe) -> Start:
    """Build the network of a recipe, with the weights that it starts from.

    Raises:
        RecipeError: the network is none for what is trained, or the weights are of another network.
        CheckpointError, BundleError, MissingExtraError: the weights cannot be had, as by `load_restorer`.
    """
    config = dict(settings.network.config)
    if settings.kind == "denoiser" and settings.network.architecture == "unet-denoiser":
        config.setdefault("sigma_range", [settings.noise.low, settings.noise.high])
    network = build(settings.network.architecture, config)
    if settings.kind == "bridge" and not isinstance(network, UNetBridge):
        raise RecipeError(
            f"The recipe trains a bridge with the architecture {settings.network.architecture}: expected unet-bridge."
        )
    source = settings.network.init
    if source is None:
        return Start(network)
    start, record = _read(source, settings)
    if isinstance(network, FastDeblur) and isinstance(start, UNetDenoiser):
        start = FastDeblur.from_denoiser(start, settings.network.init_sigma)
    own: dict[str, Any] = dict(cast(Any, network.config))
    # What a network with a dial or a context has beyond one without begins without effect.
    began = {**cast(Any, start.config), **{name: own[name] for name in ("detail", "context") if name in own}}
    if began != own or architecture_of(start) != settings.network.architecture:
        raise RecipeError(
            f"{source} holds a {record.architecture} with {start.config}, the recipe asks for "
            f"{settings.network.architecture} with {network.config}: make the two agree."
        )
    network.load_state_dict({**network.state_dict(), **start.state_dict()})
    return Start(network, record)


def _read(source: str, settings: Recipe) -> tuple[nn.Module, NetworkRecord]:
    """The network that a text names: of a bundle the part that is trained, of a file whatever it holds."""
    if (file := locate_file(source)) is not None:
        return read_network(file)
    return bundle_network(locate_bundle(source), cast(Any, settings.kind))
