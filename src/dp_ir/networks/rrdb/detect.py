"""Weight files of RRDBNet in its three namings: BasicSR and Real-ESRGAN, xinntao/ESRGAN, and ESRGAN of 2018.

The second is that of BSRGAN and RealSR too. The third numbers the layers: with n doublings of the resolution `model.0`
is the first convolution, `model.1` the body, `model.3`, `model.6`, ... the convolutions after each doubling, and
`model.(3 n + 2)` and `model.(3 n + 4)` are the last two.
"""

from __future__ import annotations

import re
from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector

_SECOND_NAMING = (
    (r"RRDB_trunk\.(\d+)\.RDB([123])\.", r"body.\1.rdb\2."),
    (r"trunk_conv\.", "conv_body."),
    (r"upconv(\d+)\.", r"conv_up\1."),
    (r"HRconv\.", "conv_hr."),
)
_BASICSR = re.compile(
    r"(body\.\d+\.rdb[123]\.conv[1-5]|conv_first|conv_body|conv_up\d+|conv_hr|conv_last)\.(weight|bias)"
    r"|body\.\d+\.rdb[123]\.conv1x1\.weight"
)


def _rename(state: State) -> State:
    if "RRDB_trunk.0.RDB1.conv1.weight" in state:
        renamed = {_substituted(name, _SECOND_NAMING): value for name, value in state.items()}
    elif "model.1.sub.0.RDB1.conv1.0.weight" in state:
        naming = _third_naming(state)
        renamed = {_substituted(name, naming): value for name, value in state.items()}
    else:
        return state
    return renamed if all(_BASICSR.fullmatch(name) for name in renamed) else state


def _third_naming(state: State) -> tuple[tuple[str, str], ...]:
    """Patterns and replacements, which depend on how many groups and doublings there are."""
    matches = [re.fullmatch(r"model\.(\d+)\.weight", name) for name in state]
    last = max((int(match[1]) for match in matches if match), default=0)
    naming = [
        (r"model\.0\.", "conv_first."),
        (r"model\.1\.sub\.(\d+)\.RDB([123])\.(conv[1-5])\.0\.", r"body.\1.rdb\2.\3."),
        (r"model\.1\.sub\.(\d+)\.RDB([123])\.conv1x1\.", r"body.\1.rdb\2.conv1x1."),
        (r"model\.1\.sub\.\d+\.", "conv_body."),
        *((rf"model\.{3 * number}\.", f"conv_up{number}.") for number in range(1, (last - 4) // 3 + 1)),
        (rf"model\.{last - 2}\.", "conv_hr."),
        (rf"model\.{last}\.", "conv_last."),
    ]
    return tuple(naming)


def _substituted(name: str, naming: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in naming:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name


def _config(state: State) -> dict[str, Any]:
    num_feat, first = state["conv_first.weight"].shape[:2]
    num_out_ch = state["conv_last.weight"].shape[0]
    doublings = sum(bool(re.fullmatch(r"conv_up\d+\.weight", name)) for name in state)
    # Images go in with as many channels as they come out with, or the network began by unshuffling pixels.
    unshuffle = {4 * num_out_ch: 2, 16 * num_out_ch: 4}.get(first, 1)
    return {
        "num_in_ch": first // unshuffle**2,
        "num_out_ch": num_out_ch,
        "scale": 2**doublings // unshuffle,
        "num_feat": num_feat,
        "num_block": len({name.split(".")[1] for name in state if name.startswith("body.")}),
        "num_grow_ch": state["body.0.rdb1.conv1.weight"].shape[0],
        "unshuffle": unshuffle,
        "plus": "body.0.rdb1.conv1x1.weight" in state,
    }


DETECTOR = register_detector(
    Detector(
        "rrdb",
        ("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_hr.weight", "conv_last.weight"),
        _config,
        _rename,
    )
)
