"""What the files of a folder are, told by their content, and what becomes of those that are no input."""

import os
from pathlib import Path

import numpy as np
import pytest
from dng_files import write_dng
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dp_ir.batch.manifest import MANIFEST, Manifest
from dp_ir.batch.output import output_of
from dp_ir.batch.plan import Job, Status, carry_out, plan_batch, run_batch
from dp_ir.errors import ImageWriteError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
PSD = b"8BPS\0\1"


def photo(path: Path, format: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), "teal").save(path, format=format)
    return path


def copy(job: Job) -> None:
    for target in job.targets:
        target.write_bytes(Path(job.source).read_bytes())


def batch(folder: Path, out: Path | str, process=copy, **options):
    """The names of what a run restores, and what it leaves out."""
    output = output_of(out)
    manifest = Manifest(output.folder)
    plan = plan_batch([folder], output, manifest=manifest, made_by={"seed": 0}, **options)
    outcomes = carry_out(plan, lambda jobs: run_batch(jobs, process), manifest, {"seed": 0})
    restored = [outcome.source for outcome in outcomes if outcome.status is Status.RESTORED]
    return sorted(path.relative_to(folder).as_posix() for path in restored), dict(plan.left_out)


def test_the_content_tells_what_is_an_image(tmp_path):
    folder = tmp_path / "in"
    for name, format in (("a.jfif", "JPEG"), ("b", "PNG"), ("c.dat", "WEBP"), ("d.jpe", "JPEG"), ("e.bin", "TIFF")):
        photo(folder / name, format)
    for name, format in (("f.gif", "GIF"), ("g.x", "AVIF"), ("h.pgm", "PPM")):
        photo(folder / name, format)
    photo(folder / "h.tga", "TGA")
    (folder / "i.heic").write_bytes(HEIC)
    (folder / "j.jpeg2").write_bytes(PSD)
    (folder / "k.txt").write_text("Dear diary")
    (folder / "README").write_text("Dear reader")
    photo(folder / ".thumb.jpg", "JPEG")
    photo(folder / ".cache" / "l.jpg", "JPEG")
    restored, left_out = batch(folder, tmp_path / "out")
    assert restored == ["a.jfif", "b", "c.dat", "d.jpe", "e.bin", "f.gif", "g.x", "h.pgm"]
    assert left_out == {
        "hidden": 2,
        ".tga": 1,
        "HEIC": 1,
        "Photoshop document": 1,
        ".txt": 1,
        "without suffix": 1,
    }


def test_a_file_that_is_named_is_an_input_whatever_it_is(tmp_path):
    file = tmp_path / "i.heic"
    file.write_bytes(HEIC)
    plan = plan_batch([file], tmp_path / "out")
    assert [job.source for job in plan.jobs] == [file]
    assert not plan.left_out


def test_a_suffix_of_an_image_makes_an_input_so_that_its_damage_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    assert batch(tmp_path / "in", tmp_path / "out") == (["a.png"], {})


def test_raw_files_are_left_out_of_a_task_of_images(tmp_path):
    folder = tmp_path / "in"
    photo(folder / "a.jpg", "JPEG")
    write_dng(folder / "a.dng", np.full((4, 4), 9000, np.uint16))
    assert batch(folder, tmp_path / "out") == (["a.jpg"], {"camera RAW": 1})


def test_what_is_no_frame_of_a_burst_is_counted(tmp_path):
    folder = tmp_path / "in"
    for name in ("1.png", "2.jfif"):
        photo(folder / "night" / name, "PNG")
    photo(folder / "night" / "sub" / "3.png", "PNG")
    (folder / "night" / "4.heic").write_bytes(HEIC)
    (folder / "notes.txt").touch()
    plan = plan_batch([folder], tmp_path / "out", bursts=True)
    assert [job.source for job in plan.jobs] == [folder / "night"]
    assert plan.left_out == {".txt": 1, "HEIC": 1, ".png": 1}


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.psd").write_bytes(PSD)
    (outcome,) = plan_batch([tmp_path / "in"], tmp_path / "out").settled
    assert outcome.status is Status.FAILED
    assert outcome.reason.endswith(
        "expected PNG, JPEG, WebP, TIFF, AVIF, JPEG XL, GIF, PPM, BMP files, found 1 Photoshop document."
    )


