"""What is named on the command line: the networks of `dp-ir train`, the bundle and the part of `dp-ir restore`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from dp_ir.checkpoints.bundle import locate_bundle, read_config
from dp_ir.checkpoints.overrides import parse_overrides_by_kind
from dp_ir.errors import DPIRError, RecipeError
from dp_ir.image.picture.crop import Box
from dp_ir.restoration.replacement import LOADERS
from dp_ir.tasks import TASKS


def restores_bursts(bundle: str) -> bool:
    """Whether the task that a bundle was made for takes bursts; False for a bundle of no task that is known here.

    Args:
        bundle: name, folder or hub id.

    Raises:
        BundleError: there is no such bundle, or it has no readable settings.
    """
    task = TASKS.get(read_config(locate_bundle(bundle)).settings.task)
    return task is not None and task.takes_bursts


def box_of(text: str) -> Box:
    """The part of a photo that is named as "X,Y,WIDTH,HEIGHT"; raises DPIRError."""
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise DPIRError(f"The part of a photo is {text!r}: expected four whole numbers X,Y,WIDTH,HEIGHT.") from None
    return x, y, width, height


def quoted(text: str) -> str:
    """A text as a value of a recipe that is taken as it is, whatever YAML and interpolation would make of it."""
    return json.dumps(re.sub(r"(\\*)\$\{", r"\1\1\\${", text))


def partner_overrides(kind: str, restorer: str | None, denoiser: str | None, stated: Sequence[str]) -> list[str]:
    """Changes to a recipe for training a fusion, from what is named on the command line.

    Args:
        kind: what is trained.
        restorer: the frozen restorer, a file for instance.
        denoiser: the frozen denoiser.
        stated: "restorer.KEY=VALUE" and "denoiser.KEY=VALUE" texts, see `parse_overrides_by_kind`.

    Returns:
        `section.key=value` texts.

    Raises:
        RecipeError: something is named though no fusion is trained.
        NetworkContractError: a text states nothing that is known of networks.
    """
    if (kind not in ("fusion", "bridge") and (restorer or stated)) or (kind != "fusion" and denoiser):
        raise RecipeError(
            f"A {kind} is not trained with these networks: --restorer and --override are for `dp-ir train fusion` and "
            "`dp-ir train bridge`, --denoiser is for `dp-ir train fusion`."
        )
    named = {"restorer": restorer, "denoiser": denoiser}
    overrides = [f"partners.{name}={quoted(source)}" for name, source in named.items() if source is not None]
    facts = parse_overrides_by_kind(stated, LOADERS)
    return [*overrides, *(f"partners.{name}_info={json.dumps(values)}" for name, values in facts.items())]
