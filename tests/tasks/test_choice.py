"""Which bundle restores a photo when none is named, what is said of it, and how long it will take."""

import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dp_ir import Restoration
from dp_ir.batch import duration as durations
from dp_ir.batch import restoring as files
from dp_ir.batch.duration import LongJobNote, duration, expected_seconds
from dp_ir.batch.jobs import Job, LocalJob
from dp_ir.batch.provenance import differences, joint_provenance
from dp_ir.batch.worker import Worker
from dp_ir.checkpoints.contract import NetworkInfo
from dp_ir.errors import ImageReadError, ImageWriteError
from dp_ir.image import read_image
from dp_ir.image.picture.crop import crop_picture
from dp_ir.image.picture.output_size import OutputSize
from dp_ir.image.picture.photo_facts import PhotoFacts, photo_facts
from dp_ir.tasks.choice import CHOICES, AdviceNote, ChoiceNote, advice, chosen_bundle, suited_bundle, told_findings


def enlarging(scale):
    return Restoration.restorer_only(
        lambda y: torch.nn.functional.interpolate(y, scale_factor=scale), device="cpu", precision="float32"
    )


class Loads:
    """Restorations of two scales by the bundles' names; remembers what was asked for."""

    def __init__(self):
        self.names = []

    def __call__(self, name):
        self.names.append(name)
        return enlarging({"photo": 4, "clean": 1}[name])


@pytest.fixture
def photo(tmp_path):
    def make(name, width, height):
        path = tmp_path / name
        Image.new("RGB", (width, height), (90, 120, 30)).save(path)
        return path

    return make


@given(width=st.integers(1, 20_000), height=st.integers(1, 20_000))
def test_two_megapixels_divide_small_from_large(width, height):
    assert suited_bundle(width, height) == ("photo" if width * height <= 2e6 else "clean")
    assert suited_bundle(height, width) == suited_bundle(width, height)


def test_a_worker_restores_each_photo_with_what_suits_it_and_loads_it_once(photo, tmp_path):
    load = Loads()
    worker = Worker(load, chosen_bundle, {})
    worker.prepare()
    assert load.names == []  # nothing is known of the photos yet
    sizes = {"small.png": (40, 30), "large.png": (1600, 1300), "other.png": (20, 20)}
    said = {}
    (tmp_path / "out").mkdir()
    for name, size in sizes.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            worker(Job(photo(name, *size), tmp_path / "out" / f"{name}.png"))
        said[name] = [str(note.message) for note in caught if issubclass(note.category, ChoiceNote)]
    result = {name: Image.open(tmp_path / "out" / f"{name}.png").size for name in sizes}
    assert result == {"small.png": (160, 120), "large.png": (1600, 1300), "other.png": (80, 80)}
    assert load.names == ["photo", "clean"]
    assert said["small.png"] == [CHOICES["photo"]]
    assert said["large.png"] == [CHOICES["clean"]]
    assert "--task clean" in CHOICES["photo"]
    assert "--task photo" in CHOICES["clean"]


def test_a_named_bundle_and_the_size_of_a_crop_decide(photo, tmp_path):
    load = Loads()
    large = photo("large.png", 2000, 1100)
    with pytest.warns(ChoiceNote):
        Worker(load, chosen_bundle, {"crop": (10, 20, 30, 40)})(Job(large, tmp_path / "crop.png"))
    assert Image.open(tmp_path / "crop.png").size == (120, 160)
    named = Worker(load, "clean", {})
    named.prepare()
    named(Job(photo("small.png", 16, 8), tmp_path / "same.png"))
    assert Image.open(tmp_path / "same.png").size == (16, 8)
    assert load.names == ["photo", "clean"]


@pytest.mark.filterwarnings("ignore::dp_ir.tasks.choice.ChoiceNote")
@pytest.mark.parametrize("crop", [None, (100, 60, 1500, 1400)])
def test_what_is_recorded_of_a_photo_are_the_facts_of_what_is_restored(crop, tmp_path):
    pixels = np.random.default_rng(0).integers(96, 160, (1480, 1720, 3), dtype=np.uint8)
    sizes = {"large.png": (1480, 1720), "small.png": (90, 130)}  # one is read part by part, the other at once
    for name, (height, width) in sizes.items():
        Image.fromarray(pixels[:height, :width]).save(tmp_path / name)
    look = Worker(Loads(), chosen_bundle, {} if crop is None else {"crop": crop}, told_findings)
    for name in sizes if crop is None else ["large.png"]:
        found = look(Job(tmp_path / name, tmp_path / f"out-{name}"))
        image = read_image(tmp_path / name)
        if crop is not None:
            image = crop_picture(image, crop)
        expected = vars(photo_facts(image))
        assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)
        assert (found["task"], found["advice"]) == ("photo" if name == "small.png" else "clean", "")
        assert found["noise"] > 0.02


def test_nothing_is_measured_where_a_bundle_is_named(photo, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "photo_facts", lambda _: pytest.fail("measured"))
    assert Worker(Loads(), "photo", {})(Job(photo("a.png", 20, 10), tmp_path / "b.png")) == {}


def restoring(scale):
    """As `enlarging`, with a record of the scale, as shipped restorers have."""
    infos = {"restorer": NetworkInfo(scale=scale)}
    return Restoration.restorer_only(
        lambda y: torch.nn.functional.interpolate(y, scale_factor=scale), device="cpu", precision="float32", infos=infos
    )


