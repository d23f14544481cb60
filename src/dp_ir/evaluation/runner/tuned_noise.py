"""The noise control of a data set: the strength of its noise, tuned over the restorer's images, and the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.pairs import ImageFiles
from dp_ir.errors import DataError
from dp_ir.evaluation.methods.method import Observation, Output, identity_text
from dp_ir.evaluation.metrics.metric import Metric
from dp_ir.evaluation.metrics.noise_control import DEFAULT_GRID, TOLERANCE, add_noise, best_strength
from dp_ir.evaluation.runner.described import Described, tuning_metric
from dp_ir.evaluation.runner.image_records import (
    ImageRecord,
    fingerprint,
    read_json,
    write_json,
)
from dp_ir.evaluation.runner.run_state import Item, Run, Targets
from dp_ir.evaluation.runner.stored_paths import stored_image


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


def tuning_note(name: str, dataset: str, std: float, metric: str) -> str:
    """One line about how the strength came about."""
    return (
        f"{name} on {dataset}: white Gaussian noise of standard deviation {std:.4f} ({255 * std:.1f} of 255) on the "
        f"restorer's output, the strength that gives the best mean {metric} over this data set (grid "
        f"{min(DEFAULT_GRID):g} to {max(DEFAULT_GRID):g}, then Brent to {TOLERANCE:g}); clipped to [0, 1]."
    )


def add_tuned_noise(run: Run, entry: Described, items: Sequence[Item]) -> None:
    """Tune the noise of one control per data set, and make its images from the restorer's."""
    worker = run.worker
    metric = tuning_metric(entry.tuned_on, worker.metrics)
    for number, dataset in enumerate(worker.datasets):
        mine = [item for item in items if item.dataset == number]
        kept = [(item, run.record(entry.base, item)) for item in mine]
        kept = [(item, record) for item, record in kept if record.error is None and metric.protocol in record.values]
        std, calls = 0.0, {}
        if kept:
            run.say(f"tuning the noise of {entry.name} on {dataset.name}")
            std = _strength_of(run, entry, metric, dataset, kept)
            calls = dict(kept[0][1].calls)
            run.notes.append(tuning_note(entry.name, dataset.name, std, metric.name))
        late = NoisyImages(entry.name, worker.out, entry.base, entry.identity, std, calls)
        run.late[entry.name, number] = late
        run.do([run.job(entry.name, item, late.identity, late) for item in mine])


def _strength_of(
    run: Run, entry: Described, metric: Metric, dataset: Any, kept: Sequence[tuple[Item, ImageRecord]]
) -> float:
    """The best strength, from an earlier run where nothing has changed since."""
    out = run.worker.out
    places = [item.image for item, _ in kept]
    seeds = [run.seed + place for place in places]
    key = fingerprint(metric.protocol, *seeds, *(record.image + record.target for _, record in kept))
    path = stored_image(out, entry.name, dataset.name, "x").with_name(".tuning.json")
    stored = read_json(path)
    if stored.get("key") == key:
        return float(stored["std"])
    images = ImageFiles([stored_image(out, entry.base, dataset.name, item.name) for item, _ in kept])
    targets = Targets(dataset, places)
    std = best_strength(images, targets, metric, seeds, grid=DEFAULT_GRID, tolerance=TOLERANCE)
    write_json(path, {"key": key, "std": std})
    return std
