"""Words and choices that several commands share."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from dp_ir.sampling_settings import SETTINGS

NETWORKS, SAMPLING, MACHINE = "Own networks", "Sampling", "Batches and machine"
"""Parts of the help of a command, after what everybody needs."""

SOURCE = (
    "a weight file of any known network, a bundle, a hub id, or FILE.py:NAME, a function or module of a Python file, "
    "which is run."
)
OVERRIDE = (
    "A fact about the network that is not as inferred, such as value_range=0,255 or sigma_range=0,50/255. KEY is "
    "scale, input, channels, multiple_of, minimum_size, value_range, sigma_range, sigma_input, supports_bfloat16, "
    "tiling or receptive_field; probe=no leaves out the check of all this on a test picture."
)
OVERRIDE_BY_KIND = "A fact about the restorer or the denoiser, such as restorer.scale=4; KEY is as for dp-ir convert."


RestorerOption = Annotated[
    str | None,
    typer.Option(
        "--restorer", rich_help_panel=NETWORKS, metavar="SOURCE", help=f"Instead of the bundle's own restorer: {SOURCE}"
    ),
]
DenoiserOption = Annotated[
    str | None,
    typer.Option(
        "--denoiser", rich_help_panel=NETWORKS, metavar="SOURCE", help="Instead of the bundle's own denoiser: likewise."
    ),
]
FusionOption = Annotated[
    str | None,
    typer.Option(
        "--fusion",
        rich_help_panel=NETWORKS,
        metavar="SOURCE",
        help="Instead of the bundle's own fusion network; if it was trained for certain calls, they are made.",
    ),
]


def _sampling(name: str, **known: Any) -> Any:
    """The option of a setting of sampling, from its declaration; left out it is the bundle's."""
    setting = SETTINGS[name]
    return typer.Option(
        f"--{name.replace('_', '-')}",
        help=setting.meaning,
        show_default="the bundle's",
        **{"min": setting.least, "rich_help_panel": SAMPLING, **known},
    )


SamplerName = Enum("SamplerName", {name: name for name in SETTINGS["sampler"].choices}, type=str)  # type: ignore[misc]
SpacingName = Enum("SpacingName", {name: name for name in SETTINGS["spacing"].choices}, type=str)  # type: ignore[misc]

StepsOption = Annotated[int | None, _sampling("steps")]
TauOption = Annotated[int | None, _sampling("tau")]
SamplerOption = Annotated[SamplerName | None, _sampling("sampler")]
SpacingOption = Annotated[SpacingName | None, _sampling("spacing")]
EtaOption = Annotated[float | None, _sampling("eta")]
SigmaMinOption = Annotated[float | None, _sampling("sigma_min")]
DetailOption = Annotated[float | None, _sampling("detail", metavar="0..1", min=None, rich_help_panel=None)]

QualityOption = Annotated[
    int | None,
    typer.Option("--quality", min=1, max=100, help="Of JPEG, WebP, AVIF and JPEG XL results.", show_default="95"),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        "--scale",
        metavar="FACTOR",
        help="Resize the results to so many times the input; what is more than the task gives, up to its square (16 "
        "of 4), takes a second run.",
        show_default="what the task gives",
    ),
]
WidthOption = Annotated[
    int | None, typer.Option("--width", metavar="PIXELS", help="Resize the results to this width, likewise.")
]
LongEdgeOption = Annotated[
    int | None, typer.Option("--long-edge", metavar="PIXELS", help="Resize their longer side to this, likewise.")
]


class PrecisionName(str, Enum):
    """The precisions of `dp_ir.runtime.precision.Precision`."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class EngineName(str, Enum):
    """The engines of `dp_ir.runtime.engines.Engine`."""

    TORCH = "torch"
    COMPILE = "compile"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"
