"""The state of a comparison while it runs: its images, what is done, and what must be said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from dp_ir.evaluation.methods.method import Method
from dp_ir.evaluation.runner.evaluation_worker import EvaluationWorker, Job, do_all
from dp_ir.evaluation.runner.image_records import (
    ImageRecord,
    fingerprint,
)
from dp_ir.restoration.seeds import sample_seed

if TYPE_CHECKING:
    from dp_ir.evaluation.runner.drawn_samples import SampleValues
    from dp_ir.evaluation.runner.tuned_noise import NoisyImages


@dataclass(frozen=True)
class Progress:
    """How far a comparison is.

    Args:
        done: images of methods that are done, those kept from earlier runs among them.
        total: images of methods that there will be.
        doing: what was just done, for people.
    """

    done: int
    total: int
    doing: str


@dataclass(frozen=True)
class Item:
    """One image of a data set: places, name, and hashes of what is in it."""

    dataset: int
    image: int
    name: str
    observation: str
    target: str
    grey: bool


class Targets(Sequence[Tensor]):
    """Targets of a data set that are read when they are asked for."""

    def __init__(self, dataset: Any, places: Sequence[int]) -> None:
        self._dataset, self._places = dataset, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # slices would read all
        target: Tensor = self._dataset[self._places[index]].target
        return target


class Run:
    """The state of one comparison: what is done, and what must be said of it."""

    def __init__(
        self, worker: EvaluationWorker, processes: int, seed: int, total: int, tell: Callable[[Progress], None]
    ) -> None:
        self.worker, self.processes, self.seed = worker, max(1, processes), seed
        self.records: dict[tuple[str, int, int, int], ImageRecord] = {}  # by method, data set, image and sample
        self.judged: dict[tuple[str, int, int], SampleValues] = {}
        self.late: dict[tuple[str, int], NoisyImages] = {}
        self.notes: list[str] = []
        self.total, self._tell = total, tell

    def job(self, method: str, item: Item, identity: str, late: Method | None = None, sample: int = 0) -> Job:
        """The job of a method on an image, or of one of its samples."""
        own = sample_seed(self.seed + item.image, sample)
        made_of = fingerprint(identity, item.observation, own)
        return Job(method, item.dataset, item.image, item.name, own, made_of, item.target, late, sample)

    def record(self, method: str, item: Item, sample: int = 0) -> ImageRecord:
        """What is stored of a method on an image that is done."""
        return self.records[method, item.dataset, item.image, sample]

    def do(self, jobs: Sequence[Job]) -> None:
        """Do what is missing of some jobs."""
        rest = []
        for job in jobs:
            record = self.worker.record(job)
            if record is None or self.worker.missing(job, record):
                rest.append(job)
            else:
                self._keep(job, record, {})
        for job, record, reasons in do_all(self.worker, rest, self.processes):
            self._keep(job, record, reasons)

    def say(self, doing: str) -> None:
        """Tell whoever watches what is done now."""
        self._tell(Progress(len(self.records), self.total, doing))

    def say_reasons(self, of_what: str, reasons: Mapping[str, str]) -> None:
        """Note why metrics have no value."""
        self.notes += [f"{metric} has no value for {of_what}: {reason}" for metric, reason in reasons.items()]

    def _keep(self, job: Job, record: ImageRecord, reasons: Mapping[str, str]) -> None:
        self.records[job.method, job.dataset, job.image, job.sample] = record
        dataset = self.worker.datasets[job.dataset].name
        self.say_reasons(f"'{job.name}' of {dataset}", reasons)
        self.say(f"{job.method}: {dataset}/{job.name}")
