"""The batch job with stand-ins for restoring and writing: what is found, where it goes, what becomes of it."""

import itertools
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dp_ir.batch.plan import FORMATS, Job, Status, plan_batch, run_batch
from dp_ir.errors import ImageReadError, ImageWriteError


def touch(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"pixels of " + path.name.encode())
    return paths


def targets(plan, base: Path) -> dict[str, str]:
    return {job.source.name: job.target.relative_to(base).as_posix() for job in plan.jobs}


def copy_bytes(job: Job) -> list[bytes]:
    return [job.source.read_bytes()] * len(job.targets)


def process_with(restore):
    """What handles a job: its results, as `restore` gives them, are written to its targets."""

    def process(job: Job) -> None:
        for target, content in zip(job.targets, restore(job), strict=True):
            target.write_bytes(content)

    return process


def run(plan):
    return list(run_batch(plan.jobs, process_with(copy_bytes)))


# Where results go ---------------------------------------------------------------------------------------------------


def test_one_input_and_an_image_name_give_that_file(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    plan = plan_batch([photo], tmp_path / "sharp.tif")
    assert [job.target for job in plan.jobs] == [tmp_path / "sharp.tif"]


def test_any_other_output_is_a_folder_of_png_files(tmp_path):
    touch(tmp_path / "in", "a.jpg", "b.TIFF", "c.webp")
    plan = plan_batch([tmp_path / "in"], tmp_path / "out")
    assert targets(plan, tmp_path / "out") == {"a.jpg": "a.png", "b.TIFF": "b.png", "c.webp": "c.png"}


@pytest.mark.parametrize(("format", "suffix"), FORMATS.items())
def test_a_format_decides_the_suffix_in_a_folder(tmp_path, format, suffix):
    (photo,) = touch(tmp_path, "photo.jpg")
    plan = plan_batch([photo], tmp_path / "out", format=format)
    assert [job.target for job in plan.jobs] == [tmp_path / "out" / f"photo{suffix}"]


def test_a_folder_whose_name_ends_like_an_image_stays_a_folder(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    (tmp_path / "results.png").mkdir()
    plan = plan_batch([photo], tmp_path / "results.png")
    assert [job.target for job in plan.jobs] == [tmp_path / "results.png" / "photo.png"]


@pytest.mark.parametrize(
    ("output", "format", "message"),
    [
        ("both.png", None, "one file, but there are 2 inputs"),
        ("notes.txt", None, "is a file but not an image"),
        ("out.heic", None, "cannot be written in that format"),
        ("out", "gif", "'gif' cannot be written"),
    ],
)
def test_an_output_that_does_not_suit_is_refused_before_any_work(tmp_path, output, format, message):
    touch(tmp_path, "notes.txt")
    photos = touch(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(ImageWriteError, match=message):
        plan_batch(photos, tmp_path / output, format=format)


def test_a_name_and_a_format_that_disagree_are_refused(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    with pytest.raises(ImageWriteError, match=r"does not end in \.tif, but the format is tiff"):
        plan_batch([photo], tmp_path / "sharp.png", format="tiff")
    assert plan_batch([photo], tmp_path / "sharp.TIFF", format="tiff").jobs[0].target.name == "sharp.TIFF"


def test_inputs_that_share_a_stem_keep_their_own_suffix(tmp_path):
    photos = touch(tmp_path, "a.jpg", "a.png", "b.jpg")
    plan = plan_batch(photos, tmp_path / "out")
    assert targets(plan, tmp_path / "out") == {"a.jpg": "a.jpg.png", "a.png": "a.png.png", "b.jpg": "b.png"}


def test_a_name_made_longer_does_not_collide_with_a_third_input(tmp_path):
    photos = touch(tmp_path, "a.jpg", "a.png", "a.jpg.tif")
    names = [job.target.name for job in plan_batch(photos, tmp_path / "out").jobs]
    assert len(set(names)) == 3


def test_inputs_of_one_name_from_two_folders_are_told_apart_by_their_folders(tmp_path):
    photos = touch(tmp_path, "x/a.jpg", "y/a.jpg")
    plan = plan_batch(photos, tmp_path / "out")
    assert [job.target.relative_to(tmp_path / "out").as_posix() for job in plan.jobs] == ["x/a.png", "y/a.png"]


def test_upper_and_lower_case_count_as_the_same_name(tmp_path):
    photos = touch(tmp_path, "A.jpg", "a.png")
    names = [str(job.target).casefold() for job in plan_batch(photos, tmp_path / "out").jobs]
    assert len(set(names)) == 2


NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "x/", "y/", "x/y/"]),
    st.sampled_from(["a", "b", "a.jpg", "A", "a-1", "a-mean"]),
    st.sampled_from([".jpg", ".png", ".tif"]),
)


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(NAMES, min_size=1, max_size=8, unique_by=str.casefold),
    samples=st.integers(1, 3),
    mixed=st.booleans(),
    seed=st.integers(0, 9),
)
def test_no_two_inputs_ever_share_a_result_and_the_order_does_not_matter(tmp_path_factory, names, samples, mixed, seed):
    base = tmp_path_factory.mktemp("names")
    files = touch(base / "in", *names)
    inputs: list[Path] = [base / "in", *files] if mixed else list(files)
    jobs = plan_batch(inputs, base / "out", samples=samples).jobs
    assert {job.source for job in jobs} == set(files)
    written = [str(path).casefold() for job in jobs for path in job.targets]
    assert len(written) == len(set(written))
    if not mixed:
        shuffled = random.Random(seed).sample(inputs, len(inputs))
        again = plan_batch(shuffled, base / "out", samples=samples).jobs
        assert {job.source: job.target for job in again} == {job.source: job.target for job in jobs}


