"""Methods of other programs: a folder of the images they made, or a Python function."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dp_ir.checkpoints.foreign.python_function import run_file
from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.pairing import ROLE, find_images, is_image
from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.methods.method import Method, Observation, Output, identity_text, network_identity
from dp_ir.evaluation.methods.method_settings import read_settings
from dp_ir.restoration.inputs import observe

_TAIL = re.compile(r"[._\- (]|x\d", re.IGNORECASE)  # how an ending that a program appends can begin


@dataclass(frozen=True)
class ImagesMethod:
    """Images that any other program made: ``ROOT/<dataset>/<name>.*`` or ``ROOT/<name>.*``.

    A name may be followed by what the program appends ("0801x4_SwinIR.png" for 0801), the same in all files of the
    folder, so that no file is taken for another image's; slashes in names may be folders, "_" or "-".

    Args:
        name: in tables.
        root: the folder.
    """

    name: str
    root: Path
    networks: Mapping[str, Any] = field(default_factory=dict, init=False)
    trained: tuple[str, ...] = field(default=(), init=False)

    @cached_property
    def identity(self) -> str:
        """Names and contents of all images."""
        digest = hashlib.sha256()
        for path in sorted(path for path in self.root.rglob("*") if is_image(path)):
            digest.update(f"\0{path.relative_to(self.root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return identity_text("images", files=digest.hexdigest())

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Read the image made of one observation; raises DataError if there is none, or more than one."""
        return Output(load_rgb(self.file(observation)))

    def file(self, observation: Observation) -> Path:
        """The file with the image made of one observation; raises DataError if there is none, or more than one."""
        inner = self.root / observation.dataset
        folder = inner if inner.is_dir() else self.root
        *scenes, last = observation.name.split("/")
        places = [(folder.joinpath(*scenes), last)]
        places += [(folder, mark.join([*scenes, last])) for mark in ("_", "-") if scenes]
        for place, name in places:
            found = _named(place, name) if place.is_dir() else []
            if len(found) > 1:
                raise DataError(
                    f"'{found[0]}' and '{found[1]}' ({len(found)} files) can each be the image '{observation.name}' "
                    f"of '{observation.dataset}': keep one of them."
                )
            if found:
                return found[0]
        raise DataError(
            f"'{folder}' holds no image '{observation.name}' of '{observation.dataset}': expected {last}.png, with an "
            "ending that is the same in all files if there is any."
        )


def _named(folder: Path, name: str) -> list[Path]:
    """The files of a folder that bear a name, or, where none does, the name and the folder's common ending."""
    files = sorted(path for path in folder.iterdir() if is_image(path))
    if exact := [path for path in files if path.stem == name]:
        return exact
    bare = ROLE.sub("", name)
    for start in dict.fromkeys([name, bare or name]):
        tails = {path: path.stem[len(start) :] for path in files if path.stem.startswith(start)}
        found = [path for path, tail in tails.items() if not tail or _TAIL.match(tail)]
        common = [path for path in found if all(other.stem.endswith(tails[path]) for other in files)]
        if common:
            return common
    return []


@dataclass(frozen=True, eq=False)
class FunctionMethod:
    """A Python function: observation (1, C, h, w) in [0, 1] -> restored image, a tensor or an array.

    Of a burst (1, N, 4, h, w) it gives linear sensor RGB, as restorers do.

    Args:
        name: in tables.
        function: called with the observation, with `seed=` where it takes that, and with the settings.
        source: how it was named.
        digest: of the file that it stands in. What the file imports is not looked at.
        settings: further keyword arguments.
    """

    name: str
    function: Callable[..., Any]
    source: str
    digest: str
    settings: Mapping[str, Any]
    trained: tuple[str, ...] = field(default=(), init=False)

    @property
    def networks(self) -> Mapping[str, Any]:
        """The function itself where it is a module, as a restorer."""
        return {"restorer": self.function} if isinstance(self.function, torch.nn.Module) else {}

    @property
    def draws(self) -> bool:
        """Whether it draws samples: where it takes a seed."""
        return _takes_seed(self.function)

    @property
    def identity(self) -> str:
        """File, name and settings."""
        function = self.source.rpartition(":")[2]
        weights = network_identity(self.function, None) if self.networks else ""
        return identity_text(
            "function", function=function, file=self.digest, settings=dict(self.settings), weights=weights
        )

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Call the function; raises ImageReadError for what is no image, and whatever the function raises."""
        settings = {**self.settings, **({"seed": seed} if _takes_seed(self.function) else {})}
        with torch.inference_mode():
            result = self.function(observation.image.clone(), **settings)
        return Output(observation.rendered(_tensor(result)))


def images_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `images`: the source is the folder, there are no settings."""
    read_settings("images", settings, {})
    root = Path(source)
    if not root.is_dir():
        raise DataError(f"There is no folder '{root}' with images of the method '{name}': name an existing one.")
    if not any(is_image(path) for path in root.rglob("*")):
        find_images(root)  # says so
    return ImagesMethod(name, root)


def function_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `function`: "path/file.py:function" or "package.module:function"; settings are its keyword arguments."""
    place, colon, attribute = source.rpartition(":")
    if not colon:
        raise DataError(f"'{source}' names no function: write FILE.py:FUNCTION or PACKAGE.MODULE:FUNCTION.")
    path = Path(place)
    if path.suffix == ".py" and not path.is_file():
        raise DataError(f"There is no file '{path}' with the function {attribute}: name an existing one.")
    try:
        module = run_file(path) if path.suffix == ".py" else importlib.import_module(place)
    except Exception as error:  # the file may fail in any way
        raise DPIRError(
            f"'{place}' cannot be run to find the function {attribute} ({type(error).__name__}: {error}): repair it, "
            "or install what it needs."
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        there = ", ".join(key for key, value in vars(module).items() if inspect.isfunction(value)) or "none"
        raise DataError(f"'{place}' has no function {attribute}; those it has: {there}.")
    file = getattr(module, "__file__", None)
    digest = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else ""
    return FunctionMethod(name, function, source, digest, {key: _literal(text) for key, text in settings.items()})


def _literal(text: str) -> Any:
    """A Python literal where the text is one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _takes_seed(function: Callable[..., Any]) -> bool:
    try:
        return "seed" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # of some builtins and extension types nothing is known
        return False


def _tensor(result: Any) -> Tensor:
    """A tensor (1, 3, H, W) or (3, H, W), or an array (H, W, 3) or of those shapes, as (1, 3, H, W) in [0, 1]."""
    if isinstance(result, np.ndarray):
        flat = result[0] if result.ndim == 4 and len(result) == 1 else result
        first = flat.ndim == 3 and flat.shape[0] in (1, 3) and flat.shape[2] not in (1, 3)
        result = flat.transpose(1, 2, 0) if first else flat
    return observe(result).tensor.cpu()
