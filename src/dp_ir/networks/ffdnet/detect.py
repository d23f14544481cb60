"""Weight files of FFDNet (cszn/KAIR): a flat state dict."""

from __future__ import annotations

from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector


def _last(state: State) -> int:
    """Number of the last convolution in the released numbering, in which every other layer is an activation."""
    return 2 * (sum(name.endswith(".weight") for name in state) - 1)


class _FFDNetDetector(Detector):
    """Other plain stacks of convolutions (DnCNN, IRCNN) bear the same names, so that the shapes have to tell."""

    def matches(self, state: State) -> bool:
        """Whether a renamed state dict is of this family."""
        last = _last(state)
        names = {f"model.{number}.{part}" for number in range(0, last + 1, 2) for part in ("weight", "bias")}
        if not super().matches(state) or set(state) != names:
            return False
        first_shape, last_shape = state["model.0.weight"].shape, state[f"model.{last}.weight"].shape
        plain = len(first_shape) == len(last_shape) == 4
        return plain and first_shape[1] == last_shape[0] + 1 and last_shape[0] % 4 == 0


def _config(state: State) -> dict[str, Any]:
    last = _last(state)
    return {
        "channels": state[f"model.{last}.weight"].shape[0] // 4,
        "nc": state["model.0.weight"].shape[0],
        "nb": last // 2 + 1,
    }


DETECTOR = register_detector(
    _FFDNetDetector("ffdnet", ("model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"), _config)
)