def test_samples_their_mean_and_their_deviation_have_files_of_their_own(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    (job,) = plan_batch([photo], tmp_path / "sharp.jpg", samples=2).jobs
    assert [path.name for path in job.targets] == ["sharp-1.jpg", "sharp-2.jpg", "sharp-mean.jpg", "sharp-std.png"]


# What is found ------------------------------------------------------------------------------------------------------


def test_folders_are_searched_and_keep_their_structure(tmp_path):
    touch(tmp_path / "in", "a.jpg", "day 1/a.jpg", "day 1/raw/b.PNG", "notes.txt", ".hidden.png", ".thumbs/c.png")
    plan = plan_batch([tmp_path / "in"], tmp_path / "out")
    found = sorted(job.target.relative_to(tmp_path / "out").as_posix() for job in plan.jobs)
    assert found == ["a.png", "day 1/a.png", "day 1/raw/b.png"]


def test_patterns_are_expanded_below_their_fixed_part(tmp_path):
    touch(tmp_path / "in", "a.jpg", "x/b.jpg", "x/c.png", "x/y/d.jpg")
    flat = plan_batch([tmp_path / "in" / "*.jpg"], tmp_path / "out")
    assert targets(flat, tmp_path / "out") == {"a.jpg": "a.png"}
    deep = plan_batch([f"{tmp_path}/in/**/*.jpg"], tmp_path / "out")
    assert targets(deep, tmp_path / "out") == {"a.jpg": "a.png", "b.jpg": "x/b.png", "d.jpg": "x/y/d.png"}
    folders = plan_batch([f"{tmp_path}/in/*"], tmp_path / "out")
    assert set(targets(folders, tmp_path / "out").values()) == {"a.png", "x/b.png", "x/c.png", "x/y/d.png"}


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (photo,) = touch(tmp_path, "photo [1].jpg")
    touch(tmp_path, "photo 1.jpg")
    assert [job.source for job in plan_batch([photo], tmp_path / "out").jobs] == [photo]


def test_a_file_named_twice_is_restored_once(tmp_path):
    (photo,) = touch(tmp_path / "in", "photo.jpg")
    assert len(plan_batch([photo, tmp_path / "in", tmp_path / "in" / "*.jpg"], tmp_path / "out").jobs) == 1


def test_results_inside_the_input_folder_are_not_taken_for_inputs(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    first = plan_batch([tmp_path], tmp_path / "out")
    assert [outcome.status for outcome in run(first)] == [Status.RESTORED] * 2
    second = plan_batch([tmp_path], tmp_path / "out")
    assert not second.jobs
    assert [outcome.source.name for outcome in second.settled] == ["a.jpg", "b.jpg"]


def test_what_leads_to_no_file_fails_and_the_rest_goes_on(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    (tmp_path / "empty").mkdir()
    plan = plan_batch([tmp_path / "gone.jpg", tmp_path / "empty", f"{tmp_path}/*.bmp", photo], tmp_path / "out")
    assert [job.source for job in plan.jobs] == [photo]
    reasons = [outcome.reason for outcome in plan.settled]
    assert [outcome.status for outcome in plan.settled] == [Status.FAILED] * 3
    for reason, words in zip(reasons, ("There is no file", "holds no image", "No file matches"), strict=True):
        assert words in reason


def test_no_input_at_all_is_refused(tmp_path):
    with pytest.raises(ImageReadError, match="No input was named"):
        plan_batch([], tmp_path)


# What is protected --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_is_never_overwritten(tmp_path, overwrite):
    photos = touch(tmp_path, "a.png", "b.jpg")
    plan = plan_batch(photos, tmp_path, overwrite=overwrite)
    assert [job.source.name for job in plan.jobs] == ["b.jpg"]
    (failed,) = plan.settled
    assert failed.status is Status.FAILED
    assert "would overwrite the input" in failed.reason


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_input_of_another_job_is_not_overwritten_either(tmp_path, overwrite):
    photos = touch(tmp_path, "a.jpg", "out/a.png")
    plan = plan_batch([photos[0], photos[1]], tmp_path / "out", overwrite=overwrite)
    assert not {path.resolve() for job in plan.jobs for path in job.targets} & {path.resolve() for path in photos}


def test_a_link_to_an_input_is_not_written_to(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    (tmp_path / "link.jpg").symlink_to(photo)
    plan = plan_batch([photo], tmp_path / "link.jpg", overwrite=True)
    assert not plan.jobs
    assert "would overwrite the input" in plan.settled[0].reason


def test_a_sample_does_not_overwrite_an_input(tmp_path):
    photos = touch(tmp_path, "a.jpg", "a-1.png")
    plan = plan_batch(photos, tmp_path, samples=2, overwrite=True)
    assert [outcome.source.name for outcome in plan.settled] == ["a.jpg"]


def test_the_input_folder_is_refused_as_output(tmp_path):
    touch(tmp_path, "a.jpg")
    with pytest.raises(ImageWriteError, match="also the input folder"):
        plan_batch([tmp_path], tmp_path)


def test_done_is_skipped_unless_overwriting_is_asked_for(tmp_path):
    photos = touch(tmp_path / "in", "a.jpg", "b.jpg")
    touch(tmp_path / "out", "a.png")
    plan = plan_batch(photos, tmp_path / "out")
    assert [job.source.name for job in plan.jobs] == ["b.jpg"]
    (skipped,) = plan.settled
    assert (skipped.status, skipped.targets) == (Status.SKIPPED, (tmp_path / "out" / "a.png",))
    assert len(plan_batch(photos, tmp_path / "out", overwrite=True).jobs) == 2


def test_samples_are_done_when_all_of_them_are(tmp_path):
    (photo,) = touch(tmp_path / "in", "a.jpg")
    touch(tmp_path / "out", "a-1.png", "a-2.png", "a-mean.png")
    assert len(plan_batch([photo], tmp_path / "out", samples=2).jobs) == 1
    touch(tmp_path / "out", "a-std.png")
    assert not plan_batch([photo], tmp_path / "out", samples=2).jobs


# What becomes of it -------------------------------------------------------------------------------------------------


def test_results_are_written_where_the_plan_says(tmp_path):
    touch(tmp_path / "in", "a.jpg", "x/b.jpg")
    plan = plan_batch([tmp_path / "in"], tmp_path / "out")
    outcomes = run(plan)
    assert all(outcome.status is Status.RESTORED and outcome.seconds >= 0 for outcome in outcomes)
    assert (tmp_path / "out" / "x" / "b.png").read_bytes() == b"pixels of b.jpg"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImageReadError("It is not an image."), "b.jpg: It is not an image."),
        (ImageReadError("'b.jpg' is not an image."), "'b.jpg' is not an image."),
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 81 GiB"), "not enough memory"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (KeyError("surprise"), "unexpected KeyError"),
    ],
)
def test_a_failing_file_gives_one_sentence_and_the_others_go_on(tmp_path, error, words):
    touch(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")

    def restore(job: Job) -> list[bytes]:
        if job.source.name == "b.jpg":
            raise error
        return copy_bytes(job)

    plan = plan_batch([tmp_path / "in"], tmp_path / "out")
    outcomes = list(run_batch(plan.jobs, process_with(restore)))
    assert [outcome.status.value for outcome in outcomes] == ["restored", "failed", "restored"]
    assert words in outcomes[1].reason
    assert "b.jpg" in outcomes[1].reason
    assert "\n" not in outcomes[1].reason
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_an_output_folder_that_cannot_be_made_fails_before_the_work(tmp_path):
    (photo,) = touch(tmp_path, "photo.jpg")
    touch(tmp_path, "blocked")
    worked = []
    jobs = [Job(photo, tmp_path / "blocked" / "photo.png")]
    (outcome,) = run_batch(jobs, worked.append)
    assert outcome.status is Status.FAILED
    assert "cannot be made" in outcome.reason
    assert not worked


def test_an_output_folder_without_rights_fails_before_the_work(tmp_path, monkeypatch):
    (photo,) = touch(tmp_path, "photo.jpg")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # what a superuser's own folders never show
    (outcome,) = run_batch([Job(photo, tmp_path / "out" / "photo.png")], process_with(copy_bytes))
    assert "cannot be written to" in outcome.reason
    assert not list((tmp_path / "out").iterdir())


def test_outcomes_come_one_by_one_and_an_interruption_is_not_swallowed(tmp_path):
    touch(tmp_path / "in", "a.jpg", "b.jpg")

    def restore(job: Job) -> list[bytes]:
        if job.source.name == "b.jpg":
            raise KeyboardInterrupt
        return copy_bytes(job)

    plan = plan_batch([tmp_path / "in"], tmp_path / "out")
    outcomes = run_batch(plan.jobs, process_with(restore))
    assert [outcome.source.name for outcome in itertools.islice(outcomes, 1)] == ["a.jpg"]
    with pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert [job.source.name for job in plan_batch([tmp_path / "in"], tmp_path / "out").jobs] == ["b.jpg"]