@pytest.mark.filterwarnings("ignore::dp_ir.tasks.choice.ChoiceNote")
def test_a_size_is_limited_by_the_bundle_that_suits_each_photo(photo, tmp_path):
    loaded = []

    def load(name):
        loaded.append(name)
        return restoring({"photo": 4, "clean": 1}[name])

    worker = Worker(load, chosen_bundle, {"size": OutputSize(scale=2)})
    small, large = photo("small.png", 40, 30), photo("large.png", 1600, 1300)
    worker(Job(small, tmp_path / "small-2.png"))
    for _ in range(2):
        with pytest.raises(ImageWriteError, match="at most 1; for more choose a task that enlarges"):
            worker(Job(large, tmp_path / "large-2.png"))
    Worker(load, chosen_bundle, {"size": OutputSize(long_edge=400)})(Job(large, tmp_path / "less.png"))
    with pytest.raises(ImageWriteError, match=r"at most the 1600x1300 .*choose a task that enlarges"):
        Worker(load, chosen_bundle, {"size": OutputSize(width=1601)})(Job(large, tmp_path / "more.png"))
    assert Image.open(tmp_path / "small-2.png").size == (80, 60)
    assert Image.open(tmp_path / "less.png").size == (400, 325)
    assert not list(tmp_path.glob("large-2*")) + list(tmp_path.glob("more*"))
    assert loaded == ["photo", "clean", "clean", "clean"]  # once by each worker


def test_what_is_no_image_is_refused_before_a_network_is_loaded(tmp_path):
    load = Loads()
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ImageReadError, match=r"text\.png"):
        Worker(load, chosen_bundle, {})(Job(tmp_path / "text.png", tmp_path / "out.png"))
    assert load.names == []


def test_how_results_of_either_bundle_are_made_is_one_record():
    photo = {"restorer": "a", "denoiser": "d", "seed": 3, "tau": 500}
    clean = {"restorer": "b", "denoiser": "d", "seed": 3, "tau": 400}
    joint = joint_provenance({"photo": photo, "clean": clean})
    assert joint == {
        "restorer": {"photo": "a", "clean": "b"},
        "denoiser": "d",
        "seed": 3,
        "tau": {"photo": 500, "clean": 400},
    }
    assert joint_provenance({"photo": photo}) == photo
    assert differences(joint, joint) == []
    assert differences(joint, photo) == ["another restorer", "another tau"]


FACTS = PhotoFacts(width=800, height=600, noise=0.5 / 255, blockiness=0.05 / 255, fineness=0.5)


@pytest.mark.parametrize(
    ("changes", "task"),
    [
        ({}, "--task sr4"),
        ({"fineness": 0.26}, "--task deblur"),
        ({"noise": 4 / 255}, ""),
        ({"blockiness": 1 / 255}, ""),
        ({"width": 4000, "height": 3000}, ""),
        ({"fineness": 0.0, "noise": 0.0}, ""),  # too small to tell, or without any detail
    ],
)
def test_the_state_of_a_photo_speaks_for_another_task_or_for_none(changes, task):
    sentence = advice(PhotoFacts(**{**vars(FACTS), **changes}))
    assert re.findall(r"--task \w+", sentence) == ([task] if task else [])


def test_the_advice_is_said_with_the_name_of_the_photo():
    soft = PhotoFacts(**{**vars(FACTS), "fineness": 0.26})
    with pytest.warns(AdviceNote, match=r"^a\.jpg: It is soft.*--task deblur"):
        found = told_findings("a.jpg", soft)
    assert found == {**vars(soft), "task": "photo", "advice": advice(soft)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert told_findings("a.jpg", PhotoFacts(**{**vars(FACTS), "noise": 0.02}))["advice"] == ""


def test_a_long_job_says_its_size_and_time_before_it_begins(photo, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(files, "LONG", 2_999)
    monkeypatch.setattr(files, "expected_seconds", lambda *_, **settings: order.append(settings) or 200.0)
    path = photo("photo.png", 60, 50)
    with pytest.warns(LongJobNote, match=r"photo\.png gives 60x50 pixels, which will take about 3\.3 minutes"):
        files.restore_file(enlarging(1), LocalJob(path, tmp_path / "out.png", 1), seed=3)
    assert order == [{"num_samples": 1, "memory": None, "seed": 3}]
    with warnings.catch_warnings():
        warnings.simplefilter("error", LongJobNote)
        files.restore_file(enlarging(1), LocalJob(photo("less.png", 59, 50), tmp_path / "same.png", 1))


def test_the_time_is_that_of_a_piece_by_its_share(monkeypatch):
    ticks = iter([10.0, 13.0])
    monkeypatch.setattr(durations.time, "perf_counter", lambda: next(ticks))
    sizes = []
    restoration = Restoration.restorer_only(
        lambda y: sizes.append(y.shape[-1]) or torch.nn.functional.interpolate(y, scale_factor=2), device="cpu"
    )
    # The piece of 512 pixels becomes 1024, since nothing tells the scale of a function; 3 s for its square.
    assert expected_seconds(restoration, 4 * 1024 * 1024) == 12.0
    assert set(sizes) == {512}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 seconds"), (25.4, "25 seconds"), (89, "89 seconds"), (200, "3.3 minutes"), (8000, "2.2 hours")],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