def test_results_of_earlier_runs_are_left_out_wherever_the_output_is(tmp_path):
    folder = tmp_path / "in"
    photo(folder / "a.png", "PNG")
    photo(folder / "day" / "b.png", "PNG")
    assert batch(folder, folder / "out 1")[0] == ["a.png", "day/b.png"]
    photo(folder / "out 1" / "mine.png", "PNG")  # which no run made
    assert batch(folder, folder / "out 2") == (["a.png", "day/b.png", "out 1/mine.png"], {"from earlier runs": 2})
    assert batch(folder, tmp_path / "out 3", samples=2)[1] == {"from earlier runs": 5}
    assert batch(folder, folder / "out 1")[1] == {"from earlier runs": 3, "in the output folder": 1}


def test_a_result_beside_its_source_is_none_either(tmp_path):
    folder = tmp_path / "in"
    source = photo(folder / "a.png", "PNG")
    batch(source, folder / "a-large.png")
    assert batch(folder, tmp_path / "out") == (["a.png"], {"from earlier runs": 1})


def test_a_folder_of_results_that_is_named_is_restored_once_more(tmp_path):
    photo(tmp_path / "in" / "a.png", "PNG")
    batch(tmp_path / "in", tmp_path / "out")
    assert batch(tmp_path / "out", tmp_path / "larger") == (["a.png"], {})


def test_a_burst_of_results_is_none(tmp_path):
    folder = tmp_path / "in"
    photo(folder / "night" / "1.png", "PNG")
    out = folder / "out"
    manifest = Manifest(out)
    plan = plan_batch([folder], out, bursts=True, manifest=manifest)

    def process(job):
        photo(job.target, "PNG")

    list(carry_out(plan, lambda jobs: run_batch(jobs, process), manifest))
    plan = plan_batch([folder], tmp_path / "elsewhere", bursts=True)
    assert [job.source.name for job in plan.jobs] == ["night"]
    assert plan.left_out == {"from earlier runs": 1}


@pytest.mark.parametrize(
    "garbage", [b"", b"[[[", b'{"target": 7}', b'{"target": "../a.png", "targets": [3, "\\u0000"]}']
)
def test_no_manifest_hides_a_photo_silently(tmp_path, garbage):
    folder = tmp_path / "in"
    photo(folder / "a.png", "PNG")
    photo(folder / "b" / "c.png", "PNG")
    (folder / "b" / MANIFEST).write_bytes(garbage)
    restored, left_out = batch(folder, tmp_path / "out")
    assert len(restored) + sum(left_out.values()) == 2


def test_folders_that_cannot_be_listed_are_failures_and_linked_ones_are_counted(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    photo(folder / "a.png", "PNG")
    photo(folder / "locked" / "b.png", "PNG")
    photo(tmp_path / "else" / "c.png", "PNG")
    (folder / "link").symlink_to(tmp_path / "else")
    original = os.scandir

    def scandir(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)  # rights mean nothing to a superuser
    plan = plan_batch([folder], tmp_path / "out")
    assert plan.left_out == {"linked folder": 1}
    (failed,) = plan.settled
    assert "locked cannot be read (Permission denied)" in failed.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path):
    photo(tmp_path / "in" / "a.png", "PNG")
    os.mkfifo(tmp_path / "in" / "pipe")
    assert batch(tmp_path / "in", tmp_path / "out") == (["a.png"], {"without suffix": 1})


KINDS = {"PNG": "PNG", "JPEG": "JPEG", "GIF": "GIF", "TEXT": None}


any_case = settings(max_examples=int(os.environ.get("DP_IR_EXAMPLES", "25")), deadline=None)  # thousands by hand


@any_case
@given(
    tree=st.dictionaries(
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["", "x/", "x/y/", ".h/"]),
            st.sampled_from(["a", "b", ".c"]),
            st.sampled_from(["", ".jfif", ".gif", ".txt", ".png"]),
        ),
        st.sampled_from(list(KINDS)),
        min_size=1,
        max_size=8,
    )
)
def test_every_file_of_a_tree_is_an_input_or_counted(tmp_path_factory, tree):
    base = tmp_path_factory.mktemp("tree")
    for name, kind in tree.items():
        path = base / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text") if kind == "TEXT" else photo(path, kind)
    plan = plan_batch([base / "in"], base / "out")
    shown = {name: kind for name, kind in tree.items() if not any(part.startswith(".") for part in Path(name).parts)}
    inputs = {name for name, kind in shown.items() if KINDS[kind] or name.endswith(".png")}
    assert {job.source.relative_to(base / "in").as_posix() for job in plan.jobs} == inputs
    hidden = {".h" if name.startswith(".h") else name for name in tree if name not in shown}
    assert sum(plan.left_out.values()) == len(shown) - len(inputs) + len(hidden)


