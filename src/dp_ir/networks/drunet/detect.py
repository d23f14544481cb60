"""Weight files of DRUNet (cszn/DPIR, cszn/KAIR): a flat state dict."""

from __future__ import annotations

from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector


def _config(state: State) -> dict[str, Any]:
    first_blocks = ("m_down1.0", "m_down2.0", "m_down3.0", "m_body.0")
    return {
        "channels": state["m_tail.weight"].shape[0],
        "nc": [state[f"{block}.res.0.weight"].shape[0] for block in first_blocks],
        "nb": len({name.split(".")[1] for name in state if name.startswith("m_body.")}),
    }


DETECTOR = register_detector(
    Detector(
        "drunet",
        (
            "m_head.weight",
            "m_down1.0.res.0.weight",
            "m_down2.0.res.0.weight",
            "m_down3.0.res.0.weight",
            "m_body.0.res.0.weight",
            "m_up3.0.weight",
            "m_tail.weight",
        ),
        _config,
    )
)
