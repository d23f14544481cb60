"""Networks that a Python file makes: "FILE.py:NAME". The file is run, so it must be one's own or trusted."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from dp_ir.errors import CheckpointError

_NAMED = re.compile(r"(?P<file>.+\.py):(?P<name>[A-Za-z_]\w*)")


def python_file(source: Any) -> Path | None:
    """The file of "FILE.py:NAME"; None for any other source."""
    named = _NAMED.fullmatch(source) if isinstance(source, str) else None
    return None if named is None else Path(named["file"])


def run_file(path: Path) -> ModuleType:
    """Run a Python file as a module of its own; raises whatever it raises."""
    unique = f"_dp_ir_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(unique, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[unique] = module  # dataclasses and the like look their own module up
    spec.loader.exec_module(module)
    return module


def network_of(source: str) -> Any:
    """The network that "FILE.py:NAME" names.

    NAME is a module, a function of no arguments that makes one (such as its class), or a function that takes what the
    network takes and is the network itself.

    Raises:
        CheckpointError: there is no such file or name, running it fails, or what comes out is no network.
    """
    named = _NAMED.fullmatch(source)
    assert named is not None
    path, name = Path(named["file"]), named["name"]
    if not path.is_file():
        raise CheckpointError(f"There is no file '{path}' with {name}: name an existing one.")
    try:
        found = getattr(run_file(path), name)
        made = found() if callable(found) and not isinstance(found, nn.Module) and _needs_nothing(found) else found
    except Exception as error:  # the file may fail in any way
        raise CheckpointError(
            f"'{source}' cannot be run ({type(error).__name__}: {error}): repair it, or install what it needs."
        ) from error
    if not callable(made):
        raise CheckpointError(
            f"'{source}' gives {'nothing' if made is None else f'a {type(made).__name__}'}: expected a module, or a "
            "function that is or makes one."
        )
    return made


def _needs_nothing(function: Any) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True
