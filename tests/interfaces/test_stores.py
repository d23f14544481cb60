"""Photos in an object store, results in one: the same batch, by URLs. fsspec's memory:// stands in for s3://."""

import json

import fsspec
import pytest

from conftest import listing
from dp_ir.batch.locations import Url, files_below, upload
from dp_ir.batch.manifest import Manifest
from dp_ir.batch.plan import plan_batch


@pytest.fixture
def store():
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def fill(store, folder, prefix):
    for name in listing(folder):
        store.pipe_file(f"{prefix}/{name}", (folder / name).read_bytes())


def results(store, prefix):
    names = {path.removeprefix(f"{prefix}/"): path for path in store.find(prefix)}
    return {name: store.cat_file(path) for name, path in names.items() if not name.startswith("dp-ir-manifest-")}


def records(store, prefix):
    parts = sorted(store.glob(f"{prefix}/dp-ir-manifest-*.jsonl"))
    return [json.loads(line) for part in parts for line in store.cat_file(part).splitlines()]


def test_photos_of_a_store_become_results_in_a_store(dp_ir, bundle, photos, store, tmp_path):
    (photos / "deep").mkdir()
    (photos / "a.jpg").rename(photos / "deep" / "a.jpg")
    fill(store, photos, "/bucket/in")
    command = ("-b", bundle, "--device", "cpu", "--seed", 3)
    done = dp_ir("restore", "memory://bucket/in", "-o", "memory://bucket/out", *command)
    assert done.exit_code == 0, done.stderr
    assert "memory://bucket/in/b.png -> memory://bucket/out/b.png" in done.stdout
    dp_ir("restore", photos, "-o", tmp_path / "here", *command)
    found = results(store, "/bucket/out")
    assert sorted(found) == ["b.png", "deep/a.png"]
    assert all(content == (tmp_path / "here" / name).read_bytes() for name, content in found.items())
    assert sorted(entry["target"] for entry in records(store, "/bucket/out")[1:]) == ["b.png", "deep/a.png"]
    assert "2 skipped" in dp_ir("restore", "memory://bucket/in", "-o", "memory://bucket/out", *command).stdout


def test_a_store_and_this_machine_mix(dp_ir, bundle, photos, store, tmp_path):
    fill(store, photos, "/bucket/in")
    command = ("-b", bundle, "--device", "cpu")
    assert dp_ir("restore", "memory://bucket/in/*.png", "-o", tmp_path / "out", *command).exit_code == 0
    assert listing(tmp_path / "out") == ["b.png"]
    assert dp_ir("restore", photos / "b.png", "-o", "memory://bucket/one.png", *command).exit_code == 0
    assert store.cat_file("/bucket/one.png") == (tmp_path / "out" / "b.png").read_bytes()
    assert dp_ir("restore", (photos / "b.png").as_uri(), "-o", tmp_path / "two.png", *command).exit_code == 0


def test_what_changed_in_the_store_is_restored_again(dp_ir, bundle, photos, store):
    fill(store, photos, "/bucket/in")
    command = ("restore", "memory://bucket/in", "-o", "memory://bucket/out", "-b", bundle, "--device", "cpu")
    dp_ir(*command)
    before = results(store, "/bucket/out")
    store.pipe_file("/bucket/in/a.jpg", (photos / "b.png").read_bytes())
    again = dp_ir(*command)
    assert "1 restored, 1 skipped" in again.stdout
    assert "a.jpg changed since" in again.stderr
    assert results(store, "/bucket/out")["a.png"] != before["a.png"]


def test_errors_name_the_file_in_the_store_and_its_folder_is_never_left(dp_ir, bundle, photos, store, tmp_path):
    store.pipe_file("/bucket/in/broken.png", b"no image")
    store.pipe_file("/bucket/in/../escaped.png", (photos / "b.png").read_bytes())
    out = tmp_path / "deep" / "out"
    done = dp_ir("restore", "memory://bucket/in", "-o", out, "-b", bundle, "--device", "cpu", "--json")
    assert done.exit_code == 1
    *outcomes, summary = map(json.loads, done.stdout.splitlines())
    (outcome,) = outcomes
    assert outcome["source"] == "memory://bucket/in/broken.png"
    assert "memory://bucket/in/broken.png" in outcome["reason"]
    assert "/tmp" not in outcome["reason"].replace(str(tmp_path), "")
    assert summary["summary"] == {"restored": 0, "skipped": 0, "failed": 1}
    assert listing(tmp_path / "deep") == []


@pytest.mark.parametrize("named", ["memory://bucket/nothing", "memory://bucket/*.tif", "nosuchprotocol://bucket/in"])
def test_what_leads_to_nothing_is_said_in_one_sentence(dp_ir, bundle, store, tmp_path, named):
    done = dp_ir("restore", named, "-o", tmp_path / "out", "-b", bundle)
    assert done.exit_code == 1
    assert named in done.stderr
    assert "Traceback" not in done.output
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_folder_of_the_inputs_is_refused_and_results_below_it_are_no_inputs(dp_ir, bundle, photos, store):
    fill(store, photos, "/bucket")
    command = ("-b", bundle, "--device", "cpu")
    assert "also the input folder" in dp_ir("restore", "memory://bucket", "-o", "memory://bucket", *command).stderr
    dp_ir("restore", "memory://bucket", "-o", "memory://bucket/out", *command)
    assert "2 skipped" in dp_ir("restore", "memory://bucket", "-o", "memory://bucket/out", *command).stdout


def test_bursts_of_a_store_are_its_folders_with_frames(store):
    for name in ("night/0.dng", "night/1.dng", "deep/day/0.dng", ".thumbs/0.dng", "notes.txt", "night/x/0.dng"):
        store.pipe_file(f"/bucket/{name}", b"frame")
    jobs = plan_batch(["memory://bucket"], "memory://out", bursts=True).jobs
    assert {str(job.source): str(job.target) for job in jobs} == {
        "memory://bucket/night": "memory://out/night.png",
        "memory://bucket/deep/day": "memory://out/deep/day.png",
    }


def test_a_manifest_in_a_store_has_a_file_per_run_and_is_sent_in_parts(store, monkeypatch):
    monkeypatch.setattr("dp_ir.batch.manifest._UPLOAD_LINES", 4)
    for run in range(2):
        with Manifest(Url("memory://bucket/out")) as manifest:
            for index in range(6):
                manifest.add([{"target": f"{index}.png", "status": "failed" if run == 0 else "restored"}], {"run": run})
    assert len(store.glob("/bucket/out/dp-ir-manifest-*.jsonl")) == 4
    read = Manifest(Url("memory://bucket/out")).read()
    assert {record.status for record in read.values()} == {"restored"}
    assert {record.made_by["run"] for record in read.values()} == {1}


def test_a_store_without_whole_uploads_gets_the_file_under_another_name_first(store, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("dp_ir.batch.locations._WHOLE_UPLOADS", frozenset())
    monkeypatch.setattr(type(store), "mv", lambda self, old, new: (seen.append((old, new)), self.cp_file(old, new)))
    (tmp_path / "a").write_bytes(b"result")
    upload(tmp_path / "a", Url("memory://bucket/deep/a.png"))
    assert [new for _, new in seen] == ["/bucket/deep/a.png"]
    assert seen[0][0].endswith(".part")
    assert [str(url) for url in files_below(Url("memory://bucket"))] == ["memory://bucket/deep/a.png"]
