"""Methods that can be compared, and how one is named by a text: `[NAME=][KIND:]SOURCE[,KEY=VALUE]...`.

A kind is a line of `KINDS`: a function (name, source, settings, device) -> Method. The text rebuilds the method in any
process, so texts are what is handed to workers.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dp_ir.checkpoints.architectures import nearest
from dp_ir.checkpoints.bundle import CONFIG_NAME, HUB_ID, list_bundles
from dp_ir.checkpoints.hub import WEIGHT_SUFFIXES
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.baselines import ccdf_method, ddrm_method, diffpir_method, sdedit_method
from dp_ir.evaluation.methods.bridge_method import bridge_method
from dp_ir.evaluation.methods.foreign_methods import function_method, images_method
from dp_ir.evaluation.methods.method import Method
from dp_ir.evaluation.methods.noise_method import noise_method
from dp_ir.evaluation.methods.restoration_methods import bicubic_method, bundle_method, restorer_method
from dp_ir.evaluation.methods.variants import line_method, upsampled_method, weaker_method

KindFunction = Callable[[str, str, dict[str, str], str], Method]
"""(name, source, settings, device) -> method; takes every setting or raises `DataError`, see `read_settings`."""

Value = TypeVar("Value")


KINDS: dict[str, KindFunction] = {
    "bundle": bundle_method,
    "restorer": restorer_method,
    "images": images_method,
    "function": function_method,
    "bicubic": bicubic_method,
    "noise": noise_method,
    "bridge": bridge_method,
    "upsampled": upsampled_method,
    "weaker": weaker_method,
    "line": line_method,
    "sdedit": sdedit_method,
    "ccdf": ccdf_method,
    "diffpir": diffpir_method,
    "ddrm": ddrm_method,
}
"""What makes a method, by the word before the colon."""

WITHOUT_SOURCE = {"bicubic"}
"""Kinds that are understood without a colon and a source."""

WITHOUT_NETWORKS = {"images", "function", "bicubic"}
"""Kinds that take no setting `precision`; to all others what the command line says of it is passed on."""


@dataclass(frozen=True)
class MethodText:
    """The parts of a method's text; `kind` is guessed where the text names none."""

    name: str
    kind: str
    source: str
    settings: Mapping[str, str]


def parse_method(text: str, *, device: str = "auto", precision: str = "auto") -> Method:
    """Make a method from a text `[NAME=][KIND:]SOURCE[,KEY=VALUE]...`.

    Without KIND a shipped bundle or the folder of one is a `bundle`, a weight file a `restorer`, a folder of images
    `images`, and `file.py:function` or `package.module:function` a `function`. A value may hold commas.

    Args:
        text: such as "sr4", "late=sr4,tau=300,steps=4", "restorer:sr4", "SwinIR=results/swinir", "bicubic".
        device: where its networks run.
        precision: of its networks, unless the text says; for the kinds that take it.

    Raises:
        DataError: the text cannot be understood.
        DPIRError: what it names cannot be loaded.

    Examples:
        >>> parse_method("floor=bicubic:2")
        Interpolation(name='floor', scale=2, networks={}, trained=())
    """
    parts = split_method(text)
    settings = dict(parts.settings)
    if parts.kind not in WITHOUT_NETWORKS and precision != "auto":
        settings.setdefault("precision", precision)
    return KINDS[parts.kind](parts.name, parts.source, settings, device)


def split_method(text: str) -> MethodText:
    """Take a method's text apart, without loading anything; raises DataError.

    Examples:
        >>> split_method("mine=restorer:net.pth,value_range=0,255")
        MethodText(name='mine', kind='restorer', source='net.pth', settings={'value_range': '0,255'})
    """
    pieces = text.strip().split(",")
    head, settings, key = pieces[0], {}, ""
    for piece in pieces[1:]:
        if match := _SETTING.match(piece):
            key = match["key"]
            if key in settings:
                raise DataError(f"The method {text!r} states {key} twice: say it once.")
            settings[key] = match["value"].strip()
        elif key:  # the comma belonged to the value
            settings[key] += f",{piece}"
        else:
            head += f",{piece}"
    named = None if Path(head).exists() else _NAMED.match(head)
    name, rest = (named["name"].strip(), named["rest"]) if named else ("", head)
    kind, source = _kind_and_source(rest.strip(), text)
    return MethodText(name or _default_name(kind, source, settings), kind, source, settings)


def _kind_and_source(rest: str, text: str) -> tuple[str, str]:
    word, colon, source = rest.partition(":")
    if (colon and word in KINDS) or rest in WITHOUT_SOURCE:
        if not source and word not in WITHOUT_SOURCE:
            raise DataError(f"The method {text!r} names nothing after {word + ':'!r}: write {word}:SOURCE.")
        return word, source
    path = Path(rest)
    if _PYTHON_FILE.match(rest):
        return "function", rest
    if rest in list_bundles() or (path / CONFIG_NAME).is_file():
        return "bundle", rest
    if rest and path.is_dir():
        return "images", rest
    if path.is_file() or path.suffix.lower() in WEIGHT_SUFFIXES:
        return "restorer", rest
    if _PYTHON_MODULE.match(rest) and _importable(word):
        return "function", rest
    if HUB_ID.match(rest):
        return "bundle", rest
    raise DataError(
        f"The method {text!r} names {rest!r}, which is no bundle, weight file, folder or function"
        f"{nearest(word, [*KINDS, *list_bundles()])}: write [NAME=][KIND:]SOURCE[,KEY=VALUE]..., where KIND is one "
        f"of {', '.join(KINDS)}."
    )


def _default_name(kind: str, source: str, settings: Mapping[str, str]) -> str:
    """What a method is called that was not named: its source, the kind where that does not go without saying."""
    path = Path(source.rpartition(":")[2] if kind == "function" else source)
    stem = path.stem if path.suffix.lower() in WEIGHT_SUFFIXES else path.name
    named_alone = kind in {"bundle", "images", "function"} or (kind == "restorer" and stem != path.name)
    name = kind if kind in WITHOUT_SOURCE else stem if named_alone else f"{stem} {kind}"
    return f"{name} ({', '.join(f'{key}={text}' for key, text in settings.items())})" if settings else name


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


_SETTING = re.compile(r"\s*(?P<key>[A-Za-z][\w.-]*)\s*=(?P<value>.*)", re.DOTALL)
_NAMED = re.compile(r"(?P<name>[^=/\\:]+)=(?P<rest>.+)", re.DOTALL)
_PYTHON_FILE = re.compile(r".+\.py:[A-Za-z_]\w*$")
_PYTHON_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
