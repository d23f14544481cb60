"""A batch on Ray Data (extra `ray`): one set of networks per actor, on this machine or on a cluster.

The cluster is the one that RAY_ADDRESS names, as within `ray job submit`; without it Ray starts on this machine. Where
there are several machines, inputs and results must be on a disk that all of them see, or in an object store.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dp_ir.batch.jobs import Job, Outcome, Status
from dp_ir.batch.plan import run_batch
from dp_ir.batch.worker import Worker
from dp_ir.errors import DPIRError
from dp_ir.extras import require
from dp_ir.interfaces.progress import counted_with_progress

_CORES = 4  # per worker without a GPU: more of them speed up one image less than another worker speeds up the batch
_ATTEMPTS = 3  # an image that brings down its worker so often is given up
_BLOCKS = 10_000  # tasks at most; where there are more jobs, a task has several


def restore_on_ray(
    jobs: Sequence[Job], *, worker: Worker, workers: int | None = None, on_gpus: bool = True
) -> Iterator[Outcome]:
    """Handle jobs by actors of a Ray cluster.

    An actor that dies is replaced and its job tried again; after three times that job has failed, and the rest goes on.

    Args:
        jobs: from `plan_batch`.
        worker: what handles them; each actor has a copy, with networks of its own.
        workers: how many actors; by default one per GPU, or per four processor cores.
        on_gpus: use the GPUs of the cluster, where it has some.

    Yields:
        What became of each, in the order in which they are done.

    Raises:
        MissingExtraError: Ray is not installed.
        DPIRError: the cluster cannot be reached or is too small; the networks cannot be loaded.
    """
    ray = _start()
    count, cores, gpus = _shares(ray, workers, on_gpus)
    attempts = ray.remote(num_cpus=0)(_Attempts).remote()
    rows = [{"index": index, "job": pickle.dumps(_absolute(job))} for index, job in enumerate(jobs)]
    results = ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS)).map(
        _Actor,
        fn_constructor_args=(worker, cores, attempts),
        # None waits in line at an actor, so that one that dies takes nothing but its own job along.
        compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
        num_cpus=cores,
        num_gpus=gpus,
    )
    said: set[str] = set()
    # Closed whatever happens: a thread of Ray Data that goes on when Ray is shut down ends the process.
    with closing(_rows(ray, results)) as rows_done:
        done = (_outcome(row, said, jobs[row["index"]]) for row in rows_done)
        yield from counted_with_progress(done, len(jobs))


def _rows(ray: Any, results: Any) -> Generator[dict[str, Any], None, None]:
    try:
        # Not iter_rows, which holds each row back until the next one is there.
        with closing(iter(results.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"))) as tables:
            for table in tables:
                yield from table.to_pylist()
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DPIRError(f"The Ray cluster failed ({reason}): the same command continues with what is left.") from error


def _outcome(row: Mapping[str, Any], said: set[str], job: Job) -> Outcome:
    """What an actor says of a job, in the job's own words; notes of several actors are said once."""
    outcome: Outcome | DPIRError = pickle.loads(row["outcome"])
    if isinstance(outcome, DPIRError):
        raise outcome
    for note in row["notes"]:
        if note not in said:
            warnings.warn(note, stacklevel=2)
        said.add(note)
    return replace(outcome, source=job.source, targets=job.targets if outcome.targets else ())


class _Attempts:
    """Counts how often each job was begun; it lives in a process of its own, which no job brings down."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, index: int) -> int:
        self._begun[index] += 1
        return self._begun[index]


class _Actor:
    """One set of networks; Ray makes it in a process of its own."""

    def __init__(self, worker: Worker, threads: int, attempts: Any) -> None:
        import torch

        torch.set_num_threads(threads)
        self._worker, self._attempts = worker, attempts

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            outcome = self._outcome(row["index"], pickle.loads(row["job"]))
        notes = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
        return {"index": row["index"], "outcome": pickle.dumps(outcome), "notes": notes}

    def _outcome(self, index: int, job: Job) -> Outcome | DPIRError:
        import ray

        if ray.get(self._attempts.begin.remote(index)) > _ATTEMPTS:
            reason = f"The process that restored {job.source} ended {_ATTEMPTS} times, perhaps for lack of memory."
            return Outcome(job.source, Status.FAILED, reason=reason)
        try:
            self._worker.prepare()
            (outcome,) = run_batch([job], self._worker)
        except DPIRError as error:  # what no job can be done with
            return DPIRError(str(error))
        return outcome


def _absolute(job: Job) -> Job:
    """The same job for a process that runs in another folder."""
    source, target = (place.absolute() if isinstance(place, Path) else place for place in (job.source, job.target))
    return Job(source, target, job.samples)


def _start() -> Any:
    """Ray, connected; quiet, and telling nobody."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    require("ray.data", "--executor ray", "ray")
    import ray

    if not ray.is_initialized():
        try:
            with _silence():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:
            raise DPIRError(f"No Ray cluster can be reached or started ({error}): check RAY_ADDRESS.") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return ray


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing on standard error, where the part of Ray that is not Python reports how it was told to be silent."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _shares(ray: Any, workers: int | None, on_gpus: bool) -> tuple[int, int, float]:
    """How many actors, and how many processor cores and GPUs each of them gets."""
    total = ray.cluster_resources()
    cores, gpus = int(total.get("CPU", 0)), int(total.get("GPU", 0)) if on_gpus else 0
    if workers is not None and workers > cores:
        raise DPIRError(f"There are {cores} processor cores for {workers} workers: choose at most {cores} (--workers).")
    if gpus:
        count = workers or gpus
        return count, 1, min(1.0, gpus / count)  # several may share a GPU
    widest = min(int(node["Resources"].get("CPU", 0)) or cores for node in ray.nodes() if node["Alive"])
    each = max(1, min(widest, cores // workers if workers else _CORES))
    return workers or max(1, cores // each), each, 0.0
