"""Import of packages that only some features need, each of which an extra of this package installs."""

from __future__ import annotations

import importlib
from types import ModuleType

from dp_ir.errors import MissingExtraError


def require(module: str, feature: str, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: full name, such as "torchmetrics.functional.image".
        feature: what needs it, for the error's sentence.
        extra: that installs the package.

    Raises:
        MissingExtraError: the package is not installed.
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package:
            raise  # the package is there, and something it needs itself is not: its own message says more
        raise MissingExtraError(feature, package, extra) from error
