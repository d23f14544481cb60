"""The network that a training begins with: new, or with the weights of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from dp_ir.checkpoints import NetworkRecord, build
from dp_ir.checkpoints.bundle import bundle_network, locate_bundle
from dp_ir.checkpoints.hub import locate_file
from dp_ir.checkpoints.loading import read_network
from dp_ir.errors import RecipeError
from dp_ir.networks.fast_deblur.model import FastDeblur
from dp_ir.networks.unet_bridge.model import UNetBridge
from dp_ir.networks.unet_denoiser.model import UNetDenoiser
from dp_ir.training.recipe import Recipe


@dataclass(frozen=True)
class Start:
    """A network as its training finds it.

    Args:
        network: to train.
        origins: of the weights it starts from, by the name of the part that has them, "" for all of it.
    """

    network: nn.Module
    origins: Mapping[str, NetworkRecord]

    @property
    def settings(self) -> dict[str, Any]:
        """What the network and its first weights are, for `history.History`."""
        return {
            "network.config": dict(cast(Any, self.network.config)),
            "network.init_sha256": self.origins[""].sha256 if "" in self.origins else None,
            "network.init_parts_sha256": {name: origin.sha256 for name, origin in self.origins.items() if name},
        }

    @property
    def card(self) -> dict[str, Any]:
        """What the card of the trained network says of its start."""
        card: dict[str, Any] = {}
        for part, origin in self.origins.items():
            told = {name: origin.card[name] for name in ("origin", "training") if name in origin.card}
            card[f"{part}_started_from" if part else "started_from"] = {"sha256": origin.sha256, **told}
        return card


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
    whole = settings.network.init
    sources = {**({} if whole is None else {"": whole}), **settings.network.init_parts}
    return Start(network, {name: _begin(network, name, source, settings) for name, source in sources.items()})


def _begin(network: nn.Module, name: str, source: str, settings: Recipe) -> NetworkRecord:
    """Give a network, or one of its parts by name, the weights of a source, and tell what they are."""
    try:
        part = network.get_submodule(name)
    except AttributeError:
        known = ", ".join(child for child, _ in network.named_children())
        raise RecipeError(
            f"network.init_parts names '{name}', which {settings.network.architecture} has not: its parts are {known}."
        ) from None
    start, record = _read(source, settings)
    if isinstance(part, FastDeblur) and isinstance(start, UNetDenoiser):
        start = FastDeblur.from_denoiser(start, settings.network.init_sigma)
    own: dict[str, Any] = dict(cast(Any, getattr(part, "config", {})))
    dial = {"detail": own["detail"]} if "detail" in own else {}
    if {**cast(Any, start.config), **dial} != own or type(start) is not type(part):
        raise RecipeError(
            f"{source} holds a {record.architecture} with {start.config}, the recipe asks for "
            f"{f'a part {name}' if name else settings.network.architecture} with {own}: make the two agree."
        )
    # What a network that sees the dial has beyond one that does not begins without effect.
    part.load_state_dict({**part.state_dict(), **start.state_dict()})
    return record


def _read(source: str, settings: Recipe) -> tuple[nn.Module, NetworkRecord]:
    """The network that a text names: of a bundle the part that is trained, of a file whatever it holds."""
    if (file := locate_file(source)) is not None:
        return read_network(file)
    return bundle_network(locate_bundle(source), cast(Any, settings.kind))
