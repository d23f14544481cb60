"""Methods that can be compared, and how one is named by a text: `[NAME=][KIND:]SOURCE[,KEY=VALUE]...`.

A kind is a line of `KINDS`: a function (name, source, settings, device) -> Method. The text rebuilds the method in any
process, so texts are what is handed to workers.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch

from dp_ir.checkpoints.architectures import nearest
from dp_ir.checkpoints.bundle import CONFIG_NAME, HUB_ID, shipped_bundles
from dp_ir.checkpoints.hub import WEIGHT_SUFFIXES
from dp_ir.checkpoints.loaded_network import LoadedNetwork
from dp_ir.checkpoints.loading import load_restorer
from dp_ir.checkpoints.overrides import parse_overrides
from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DataError
from dp_ir.evaluation.method import Method, Observation, Output
from dp_ir.image.picture.picture import Picture, to_tensor
from dp_ir.image.raw.demosaicking import demosaick_bilinear
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.replacement import LOADERS, restoration_of
from dp_ir.runtime.precision import Precision, pick_device, uses_bfloat16

KindFunction = Callable[[str, str, dict[str, str], str], Method]
"""(name, source, settings, device) -> method; takes every setting or raises `DataError`, see `read_settings`."""

Value = TypeVar("Value")


def identity_text(kind: str, **facts: Any) -> str:
    """An identity for `Method.identity`: version, kind and facts as JSON, which must decide the outputs."""
    return json.dumps({"dp_ir": version("dp-ir"), "kind": kind, **facts}, sort_keys=True, default=str)


def read_settings(
    what: str, settings: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    """Read the settings of a method.

    Args:
        what: the kind of method, for errors.
        settings: texts by key, as `parse_method` finds them; "-" and "_" in keys are the same.
        readers: per key that there is, what turns its text into a value (ValueError: it cannot be read).

    Raises:
        DataError: an unknown key, or a value that cannot be read.
    """
    values: dict[str, Any] = {}
    for key, text in settings.items():
        known = key.replace("-", "_")
        if known not in readers:
            there = f"there are {', '.join(readers)}" if readers else "it has none"
            raise DataError(f"A method of the kind {what!r} has no setting {key!r}{nearest(known, readers)}: {there}.")
        try:
            values[known] = readers[known](text)
        except (ValueError, ArithmeticError, KeyError) as error:
            reader = getattr(readers[known], "__name__", "value")
            raise DataError(f"The setting {key}={text} of the kind {what!r} cannot be read as {reader}.") from error
    return values


@dataclass(frozen=True, eq=False)
class RestorationMethod:
    """A bundle, or any other `Restoration`, run with its settings.

    Args:
        name: in tables.
        restoration: networks and settings.
        precision: what it was made with, for its identity.
    """

    name: str
    restoration: Restoration
    precision: Precision = "auto"

    @property
    def identity(self) -> str:
        """Settings, networks and precision."""
        restoration = self.restoration
        settings = {key: value for key, value in asdict(restoration.settings).items() if key not in _SAYS_NOTHING}
        return identity_text(
            "bundle",
            settings=settings,
            networks={kind: network_identity(used.module, used.record) for kind, used in self.networks.items()},
            infos={kind: asdict(used.info) for kind, used in self.networks.items()},
            bfloat16=uses_bfloat16(self.precision, restoration.device),
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """Those that are run: with tau = 0 or detail = 0 the restorer alone."""
        return {kind: self.restoration.networks[kind] for kind in self._used}

    @property
    def trained(self) -> tuple[str, ...]:
        """The fusion, or the restorer where it runs alone."""
        return ("fusion",) if self._samples else ("restorer",)

    @property
    def draws(self) -> bool:
        """Whether it draws samples: not where the restorer runs alone."""
        return self._samples

    @property
    def _used(self) -> list[Any]:
        return [kind for kind in self.restoration.networks if kind == "restorer" or self._samples]

    @property
    def _samples(self) -> bool:
        return self.restoration.chain().tau != 0

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation; raises DPIRError as `Restoration` does."""
        result = self.restoration(observation.input, seed=seed)
        image = to_tensor(result.image) if isinstance(result.image, Picture) else result.image
        return Output(image, {kind: count for kind, count in result.nfe.items() if count})


@dataclass(frozen=True, eq=False)
class RestorerMethod:
    """A restorer alone.

    Args:
        name: in tables.
        network: as `load_restorer` gives it, on the device where it is to run.
        frames: how many it is given of a burst, the first ones; None for all.
    """

    name: str
    network: LoadedNetwork
    frames: int | None = None

    @property
    def identity(self) -> str:
        """The network, what is known of it, precision, and frames."""
        return identity_text(
            "restorer",
            network=network_identity(self.network.module, self.network.record),
            info=asdict(self.network.info),
            bfloat16=self.network.autocast,
            **({} if self.frames is None else {"frames": self.frames}),
        )

    @property
    def networks(self) -> Mapping[str, Any]:
        """The restorer."""
        return {"restorer": self.network}

    @property
    def trained(self) -> tuple[str, ...]:
        """The restorer: it was trained for its task."""
        return ("restorer",)

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation; nothing is left to chance."""
        image = observation.image[:, : self.frames] if observation.image.ndim == 5 else observation.image
        with torch.inference_mode():
            restored = self.network(image.to(self.network.device))
        return Output(observation.rendered(restored.cpu().clone()), {"restorer": 1})


@dataclass(frozen=True)
class Interpolation:
    """Bicubic enlargement (Keys, a = -1/2), the floor of every super-resolution table.

    Of a burst it enlarges the first frame after bilinear demosaicking. With the scale 1 an image stays as it is.

    Args:
        name: in tables.
        scale: side of the output / side of the observation, or of the mosaic.
    """

    name: str = "bicubic"
    scale: int = 4
    networks: Mapping[str, Any] = field(default_factory=dict, init=False)
    trained: tuple[str, ...] = field(default=(), init=False)

    @property
    def identity(self) -> str:
        """The scale."""
        return identity_text("bicubic", scale=self.scale)

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Enlarge one observation (1, C, h, w) or (1, N, 4, h, w)."""
        if observation.image.ndim == 4:
            return Output(imresize(observation.image, self.scale))
        first = demosaick_bilinear(observation.image[:, 0])
        # Pixel m of a burst's first mosaic shows what lies at pixel scale * m of the target.
        enlarged = imresize(first, self.scale, offset=(1 - 1 / self.scale) / 2)
        return Output(observation.rendered(enlarged))


