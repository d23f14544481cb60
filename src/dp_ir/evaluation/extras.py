"""Lazy import of the optional packages of the `eval` extra."""

from __future__ import annotations

import importlib
from types import ModuleType

from dp_ir.errors import MissingExtraError


def optional_module(module: str, feature: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: full name, such as "torchmetrics.functional.image".
        feature: what needs it, for the error's sentence.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package:
            raise  # the package is there, and something it needs itself is not: its own message says more
        raise MissingExtraError(feature, package, "eval") from error
