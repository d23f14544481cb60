"""Patterns end, places lead downwards, and no link leads a result out of its folder."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dp_ir.batch.finding import find
from dp_ir.batch.output import output_of
from dp_ir.batch.paths import downwards, expanded, is_circular, real, way_out
from dp_ir.batch.plan import Status, plan_batch

links = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """in/a.png, in/deep/b.png, in/deep/deeper/c.png, in/.hidden/d.png, in/.e.png, all empty; and the way there."""
    for name in ("in/a.png", "in/deep/b.png", "in/deep/deeper/c.png", "in/.hidden/d.png", "in/.e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(paths):
    return [Path(path).as_posix() for path in paths]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in/*.png", ["in/a.png"]),
        ("in/**/*.png", ["in/a.png", "in/deep/b.png", "in/deep/deeper/c.png"]),
        ("**/b.png", ["in/deep/b.png"]),
        ("in/**/deeper/*", ["in/deep/deeper/c.png"]),
        ("in/**/deep*/**/*.png", ["in/deep/b.png", "in/deep/deeper/c.png"]),
        ("in/*/*.png", ["in/deep/b.png"]),
        ("in/.*.png", ["in/.e.png"]),
        ("in/[ab].png", ["in/a.png"]),
        ("nowhere/**/*.png", []),
    ],
)
def test_patterns(tree, pattern, expected):
    assert names(expanded(pattern)) == expected
    assert expanded(str(tree / pattern)) == [tree / name for name in expected]


@links
def test_a_pattern_ends_where_links_lead_in_circles(tree):
    for number in range(12):  # followed, each would double the number of paths, forty links deep
        (tree / "in" / f"loop{number}").symlink_to(tree / "in")
    assert names(expanded("in/**/*.png")) == ["in/a.png", "in/deep/b.png", "in/deep/deeper/c.png"]
    assert len(expanded("in/loop1/*.png")) == 1  # named, a link is followed


@links
def test_links_in_inputs(tree):
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere" / "x.png").touch()
    (tree / "in" / "folder").symlink_to(tree / "elsewhere")
    (tree / "in" / "up").symlink_to(tree / "in")
    (tree / "in" / "file.png").symlink_to(tree / "elsewhere" / "x.png")
    (tree / "in" / "self.png").symlink_to("self.png")
    (tree / "in" / "gone.png").symlink_to("gone")
    findings = find(["in"], output_of(tree / "out"), bursts=False)
    places = sorted(entry.place.as_posix() for entry in findings.found.values())
    assert places == ["a.png", "deep/b.png", "deep/deeper/c.png", "file.png", "gone.png"]  # gone: said when it is read
    ((path, reason),) = findings.missing
    assert path.name == "self.png"
    assert "leads back to itself" in reason
    (named,) = find(["in/folder"], output_of(tree / "out"), bursts=False).found.values()  # named, it is followed
    assert named.place == Path("x.png")


@links
def test_real_and_circular(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to("nowhere")
    assert is_circular(tmp_path / "a")
    assert not is_circular(tmp_path / "c")
    assert not is_circular(tmp_path)
    assert real(tmp_path / "c") == real(tmp_path) / "nowhere"
    assert isinstance(real(tmp_path / "a"), Path)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (PurePosixPath("a/b.png"), "a/b.png"),
        (PurePosixPath("../../etc/b.png"), "etc/b.png"),
        (PurePosixPath("/etc/b.png"), "etc/b.png"),
        (PurePosixPath("a/../../b.png"), "a/b.png"),
        (PureWindowsPath(r"C:\a\..\b.png"), "a/b.png"),
        (PureWindowsPath(r"\\server\share\b.png"), "b.png"),
    ],
)
def test_places_lead_downwards(place, expected):
    assert downwards(place).as_posix() == expected


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=5))
def test_no_place_leads_out(parts):
    place = downwards(PurePosixPath(*(part.replace("\0", "") or "x" for part in parts)))
    target = os.path.normpath(Path("/out") / place)
    assert target == "/out" or target.startswith("/out/")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aux.png", "aux_.png"),
        ("NUL", "NUL_"),
        ("com1.tar.gz", "com1_.tar.gz"),
        ("a:b?.png", "a_b_.png"),
        ("dot.", "dot._"),
        ("space ", "space _"),
        ("auxiliary.png", "auxiliary.png"),
        ("line\nfeed", "line_feed"),
    ],
)
def test_names_that_windows_keeps_for_itself(name, expected):
    assert downwards(PurePosixPath("in", name), windows=True).as_posix() == f"in/{expected}"
    assert downwards(PurePosixPath("in", name), windows=False).as_posix() == f"in/{name}"


@links
def test_a_linked_folder_of_the_output_is_refused(tree):
    (tree / "elsewhere").mkdir()
    (tree / "out").mkdir()
    (tree / "out" / "deep").symlink_to(tree / "elsewhere")
    plan = plan_batch(["in"], tree / "out")
    assert [job.source.name for job in plan.jobs] == ["a.png"]
    assert [outcome.status for outcome in plan.settled] == [Status.FAILED] * 2
    assert all("is a link to" in outcome.reason and "elsewhere" in outcome.reason for outcome in plan.settled)
    (tree / "out" / "deep").unlink()
    (tree / "out" / "other").mkdir()
    (tree / "out" / "deep").symlink_to("other")  # a link that stays inside is the user's own order
    assert len(plan_batch(["in"], tree / "out").jobs) == 3
    (tree / "linked").symlink_to(tree / "out")
    assert len(plan_batch(["in"], tree / "linked").jobs) == 3  # so is a link to the output itself


@links
def test_way_out_looks_at_every_folder_between(tmp_path):
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "b").symlink_to("/")
    assert "is a link to /" in way_out(tmp_path / "out/a/b/c/d.png", tmp_path / "out")
    assert way_out(tmp_path / "out/a/c/d.png", tmp_path / "out") == ""
    assert way_out(tmp_path / "out.png", tmp_path / "out.png") == ""


def test_a_pattern_that_steps_upwards_does_not_place_results_there(tree):
    (tree / "x.png").touch()
    plan = plan_batch(["in/*/../../x.png"], tree / "out")
    assert [job.target for job in plan.jobs] == [tree / "out" / "deep" / "x.png"]


def test_names_that_differ_in_the_spelling_of_an_accent_are_kept_apart(tree):
    for number, name in enumerate(("caf\u00e9.png", "cafe\u0301.png")):  # one letter, or a letter and its accent
        (tree / f"in{number}").mkdir()
        (tree / f"in{number}" / name).touch()
    targets = [job.target for job in plan_batch(["in0", "in1"], tree / "out").jobs]
    assert [target.parent.name for target in targets] == ["in0", "in1"]
