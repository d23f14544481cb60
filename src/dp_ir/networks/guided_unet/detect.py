"""Weight files of guided diffusion (openai/guided-diffusion) and its kin: a flat state dict.

What a state dict does not show (attention heads, the order of their channels, the schedule) is that of the released
networks without class labels, which what it does show tells apart:

- residual blocks change the resolution: guided-diffusion, and FFHQ as in DPS and DiffPIR;
- convolutions do, and the step scales and shifts: improved-diffusion, ImageNet-64 and CIFAR-10;
- convolutions do, and the step is added: improved-diffusion, LSUN.

All of them order the attention's channels in the old way.
"""

from __future__ import annotations

from typing import Any

from dp_ir.networks.registry import Detector, State, register_detector

_PREFIX = "network."
_OFFICIAL = (
    "time_embed.0.weight",
    "input_blocks.0.0.weight",
    "input_blocks.1.0.emb_layers.1.weight",
    "middle_block.1.qkv.weight",
    "output_blocks.0.0.in_layers.2.weight",
    "out.2.weight",
)
_GUIDED = {"num_head_channels": 64, "num_heads": None, "schedule": "linear", "steps": 1000}
_IMPROVED = {"num_heads": 4, "schedule": "cosine", "steps": 4000}
_IMPROVED_LSUN = {"num_heads": 1, "schedule": "linear", "steps": 1000}


def _rename(state: State) -> State:
    """The denoiser holds the released network as `network`."""
    if all(name in state for name in _OFFICIAL):
        return {f"{_PREFIX}{name}": value for name, value in state.items()}
    return state


def _config(state: State) -> dict[str, Any]:
    def has(name: str) -> bool:
        return f"{_PREFIX}{name}" in state

    def shape(name: str) -> tuple[int, ...]:
        return tuple(state[f"{_PREFIX}{name}"].shape)

    if has("label_emb.weight"):
        raise ValueError(
            f"This diffusion network is told one of {shape('label_emb.weight')[0]} classes, which a denoiser does not "
            "know: use the unconditional network."
        )
    inputs, outputs = shape("input_blocks.0.0.weight")[1], shape("out.2.weight")[0]
    if inputs != 3 or outputs not in (3, 6):
        raise ValueError(
            f"This diffusion network maps {inputs} channels to {outputs}: expected 3 to 3 or 6; networks that are also "
            "given a small image to enlarge are no denoisers."
        )

    def ends_level(number: int) -> bool:
        """Whether an output block has a layer that goes up, which is after its residual block and attention."""
        block = f"output_blocks.{number}"
        up = 2 if has(f"{block}.1.qkv.weight") else 1
        return has(f"{block}.{up}.conv.weight") or has(f"{block}.{up}.in_layers.2.weight")

    model_channels = shape("time_embed.0.weight")[1]
    output_blocks = len({name.split(".")[2] for name in state if name.startswith(f"{_PREFIX}output_blocks.")})
    rises = [number for number in range(output_blocks) if ends_level(number)]
    per_level = rises[0] + 1 if rises else output_blocks  # on the way up; on the way down the last one goes down
    firsts = {level: f"input_blocks.{1 + level * per_level}" for level in range(len(rises) + 1)}
    first = firsts[0]
    by_convolution = has(f"input_blocks.{per_level}.0.op.weight")
    scales = shape(f"{first}.0.emb_layers.1.weight")[0] > shape(f"{first}.0.out_layers.3.weight")[0]
    return {
        "model_channels": model_channels,
        "channel_mult": [shape(f"{block}.0.out_layers.3.weight")[0] / model_channels for block in firsts.values()],
        "num_res_blocks": per_level - 1,
        "attention_rates": [2**level for level, block in firsts.items() if has(f"{block}.1.qkv.weight")],
        "learn_sigma": outputs == 6,
        "resblock_updown": not by_convolution,
        "use_scale_shift_norm": scales,
        **(_GUIDED if not by_convolution else _IMPROVED if scales else _IMPROVED_LSUN),
    }


DETECTOR = register_detector(Detector("guided-unet", tuple(f"{_PREFIX}{name}" for name in _OFFICIAL), _config, _rename))