ODD = [
    "a",
    "-a",
    " a",
    "a b",
    "\u00e9",
    "e\u0301",
    "A",
    "a.png",
    "line\nfeed",
    "%41",
    "a*[b]?",
    "\U0001f4f7",
    "dp-ir-manifest",
]
LINKS = ["to a photo", "to a text", "to nothing", "to itself", "to a folder"]


@any_case
@given(
    tree=st.dictionaries(
        st.builds(
            "{}{}{}".format,
            st.sampled_from(["", "x/", "x/a b/", "-y/", "x.png/"]),
            st.sampled_from(ODD),
            st.sampled_from(["", ".jfif", ".gif", ".txt", ".PNG"]),
        ),
        st.sampled_from(["PNG", "GIF", "AVIF", "TEXT", *LINKS]),
        min_size=1,
        max_size=8,
    ),
    inside=st.booleans(),
)
def test_a_tree_is_restored_once_and_nothing_of_it_changes(tmp_path_factory, tree, inside):
    base = tmp_path_factory.mktemp("tree")
    folder, out = base / "in", base / "in" / "results" if inside else base / "out"
    for made in (folder, base / "there"):
        made.mkdir()
    placed = {}
    for name, kind in tree.items():
        path = folder / name
        if any(parent in placed for parent in path.parents) or path.is_dir():
            continue  # a file of that name is there, or a folder
        placed[path] = kind
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind in LINKS:
            target = base / "there" / f"{len(placed)}"  # one for each: links to one file are one input
            path.symlink_to(path if kind == "to itself" else target)
            if kind == "to a photo":
                photo(target, "PNG")
            elif kind == "to a text":
                target.write_text("text")
            elif kind == "to a folder":
                photo(target / "a.png", "PNG")
        elif kind == "TEXT":
            path.write_text("text")
        else:
            photo(path, kind)
    before = {path: path.read_bytes() for path in placed if path.is_file()}
    restored, _ = batch(folder, out)
    images = [path for path, kind in placed.items() if kind in ("PNG", "GIF", "AVIF", "to a photo")]
    named = [path for path in before if path.suffix.lower() == ".png" and path not in images]  # taken at their word
    assert restored == sorted(path.relative_to(folder).as_posix() for path in (*images, *named))
    assert {path: path.read_bytes() for path in before} == before
    # A second run finds it done, and one with another output the same inputs, wherever the results of the first lie.
    assert batch(folder, out)[0] == []
    assert batch(folder, base / "another")[0] == restored


@pytest.mark.parametrize(
    ("name", "is_file"),
    [("a.png", True), ("a.png/", False), ("a.pdf/", False), ("photos 1.5", False), ("J. Smith", False), ("out", False)],
)
def test_an_output_is_a_file_or_a_folder_for_certain(tmp_path, name, is_file):
    assert output_of(f"{tmp_path}/{name}").is_file is is_file


@pytest.mark.parametrize("name", ["a.pdf", "a.7z", "a.heic", "s3://bucket/a.pdf"])
def test_one_that_ends_like_some_other_file_is_asked_about(tmp_path, name):
    with pytest.raises(ImageWriteError, match="a slash at its end"):
        output_of(name if "://" in name else tmp_path / name)
    (tmp_path / "a.pdf").mkdir()
    assert not output_of(tmp_path / "a.pdf").is_file


def test_several_raw_files_for_one_result_are_told_to_be_put_into_a_folder(tmp_path):
    files = [tmp_path / f"{number}.dng" for number in range(3)]
    for file in files:
        file.touch()
    with pytest.raises(ImageWriteError, match=r"each of the 3 files .* is a burst of its own: .* into a folder"):
        plan_batch(files, tmp_path / "x.png", bursts=True)
