"""A batch on Ray (run by `test_ray.py`): equal results, one set of networks per actor, and processes that die."""

import os
import signal
import threading
from functools import partial

import pytest
from PIL import Image

from conftest import listing
from dp_ir.batch.manifest import Manifest
from dp_ir.batch.plan import Job, Status, carry_out, plan_batch
from dp_ir.batch.worker import Worker
from dp_ir.errors import DPIRError
from dp_ir.image import write_image
from dp_ir.interfaces.distributed import restore_on_ray
from dp_ir.restoration.pipeline import Restoration
from dp_ir.restoration.replacement import restoration_of

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two processor cores, started once, as RAY_ADDRESS would name a larger one."""
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    for attempts_left in (2, 1, 0):  # a node has 30 seconds to start in, which are few on a busy machine
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            break
        except Exception:
            ray.shutdown()
            if not attempts_left:
                raise
    yield
    # One that goes on when Ray is shut down ends the process, with status 1 and without a word.
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("StreamingExecutor")]
    ray.shutdown()
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture
def many(tmp_path, photo_pixels):
    """A folder `in` with eight photos, no two of them alike."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(8):
        Image.fromarray(photo_pixels[index:, : 16 - index]).save(folder / f"{index}.png")
    return folder


def worker_of(kind, bundle, **settings):
    load = partial(
        restoration_of, sources={}, stated=[], device="cpu", precision="float32", settings={"tau": None, "steps": None}
    )
    return kind(load, str(bundle), settings)


def test_results_on_ray_are_those_of_this_process_bit_for_bit(dp_ir, bundle, many, tmp_path):
    (many / "broken.png").write_bytes(b"no image")
    command = ("restore", many, "--bundle", bundle, "--device", "cpu", "--seed", 3)
    here = dp_ir(*command, "-o", tmp_path / "here")
    there = dp_ir(*command, "-o", tmp_path / "there", "--executor", "ray", "--workers", 2)
    assert (here.exit_code, there.exit_code) == (1, 1)
    assert "8 restored, 1 failed" in there.stdout
    assert "broken.png" in there.stderr
    assert listing(tmp_path / "there") == listing(tmp_path / "here")
    for name in listing(tmp_path / "here"):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    assert not plan_batch([many / "3.png"], tmp_path / "there", manifest=Manifest(tmp_path / "there")).jobs


def test_a_process_that_is_killed_costs_its_own_attempt_only(bundle, many, tmp_path):
    class Mortal(Worker):  # within the test, so that Ray sends it whole
        """Dies by kill -9 amid one job once, and amid another one always."""

        def __call__(self, job: Job, progress=None) -> None:
            mark = job.target.with_name(f"{os.getpid()}.{job.target.stem}.process")
            mark.touch()
            victims = list(job.target.parent.glob(f"*.{job.target.stem}.process"))
            if job.target.stem == "6" or (job.target.stem == "2" and len(victims) == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            super().__call__(job, progress)

    plan = plan_batch([many], tmp_path / "out")
    manifest = Manifest(tmp_path / "out")
    run = partial(restore_on_ray, worker=worker_of(Mortal, bundle, seed=3), workers=2)
    outcomes = {outcome.source.name: outcome for outcome in carry_out(plan, run, manifest)}
    assert len(outcomes) == 8
    (lost,) = [outcome for outcome in outcomes.values() if outcome.status is Status.FAILED]
    assert lost.source.name == "6.png"
    assert "ended 3 times" in lost.reason
    processes = [path.name.split(".") for path in (tmp_path / "out").glob("*.process")]
    assert len({process for process, name, _ in processes if name == "2"}) == 2
    assert len({process for process, name, _ in processes if name == "6"}) == 3
    untouched = {name for _, name, _ in processes} - {"2", "6"}
    assert all(sum(name == other for _, other, _ in processes) == 1 for name in untouched)
    records = manifest.read()
    assert {target for target, record in records.items() if record.status == "restored"} == {
        f"{index}.png" for index in range(8) if index != 6
    }
    restoration = Restoration.from_pretrained(bundle, device="cpu", precision="float32")
    write_image(tmp_path / "expected.png", restoration(many / "2.png", seed=3).image)
    assert (tmp_path / "out" / "2.png").read_bytes() == (tmp_path / "expected.png").read_bytes()


def test_what_no_job_can_be_done_with_is_said_once(bundle, many, tmp_path):
    plan = plan_batch([many], tmp_path / "out")
    worker = worker_of(Worker, tmp_path / "no bundle")
    with pytest.raises(DPIRError, match="no bundle"):
        list(restore_on_ray(plan.jobs, worker=worker, workers=1))
    assert not (tmp_path / "out").exists()


def test_more_workers_than_cores_are_refused(bundle, many, tmp_path):
    plan = plan_batch([many], tmp_path / "out")
    with pytest.raises(DPIRError, match="at most 2"):
        next(restore_on_ray(plan.jobs, worker=worker_of(Worker, bundle), workers=3))
