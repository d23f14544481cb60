"""The manifest: what it keeps, what it survives, and what a second run makes of it."""

import errno
import json
import os
import warnings
from pathlib import Path

import pytest

from dp_ir.batch.manifest import MANIFEST, Manifest
from dp_ir.batch.plan import Job, Status, carry_out, plan_batch, run_batch
from dp_ir.batch.source_version import has_changed, stamp_of
from dp_ir.errors import ImageReadError

WAY = {"seed": 3, "tau": 400, "restorer": "ab12", "linear": False}


def copy(job: Job) -> None:
    for target in job.targets:
        if b"broken" in job.source.read_bytes():
            raise ImageReadError(f"{job.source} is broken.")
        target.write_bytes(job.source.read_bytes())


def batch(folder: Path, way=WAY, process=copy, **options):
    """What becomes of the files in `folder`/in, by name; notes are errors unless expected."""
    manifest = Manifest(folder / "out")
    plan = plan_batch([folder / "in"], folder / "out", manifest=manifest, made_by=way, **options)
    outcomes = carry_out(plan, lambda jobs: run_batch(jobs, process), manifest, way)
    return {outcome.source.name: outcome.status.value for outcome in outcomes}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / f"{name}.png").write_bytes(f"pixels of {name}".encode())
    return tmp_path


@pytest.fixture(autouse=True)
def _no_notes():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield


def lines(folder):
    return [json.loads(line) for line in (folder / "out" / MANIFEST).read_bytes().splitlines()]


def test_it_says_what_became_of_each_input_and_how_it_was_made(folder):
    (folder / "in" / "b.png").write_bytes(b"broken")
    batch(folder)
    way, *entries = lines(folder)
    assert way["made_by"] == WAY
    assert [(entry["target"], entry["status"]) for entry in entries] == [
        ("a.png", "restored"),
        ("b.png", "failed"),
        ("c.png", "restored"),
    ]
    assert all(entry["way"] == way["way"] for entry in entries)
    assert "is broken" in entries[1]["reason"]
    assert entries[0]["source"] == str(folder / "in" / "a.png")
    assert entries[0]["size"] == len(b"pixels of a")


def test_each_line_is_on_the_disk_before_the_next_file_is_begun(folder):
    seen = []

    def process(job):
        seen.append(len(lines(folder)) if (folder / "out" / MANIFEST).exists() else 0)
        copy(job)

    batch(folder, process=process)
    assert seen == [0, 2, 3]


def test_a_second_run_does_what_is_left_only(folder):
    batch(folder)
    (folder / "out" / "b.png").unlink()
    assert batch(folder) == {"a.png": "skipped", "b.png": "restored", "c.png": "skipped"}


def test_what_failed_is_tried_again_even_where_an_older_result_exists(folder):
    batch(folder)
    (folder / "in" / "b.png").write_bytes(b"broken")
    with pytest.warns(UserWarning, match=r"b\.png changed since"):
        assert batch(folder)["b.png"] == "failed"
    assert (folder / "out" / "b.png").read_bytes() == b"pixels of b"
    assert batch(folder) == {"a.png": "skipped", "b.png": "failed", "c.png": "skipped"}


def test_a_source_that_changed_is_restored_again_which_is_said(folder):
    batch(folder)
    (folder / "in" / "a.png").write_bytes(b"pixels of A")  # of the same size
    with pytest.warns(UserWarning, match=r"a\.png changed since"):
        assert batch(folder) == {"a.png": "restored", "b.png": "skipped", "c.png": "skipped"}
    assert (folder / "out" / "a.png").read_bytes() == b"pixels of A"
    assert batch(folder)["a.png"] == "skipped"


def test_a_copy_with_another_time_is_the_same_source(folder):
    batch(folder)
    for name in "abc":
        os.utime(folder / "in" / f"{name}.png", (1, 1))
    assert set(batch(folder).values()) == {"skipped"}


def test_results_made_in_another_way_are_kept_which_is_said_once(folder):
    batch(folder)
    with pytest.warns(UserWarning, match="stay as they are") as notes:
        assert set(batch(folder, way={**WAY, "seed": 4, "restorer": "cd34"}).values()) == {"skipped"}
    assert len(notes) == 1
    assert "3 results" in str(notes[0].message)
    assert "another restorer, seed 3 instead of 4" in str(notes[0].message)
    assert "--overwrite" in str(notes[0].message)
    assert set(batch(folder, way={**WAY, "seed": 4}, overwrite=True).values()) == {"restored"}
    assert set(batch(folder, way={**WAY, "seed": 4}).values()) == {"skipped"}


def test_results_from_before_there_was_a_dial_are_samples(folder):
    batch(folder)
    assert set(batch(folder, way={**WAY, "detail": 1.0}).values()) == {"skipped"}
    with pytest.warns(UserWarning, match=r"detail 1\.0 instead of 0\.5"):
        batch(folder, way={**WAY, "detail": 0.5})


