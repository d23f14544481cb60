"""Networks that are named on the command line of `dp-ir train`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dp_ir.checkpoints.stated import parse_stated_by_kind
from dp_ir.errors import RecipeError
from dp_ir.restoration.sources import LOADERS


def partner_overrides(kind: str, restorer: str | None, denoiser: str | None, stated: Sequence[str]) -> list[str]:
    """Changes to a recipe for training a fusion, from what is named on the command line.

    Args:
        kind: what is trained.
        restorer: the frozen restorer, a file for instance.
        denoiser: the frozen denoiser.
        stated: "restorer.KEY=VALUE" and "denoiser.KEY=VALUE" texts, see `parse_stated_by_kind`.

    Returns:
        `section.key=value` texts.

    Raises:
        RecipeError: something is named though no fusion is trained.
        NetworkContractError: a text states nothing that is known of networks.
    """
    if (kind not in ("fusion", "bridge") and (restorer or stated)) or (kind != "fusion" and denoiser):
        raise RecipeError(
            f"A {kind} is not trained with these networks: --restorer and --set are for `dp-ir train fusion` and "
            "`dp-ir train bridge`, --denoiser is for `dp-ir train fusion`."
        )
    named = {"restorer": restorer, "denoiser": denoiser}
    overrides = [f"partners.{name}={json.dumps(source)}" for name, source in named.items() if source is not None]
    facts = parse_stated_by_kind(stated, LOADERS)
    return [*overrides, *(f"partners.{name}_info={json.dumps(values)}" for name, values in facts.items())]
