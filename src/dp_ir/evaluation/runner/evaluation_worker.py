"""A worker runs one method on one image at a time and measures what it made, in this process or in several."""

from __future__ import annotations

import importlib.util
import multiprocessing
import signal
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dp_ir.datasets.layouts import load_rgb
from dp_ir.datasets.pairs import ImagePair
from dp_ir.errors import DataError, DPIRError
from dp_ir.evaluation.methods.foreign_methods import ImagesMethod
from dp_ir.evaluation.methods.method import Method, Observation, Output
from dp_ir.evaluation.methods.noise_method import NoiseMethod
from dp_ir.evaluation.methods.parsing import parse_method
from dp_ir.evaluation.metrics.metric import Metric
from dp_ir.evaluation.metrics.similarity import LinearPSNR
from dp_ir.evaluation.runner.image_records import (
    ImageRecord,
    file_digest,
    read_record,
    store_image,
    stored_bits,
    write_record,
)
from dp_ir.evaluation.runner.resources import PeakMemory, peak_memory
from dp_ir.evaluation.runner.stored_paths import stored_sample
from dp_ir.restoration.precision import pick_device

_AHEAD = 4  # jobs handed to each worker before it asks: enough to keep it busy, few enough to stop soon


@dataclass(frozen=True)
class Job:
    """One method on one image.

    Args:
        method: its name.
        dataset: place of the data set.
        image: place of the image in it.
        name: of the image.
        seed: of the method.
        made_of: what the image is to be made of, see `ImageRecord`.
        target: hash of the target.
        late: the method, where it came about during the run.
        sample: number of the sample; 0 is the image that is judged as the method's output.
    """

    method: str
    dataset: int
    image: int
    name: str
    seed: int
    made_of: str
    target: str
    late: Method | None = None
    sample: int = 0


@dataclass
class EvaluationWorker:
    """What a process needs for its jobs.

    Args:
        out: folder of the comparison.
        methods: by name; texts are made into methods when they are first needed.
        datasets: sequences of pairs with a name.
        metrics: of single images.
        device: where methods run.
        precision: of their networks.
    """

    out: Path
    methods: Mapping[str, str | Method]
    datasets: Sequence[Any]
    metrics: Sequence[Metric]
    device: str
    precision: str
    _loaded: tuple[str, Method] | None = field(default=None, init=False)

    def path(self, job: Job) -> Path:
        """Where a job's image is stored; its record lies beside it."""
        return stored_sample(self.out, job.method, self.datasets[job.dataset].name, job.name, job.sample)

    def record(self, job: Job) -> ImageRecord | None:
        """What is stored of a job and still fits: all of it, without values, or nothing."""
        path = self.path(job)
        record = read_record(path.with_suffix(".json"))
        if record is None or record.error is not None or record.made_of != job.made_of:
            return None  # what failed may go well now
        if not record.image or record.image != file_digest(path):
            return None
        return record if record.target == job.target else replace(record, target=job.target, values={})

    def missing(self, job: Job, record: ImageRecord) -> list[Metric]:
        """Metrics that an image has no value of; further samples need none by themselves."""
        return [metric for metric in self.metrics if metric.protocol not in record.values and not job.sample]

    def do(self, job: Job) -> tuple[ImageRecord, dict[str, str]]:
        """Make what is missing of a job: the image, its values, or nothing.

        Returns:
            The record, which is stored, and by metric name why it could not be computed.
        """
        path = self.path(job)
        record = self.record(job)
        pair: ImagePair | None = None
        if record is None:
            pair = self.datasets[job.dataset][job.image]
            record = self._made(job, pair, path)
        reasons: dict[str, str] = {}
        if record.error is None and (metrics := self.missing(job, record)):
            values, reasons = metric_values(metrics, load_rgb(path), pair or self.datasets[job.dataset][job.image])
            record = replace(record, values={**record.values, **values})
        write_record(path.with_suffix(".json"), record)
        return record, reasons

    def method(self, name: str) -> Method:
        """A method by name; the last one is kept, and only that, because networks can be large."""
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = None
            given = self.methods[name]
            if isinstance(given, str):
                with warnings.catch_warnings():  # they were shown when the method was described
                    warnings.simplefilter("ignore")
                    given = parse_method(given, device=self.device, precision=self.precision)
            if isinstance(given, NoiseMethod) and given.std is None:
                given = given.base  # the noise comes when all images of the data set are there
            self._loaded = (name, given)
        return self._loaded[1]

    def _made(self, job: Job, pair: ImagePair, path: Path) -> ImageRecord:
        """Run the method and store its image."""
        method = job.late or self.method(job.method)
        observation = Observation(self.datasets[job.dataset].name, pair.name, pair.observation, pair.camera)
        record = ImageRecord(job.made_of, job.target)
        try:
            with _measured(self.device) as peak:
                began = time.perf_counter()
                output = method(observation, job.seed)
                seconds = time.perf_counter() - began
            _check(output, pair.target, method, observation)
        except Exception as error:  # a method may fail in any way; the others go on
            path.unlink(missing_ok=True)  # an older image is not this method's
            return replace(record, error=sentence_of(error))
        # Reading an image that another program made says nothing about that program.
        if not isinstance(method, ImagesMethod):
            record = replace(record, seconds=seconds, peak_memory=peak.added)
        old = read_record(path.with_suffix(".json"))
        store_image(path, output.image, stored_bits(pair.camera))
        image = file_digest(path)
        same = old is not None and (old.image, old.target) == (image, job.target)
        values = old.values if old is not None and same else {}
        return replace(record, image=image, values=values, calls=dict(output.calls))