def test_results_without_a_manifest_are_skipped(folder):
    (folder / "out").mkdir()
    (folder / "out" / "a.png").write_bytes(b"made elsewhere")
    assert batch(folder)["a.png"] == "skipped"
    assert (folder / "out" / "a.png").read_bytes() == b"made elsewhere"


def test_an_overwriting_run_that_was_killed_amid_the_samples_of_an_image_leaves_no_mixture(folder):
    def dying(job):
        job.targets[0].write_bytes(b"new")
        raise KeyboardInterrupt

    batch(folder, samples=2)
    with pytest.raises(KeyboardInterrupt):
        batch(folder, way={**WAY, "seed": 4}, process=dying, samples=2, overwrite=True)
    assert set(batch(folder, way={**WAY, "seed": 4}, samples=2).values()) == {"restored"}
    assert (folder / "out" / "a-1.png").read_bytes() == b"pixels of a"
    assert set(batch(folder, way={**WAY, "seed": 4}, samples=2).values()) == {"skipped"}


def test_a_torn_last_line_is_passed_over_and_ended(folder):
    batch(folder)
    path = folder / "out" / MANIFEST
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    (folder / "out" / "b.png").unlink()
    assert batch(folder) == {"a.png": "skipped", "b.png": "restored", "c.png": "skipped"}
    assert Manifest(folder / "out").read()["b.png"].status == "restored"


@pytest.mark.parametrize("written", [0, 40, 700])
def test_what_follows_a_disk_that_was_full_for_a_while_is_whole(tmp_path, monkeypatch, written):
    """The lines on how results are made and of the first one do not, or in part, reach the disk."""
    write, made_by = os.write, {"bundle": "sr4", "networks": "x" * 600}

    def full(descriptor, data):
        if not written or not calls:
            calls.append(written)
            if written:
                return write(descriptor, data[:written])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    calls = []
    with Manifest(tmp_path) as manifest:
        monkeypatch.setattr(os, "write", full)
        with pytest.warns(UserWarning, match="No space left"):
            manifest.add([{"target": "a.png", "status": "restored"}], made_by)
        monkeypatch.setattr(os, "write", write)
        manifest.add([{"target": "b.png", "status": "restored"}], made_by)
        manifest.add([{"target": "c.png", "status": "restored"}], made_by)
    records = Manifest(tmp_path).read()
    assert set(records) == {"b.png", "c.png"}
    assert all(record.made_by == made_by for record in records.values())


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe",
        b"[" * 100_000,
        b'"text"',
        b'{"target": 7, "status": []}',
        b'{"target": "a.png", "status": {"x": 1}, "size": "big", "version": null, "way": []}',
        b'{"made_by": 3, "way": {}}',
    ],
)
def test_nothing_that_stands_in_it_stops_a_run(folder, garbage):
    batch(folder)
    with (folder / "out" / MANIFEST).open("ab") as file:
        file.write(garbage + b"\n" + garbage)
    outcomes = batch(folder)
    assert {outcomes["b.png"], outcomes["c.png"]} == {"skipped"}


def test_a_link_in_its_place_is_not_written_through(folder):
    outside = folder / "outside"
    outside.write_bytes(b"precious")
    (folder / "out").mkdir()
    (folder / "out" / MANIFEST).symlink_to(outside)
    with pytest.warns(UserWarning, match="manifest in .* cannot be written"):
        assert set(batch(folder).values()) == {"restored"}
    assert outside.read_bytes() == b"precious"


def test_one_that_cannot_be_written_is_said_once_and_stops_nothing(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left") as notes:
        assert set(batch(folder).values()) == {"restored"}
    assert len(notes) == 1


def test_leftovers_of_a_killed_run_are_removed_where_results_go(folder):
    (folder / "out").mkdir()
    left = folder / "out" / ".a.png.elsewhere-7-0123456789ab.part"
    left.touch()
    os.utime(left, (0, 0))
    batch(folder)
    assert not left.exists()


def test_the_stamp_of_a_burst_is_that_of_its_frames(tmp_path):
    for index in range(2):
        (tmp_path / f"{index}.dng").write_bytes(b"frame %d" % index)
    (tmp_path / "0.txt").touch()
    stamp = stamp_of(tmp_path)
    assert stamp.size == 14
    assert not has_changed(tmp_path, stamp)
    (tmp_path / "1.dng").write_bytes(b"frame 2")
    os.utime(tmp_path / "1.dng", (2e9, 2e9))
    assert has_changed(tmp_path, stamp)
    assert stamp_of(tmp_path / "gone") is None


def test_statuses_are_those_that_are_read_again(folder):
    assert {record.status for record in Manifest(folder / "out").read().values()} == set()
    batch(folder)
    assert {record.status for record in Manifest(folder / "out").read().values()} == {Status.RESTORED.value}
