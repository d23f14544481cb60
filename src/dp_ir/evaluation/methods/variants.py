"""A bundle with one thing changed, as methods for ablations: another start, or weaker networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from dp_ir.checkpoints.guard import GuardedNetwork
from dp_ir.degradation.bicubic import imresize
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Method, Observation, identity_text
from dp_ir.evaluation.methods.method_settings import read_settings
from dp_ir.evaluation.methods.restoration_methods import RestorationMethod, bundle_method
from dp_ir.restoration.chain import UnseenChainWarning
from dp_ir.restoration.partners import UnseenPartnersWarning
from dp_ir.restoration.pipeline import Restoration, RestorationResult
from dp_ir.restoration.precision import uses_bfloat16

_WINDOW = 5  # of the local Wiener filter


@dataclass(frozen=True, eq=False)
class ChangedRestoration(RestorationMethod):
    """A restoration with one thing changed; in everything else it is the method that it was made from.

    Args:
        change: what is changed, a text that decides it.
        run: (observation (1, 3, h, w), seed) -> result.
    """

    change: str = ""
    run: Callable[[Tensor, int], RestorationResult] | None = None

    @classmethod
    def of(
        cls, method: RestorationMethod, change: str, run: Callable[[Tensor, int], RestorationResult]
    ) -> ChangedRestoration:
        """The method with that change."""
        return cls(method.name, method.restoration, method.precision, change, run)

    @property
    def identity(self) -> str:
        """That of the restoration, and the change."""
        return identity_text("changed", method=super().identity, change=self.change)

    def _restored(self, observation: Observation, seed: int) -> RestorationResult:
        assert self.run is not None
        return self.run(observation.image, seed)


def upsampled_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `upsampled`: as `bundle`, but started from the enlarged observation instead of the restorer's output.

    This is the start of CCDF (arXiv 2112.05146); the fusion sees the restorer's output all the same.
    """
    method = _restoration(name, source, settings, device)
    restoration = method.restoration
    scale = scale_of(restoration)

    def run(observation: Tensor, seed: int) -> RestorationResult:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnseenChainWarning)  # the start is what is studied
            return restoration(observation, seed=seed, start=enlarged(observation, scale))

    return ChangedRestoration.of(method, "upsampled start", run)


def weaker_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `weaker`: as `bundle`, with `restorer_strength` and `denoiser_strength` in [0, 1].

    At strength s a network's output is s times its own plus 1 - s times that of a plain method: bicubic enlargement for
    the restorer, a local Wiener filter for the denoiser.
    """
    own = {key: text for key, text in settings.items() if key in _STRENGTHS}
    strengths = {"restorer_strength": 1.0, "denoiser_strength": 1.0}
    strengths |= read_settings("weaker", own, dict.fromkeys(strengths, _share))
    method = _restoration(name, source, {key: text for key, text in settings.items() if key not in own}, device)
    restoration = method.restoration
    scale = scale_of(restoration)
    parts: dict[Any, Any] = {kind: _guarded(method, kind) for kind in restoration.networks}
    parts["restorer"] = _blend(parts["restorer"], strengths["restorer_strength"], lambda y: enlarged(y, scale))
    if "denoiser" in parts:
        parts["denoiser"] = _blend(parts["denoiser"], strengths["denoiser_strength"], local_wiener)
    weaker = Restoration.from_parts(
        **parts, settings=restoration.settings, device=restoration.device, precision=method.precision
    )
    return ChangedRestoration.of(method, str(strengths), lambda observation, seed: weaker(observation, seed=seed))


def line_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `line`: the point `share` of the way from the restorer's estimate to a bundle's sample at detail 1.

    The straight line is the dial of a fusion that does not see one (`Chain.dialled`), and what the dial of one that
    does is compared with: here such a fusion is not told of it, and gives what it does at 1.
    """
    if "detail" in settings:
        raise DataError(
            f"The setting detail={settings['detail']} is none of the kind 'line', whose place between the restorer's "
            "estimate and the sample is the setting share: write share= instead, from 0 to 1."
        )
    own = {key: text for key, text in settings.items() if key == "share"}
    share = read_settings("line", {"share": "1", **own}, {"share": _share})["share"]
    others = {key: text for key, text in settings.items() if key != "share"}
    method = _restoration(name, source, {**others, "detail": f"{share!r}"}, device)
    made = method.restoration
    with _strangers_allowed():
        blind = Restoration.from_parts(
            **made.networks,
            infos={kind: replace(info, detail=None) for kind, info in made.infos.items()},
            records=made.records,
            settings=made.settings,
            device=made.device,
            precision=method.precision,
        )
    return replace(method, restoration=blind)


def local_wiener(noisy: Tensor, sigma: Tensor) -> Tensor:
    """The linear estimate of every pixel from mean and variance of the 5x5 pixels around it (Lee 1980).

    Args:
        noisy: (B, C, H, W) = clean + sigma * eps.
        sigma: (B,), in the units of the image.

    Returns:
        (B, C, H, W).
    """
    channels, pad = noisy.shape[1], _WINDOW // 2
    kernel = noisy.new_full((channels, 1, _WINDOW, _WINDOW), 1 / _WINDOW**2)
    mode = "reflect" if min(noisy.shape[-2:]) > pad else "replicate"

    def local_mean(image: Tensor) -> Tensor:
        return F.conv2d(F.pad(image, (pad,) * 4, mode=mode), kernel, groups=channels)

    mean = local_mean(noisy)
    variance = (local_mean(noisy**2) - mean**2).clamp_min(1e-12)
    gain = (1 - sigma[:, None, None, None] ** 2 / variance).clamp_min(0)
    return mean + gain * (noisy - mean)


def scale_of(restoration: Restoration) -> int:
    """Side of the result / side of the observation; raises DataError where the restorer does not say."""
    scale = restoration.infos["restorer"].scale
    if scale is None:
        raise DataError("The restorer does not say how much it enlarges: state it, as in restorer.scale=4.")
    return scale


def enlarged(observation: Tensor, scale: int) -> Tensor:
    """The observation (B, 3, h, w) at output size, by bicubic interpolation."""
    return imresize(observation, scale) if scale > 1 else observation


def _restoration(name: str, source: str, settings: dict[str, str], device: str) -> RestorationMethod:
    with _strangers_allowed():
        method = bundle_method(name, source, settings, device)
    assert isinstance(method, RestorationMethod)
    return method


@contextmanager
def _strangers_allowed() -> Iterator[None]:
    """Nothing is said of a fusion that meets networks it was not trained with: they are what is studied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseenPartnersWarning)
        yield


def _guarded(method: RestorationMethod, kind: Any) -> GuardedNetwork:
    own = method.restoration
    bfloat16 = uses_bfloat16(method.precision, own.device)
    return GuardedNetwork(kind, own.networks[kind], own.infos[kind], device=own.device, bfloat16=bfloat16)


def _blend(network: GuardedNetwork, strength: float, plain: Callable[..., Tensor]) -> GuardedNetwork:
    def blended(*arguments: Tensor) -> Tensor:
        return strength * network(*arguments) + (1 - strength) * plain(*arguments)

    # What is inside has met its own ranges and conventions already.
    info = replace(network.info, value_range=(0.0, 1.0), sigma_input="sigma", size_multiple=1, half_safe=False)
    return GuardedNetwork(network.kind, blended, info, device=network.device)


def _share(text: str) -> float:
    """A number in [0, 1]."""
    number = float(text)
    if not 0 <= number <= 1:
        raise ValueError(text)
    return number


_share.__name__ = "a number from 0 to 1"
_STRENGTHS = ("restorer_strength", "denoiser_strength")
