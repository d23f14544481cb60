"""Bridge methods as baselines: InDI and PMRF, trained with `dp-ir train bridge`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_restorer, read_network
from dp_ir.checkpoints.network_file import NetworkRecord
from dp_ir.degradation.bicubic import imresize
from dp_ir.diffusion.bridge import bridge_euler, bridge_start
from dp_ir.diffusion.noise import generators
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Method, Observation, Output, identity_text, network_identity
from dp_ir.evaluation.methods.method_settings import read_settings, whole_number
from dp_ir.networks.unet_bridge.model import UNetBridge
from dp_ir.runtime.precision import pick_device, uses_bfloat16


@dataclass(frozen=True, eq=False)
class BridgeMethod:
    """A bridge from a start image to the clean one, in equal Euler steps.

    Args:
        name: in tables.
        bridge: the network, (mixed, t) -> estimate of E[x0 | mixed].
        record: of the bridge's file.
        restorer: what gives the start; None where it is the enlarged observation.
        steps: calls of the bridge.
    """

    name: str
    bridge: LoadedNetwork
    record: NetworkRecord
    restorer: LoadedNetwork | None
    steps: int

    @property
    def identity(self) -> str:
        """Networks, steps and precision."""
        return identity_text(
            "bridge",
            bridge=self.record.sha256,
            restorer=self.restorer and network_identity(self.restorer.module, self.restorer.record),
            info=asdict(self.bridge.info),
            steps=self.steps,
            bfloat16=self.bridge.autocast,
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """The bridge, and the restorer where it starts from one."""
        first = {} if self.restorer is None else {"restorer": self.restorer}
        return {**first, "bridge": self.bridge}

    @property
    def trained(self) -> tuple[str, ...]:
        """The bridge: all of it is trained for the task."""
        return ("bridge",)

    @property
    def draws(self) -> bool:
        """Whether it draws samples: it does where it was trained with noise on its start."""
        return float(self.bridge.module.noise) > 0

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation (1, 3, h, w)."""
        with torch.inference_mode():
            start = self._start(observation.image.to(self.bridge.device))
            noisy = bridge_start(start, self.bridge.module.noise, generators([seed]))
            image = bridge_euler(self.bridge, noisy, self.steps)
        calls = {} if self.restorer is None else {"restorer": 1}
        return Output(image.cpu().clone(), {**calls, "bridge": self.steps})

    def _start(self, observation: Tensor) -> Tensor:
        if self.restorer is not None:
            return self.restorer(observation)
        return imresize(observation, self.record.info.get("scale", 1))


def bridge_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `bridge`: a file of `dp-ir train bridge`; settings steps (8), restorer (a source) and precision."""
    given = read_settings("bridge", settings, {"steps": whole_number, "restorer": str, "precision": str})
    network, record = read_network(Path(source), "bridge")
    if not isinstance(network, UNetBridge):
        raise DataError(f"'{source}' holds a {record.kind}, not a bridge: give a file of `dp-ir train bridge`.")
    where = pick_device(device)
    bfloat16 = uses_bfloat16(given.get("precision", "auto"), where)
    restorer = None
    if network.start == "restored":
        if "restorer" not in given:
            raise DataError(
                f"The bridge '{source}' starts from a restorer's output: name the restorer it was trained for, as in "
                f"bridge:{source},restorer=sr4."
            )
        loaded = load_restorer(given["restorer"])
        if loaded.record is not None and loaded.record.sha256 != record.partners.get("restorer_sha256"):
            raise DataError(
                f"The bridge '{source}' was trained for another restorer than '{given['restorer']}': give the one it "
                "was trained for."
            )
        restorer = LoadedNetwork("restorer", loaded, device=where, bfloat16=bfloat16)
    bridge = LoadedNetwork("bridge", network, record=record, device=where, bfloat16=bfloat16)
    return BridgeMethod(name, bridge, record, restorer, given.get("steps", 8))
