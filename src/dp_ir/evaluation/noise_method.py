"""The control of `noise_control` as methods: a restorer's images plus white noise, tuned per data set by `evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from dp_ir.errors import DataError
from dp_ir.evaluation.method import Method, Observation, Output
from dp_ir.evaluation.methods import identity_text, read_settings, restorer_method
from dp_ir.evaluation.metric_names import metric_info
from dp_ir.evaluation.metrics import Metric
from dp_ir.evaluation.noise_control import DEFAULT_GRID, add_noise, minimise
from dp_ir.evaluation.stored import stored_image
from dp_ir.image.data_layouts import load_rgb

TOLERANCE = 1e-3
"""The strength is found to about this much, in [0, 1] image units."""


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


@dataclass(frozen=True)
class NoisyImages:
    """The stored images of a restorer plus white noise of a strength tuned for one data set.

    Args:
        name: in tables.
        out: folder of the comparison.
        base: name under which the restorer's images are stored.
        std: strength in [0, 1] image units.
        calls: of the restorer.
    """

    name: str
    out: Path
    base: str
    base_identity: str
    std: float
    calls: Mapping[str, int]
    networks: Mapping[str, Any] = field(default_factory=dict, init=False)
    trained: tuple[str, ...] = field(default=(), init=False)
    draws: bool = field(default=True, init=False)

    @property
    def identity(self) -> str:
        """The restorer's, and the strength."""
        return identity_text("noisy images", base=self.base_identity, std=self.std)

    def __call__(self, observation: Observation, seed: int) -> Output:
        """Add noise to the image that the restorer made of an observation; raises DataError if there is none."""
        path = stored_image(self.out, self.base, observation.dataset, observation.name)
        if not path.is_file():
            raise DataError(f"The restorer of '{self.name}' gave no image '{observation.name}', so it has no noise.")
        return Output(add_noise([load_rgb(path)], self.std, seed)[0], self.calls)


def noise_method(name: str, source: str, settings: dict[str, str], device: str) -> Method:
    """Kind `noise`: SOURCE is a restorer; settings are metric (lpips), std, and those of the kind `restorer`."""
    own = {key: text for key, text in settings.items() if key in _OWN}
    values = read_settings("noise", own, _OWN)
    rest = {key: text for key, text in settings.items() if key not in own}
    base = restorer_method(f"{name}, without noise", source, rest, device)
    return NoiseMethod(name, base, values.get("metric", "lpips"), values.get("std"))


def tune(metric: Metric, images: Sequence[Path], targets: Sequence[Any], seeds: Sequence[int]) -> float:
    """The strength of white noise that is best for the mean of a metric; images are read one at a time.

    Args:
        metric: of single images.
        images: the restorer's, as files.
        targets: the true images, each (1, 3, H, W), or anything that gives them by index.
        seeds: of the noise, one per image.

    Returns:
        The strength in [0, 1] image units.
    """
    loss = metric_info(metric).loss

    def objective(std: float) -> float:
        values = [
            metric(add_noise([load_rgb(path)], std, seed)[0], targets[index])
            for index, (path, seed) in enumerate(zip(images, seeds, strict=True))
        ]
        return loss(float(torch.cat(values).mean()))

    return minimise(objective, DEFAULT_GRID, TOLERANCE)[0]


def tuning_note(name: str, dataset: str, std: float, metric: str) -> str:
    """One line about how the strength came about."""
    return (
        f"{name} on {dataset}: white Gaussian noise of standard deviation {std:.4f} ({255 * std:.1f} of 255) on the "
        f"restorer's output, the strength that gives the best mean {metric} over this data set (grid "
        f"{min(DEFAULT_GRID):g} to {max(DEFAULT_GRID):g}, then golden section to {TOLERANCE:g}); clipped to [0, 1]."
    )


def _strength(text: str) -> float:
    """A number of at least 0."""
    number = float(text)
    if not number >= 0:
        raise ValueError(text)
    return number


_strength.__name__ = "a number of at least 0"
_OWN: dict[str, Callable[[str], Any]] = {"metric": str, "std": _strength}
