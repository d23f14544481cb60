"""The control of `noise_control` as methods: a restorer's images plus white noise, tuned per data set by `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Method, Observation, Output, identity_text
from dp_ir.evaluation.methods.method_settings import read_settings
from dp_ir.evaluation.methods.restoration_methods import restorer_method
from dp_ir.evaluation.metrics.noise_control import add_noise


@dataclass(frozen=True, eq=False)
class NoiseMethod:
    """A restorer plus white Gaussian noise.

    Args:
        name: in tables.
        base: the restorer alone.
        metric: name of the metric whose mean over a data set decides the strength, such as "lpips-half".
        std: strength in [0, 1] image units where it is not to be tuned.
    """

    name: str
    base: Method
    metric: str
    std: float | None = None
    draws: bool = field(default=True, init=False)

    @property
    def identity(self) -> str:
        """The restorer's, and the strength or what it is tuned for."""
        return identity_text("noise", base=self.base.identity, metric=self.metric, std=self.std)

    @property
    def networks(self) -> Mapping[str, Any]:
        """The restorer."""
        return self.base.networks

    @property
    def trained(self) -> tuple[str, ...]:
        """The restorer."""
        return self.base.trained

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Restore one observation at the strength that was given; raises DataError where it is yet to be tuned."""
        if self.std is None:
            raise DataError(
                f"The strength of the noise of '{self.name}' is tuned over a whole data set, by `evaluate`: for single "
                "images state it, as in std=0.02."
            )
        restored = self.base(observation, seed)
        noisy = add_noise([restored.image.clamp(0.0, 1.0)], self.std, seed)[0]
        return Output(noisy, restored.calls)


def noise_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `noise`: SOURCE is a restorer; settings are metric (lpips), std, and those of the kind `restorer`."""
    own = {key: text for key, text in settings.items() if key in _OWN}
    values = read_settings("noise", own, _OWN)
    rest = {key: text for key, text in settings.items() if key not in own}
    base = restorer_method(f"{name}, without noise", source, rest, device)
    return NoiseMethod(name, base, values.get("metric", "lpips"), values.get("std"))


def _strength(text: str) -> float:
    """A number of at least 0."""
    number = float(text)
    if not number >= 0:
        raise ValueError(text)
    return number


_strength.__name__ = "a number of at least 0"
_OWN: dict[str, Callable[[str], Any]] = {"metric": str, "std": _strength}