def do_all(
    worker: EvaluationWorker, jobs: Sequence[Job], processes: int
) -> Iterator[tuple[Job, ImageRecord, dict[str, str]]]:
    """Do jobs, in order in one process, or in the order in which several processes get done.

    Raises:
        DPIRError: a worker process was ended from outside.
    """
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            yield job, *worker.do(job)
        return
    count = min(processes, len(jobs))
    threads = max(1, torch.get_num_threads() // count)
    pool = ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), initializer=_start, initargs=(worker, threads)
    )
    try:
        rest = iter(jobs)
        running: dict[Future[tuple[ImageRecord, dict[str, str]]], Job] = {}
        while True:
            for job in islice(rest, _AHEAD * count - len(running)):
                running[pool.submit(_do, job)] = job
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                job = running.pop(future)
                yield job, *future.result()
    except BrokenProcessPool as error:
        raise DPIRError(
            f"One of the {count} worker processes was ended from outside, perhaps for want of memory: the same command "
            "goes on with what is not done yet; use fewer --processes if it happens again."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: EvaluationWorker | None = None  # of this worker process


def _start(worker: EvaluationWorker, threads: int) -> None:
    """Begin a worker process."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to deal with
    warnings.simplefilter("ignore")  # the parent has shown them
    torch.set_num_threads(threads)
    _worker = worker


def _do(job: Job) -> tuple[ImageRecord, dict[str, str]]:
    assert _worker is not None
    return _worker.do(job)


def metric_values(
    metrics: Sequence[Metric], output: Tensor, pair: ImagePair
) -> tuple[dict[str, float], dict[str, str]]:
    """Values by protocol, and reasons by name of the metrics that do not take these images."""
    values, reasons = {}, {}
    for metric in metrics:
        try:
            seen = metric.through(pair.camera) if isinstance(metric, LinearPSNR) else metric
            values[metric.protocol] = float(seen(output, pair.target)[0])
        except Exception as error:  # a metric of another package may fail in any way; the others go on
            reasons[metric.name] = sentence_of(error)
    return values, reasons


def _check(output: Output, target: Tensor, method: Method, observation: Observation) -> None:
    """Raise DataError unless an output is an image of its target's size."""
    image = output.image
    if isinstance(method, ImagesMethod):
        what = f"'{method.file(observation)}'"
    else:
        what = f"What '{method.name}' made of '{observation.name}' of '{observation.dataset}'"
    if image.ndim != 4 or image.shape[:2] != (1, 3):
        raise DataError(f"{what} has shape {tuple(image.shape)}, expected (1, 3, H, W): return one RGB image.")
    if image.shape != target.shape:
        raise DataError(
            f"{what} has {image.shape[-1]}x{image.shape[-2]} pixels, expected {target.shape[-1]}x{target.shape[-2]} as "
            f"the target has: make it from the same observations, without cropping or another scale."
        )
    if not bool(torch.isfinite(image).all()):
        raise DataError(f"{what} holds NaN or infinity, expected values in [0, 1]: repair the method.")


@contextmanager
def _measured(device: str) -> Iterator[PeakMemory]:
    """Peak memory where it can be measured."""
    where = pick_device(device)
    measurable = where.type == "cuda" or importlib.util.find_spec("psutil") is not None
    with peak_memory(where) if measurable else nullcontext(PeakMemory()) as peak:
        yield peak


def sentence_of(error: Exception) -> str:
    """One line about an error, with its type unless it is one of this package, which say all in their sentence."""
    text = " ".join(str(error).split())
    return text if isinstance(error, DPIRError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