def lazily(module: str, function: str) -> KindFunction:
    """A kind whose module is imported when it is first used."""

    def make(name: str, source: str, settings: dict[str, str], device: str) -> Method:
        made: Method = getattr(import_module(module), function)(name, source, settings, device)
        return made

    return make


def bundle_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `bundle`: settings are fields of `BundleSettings`, networks, facts as restorer.scale=4, and precision."""
    stated = [f"{key}={text}" for key, text in settings.items() if key.partition(".")[0] in LOADERS and "." in key]
    plain = {key: text for key, text in settings.items() if "." not in key}
    values = read_settings("bundle", plain, {**_CHAIN, **dict.fromkeys(_NETWORKS, str), "precision": str})
    precision = values.get("precision", "auto")
    networks = {kind: values.get(kind) for kind in _NETWORKS}
    chain = {key: values.get(key) for key in _CHAIN}
    restoration = restoration_of(source, networks, stated, device=device, precision=precision, settings=chain)
    return RestorationMethod(name, restoration, precision)


def restorer_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `restorer`: settings are as of `parse_overrides`, precision, and frames of bursts."""
    stated = parse_overrides([f"{key}={text}" for key, text in settings.items() if key not in _OF_RESTORERS])
    own = {key: text for key, text in settings.items() if key in _OF_RESTORERS}
    values = read_settings("restorer", own, _OF_RESTORERS)
    precision: Any = values.get("precision", "auto")
    guarded = load_restorer(source, **stated)
    where = pick_device(device)
    network = LoadedNetwork("restorer", guarded, guarded.info, device=where, bfloat16=uses_bfloat16(precision, where))
    return RestorerMethod(name, network, values.get("frames"))


def bicubic_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `bicubic`: the source is the scale, 4 if there is none."""
    given = {**({"scale": source} if source else {}), **settings}
    return Interpolation(name, **read_settings("bicubic", given, {"scale": whole_number}))


KINDS: dict[str, KindFunction] = {
    "bundle": bundle_method,
    "restorer": restorer_method,
    "images": lazily("dp_ir.evaluation.foreign_methods", "images_method"),
    "function": lazily("dp_ir.evaluation.foreign_methods", "function_method"),
    "bicubic": bicubic_method,
    "noise": lazily("dp_ir.evaluation.noise_method", "noise_method"),
    "bridge": lazily("dp_ir.evaluation.bridge_method", "bridge_method"),
    "upsampled": lazily("dp_ir.evaluation.variants", "upsampled_method"),
    "weaker": lazily("dp_ir.evaluation.variants", "weaker_method"),
    "line": lazily("dp_ir.evaluation.variants", "line_method"),
    "sdedit": lazily("dp_ir.evaluation.baselines", "sdedit_method"),
    "ccdf": lazily("dp_ir.evaluation.baselines", "ccdf_method"),
    "diffpir": lazily("dp_ir.evaluation.baselines", "diffpir_method"),
    "ddrm": lazily("dp_ir.evaluation.baselines", "ddrm_method"),
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

    Example:
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

    Example:
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
    if rest in shipped_bundles() or (path / CONFIG_NAME).is_file():
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
        f"{nearest(word, [*KINDS, *shipped_bundles()])}: write [NAME=][KIND:]SOURCE[,KEY=VALUE]..., where KIND is one "
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


def network_identity(network: Any, record: Any) -> str:
    """Identity of a network: its record's, else of its weights, else (a plain function) its qualified name."""
    if record is not None and record.sha256:
        return str(record.sha256)
    if isinstance(network, torch.nn.Module):
        digest = hashlib.sha256(repr(network).encode())
        for name, value in sorted(network.state_dict().items()):
            digest.update(f"\0{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()
    return f"{getattr(network, '__module__', '')}.{getattr(network, '__qualname__', type(network).__qualname__)}"


def whole_number(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _number(text: str) -> float:
    """A number; whole ones stay whole, as bundles have them, so that equal settings have equal identities."""
    number = float(text)
    return int(number) if number.is_integer() else number


whole_number.__name__ = "a whole number of at least 1"
_number.__name__ = "a number"
_NETWORKS = ("restorer", "denoiser", "fusion")
_OF_RESTORERS: dict[str, Callable[[str], Any]] = {"precision": str, "frames": whole_number}
_CHAIN: dict[str, Callable[[str], Any]] = {
    "tau": _number,
    "steps": whole_number,
    "sampler": str,
    "eta": float,
    "spacing": str,
    "sigma_min": float,
    "detail": float,
}
_SAYS_NOTHING = {"quality", "licence", "task"}  # settings that leave the images as they are
_SETTING = re.compile(r"\s*(?P<key>[A-Za-z][\w.-]*)\s*=(?P<value>.*)", re.DOTALL)
_NAMED = re.compile(r"(?P<name>[^=/\\:]+)=(?P<rest>.+)", re.DOTALL)
_PYTHON_FILE = re.compile(r".+\.py:[A-Za-z_]\w*$")
_PYTHON_MODULE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
