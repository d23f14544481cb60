"""A comparison as files: read again as it was, escaped everywhere, and pages that refer to what is there."""

import csv
import dataclasses
import io
import json
import math
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dp_ir.errors import DataError, MissingExtraError
from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.report import output_files, page
from dp_ir.evaluation.report.crops import Place, find_places
from dp_ir.evaluation.report.output_files import (
    from_json,
    latex_escape,
    to_csv,
    to_json,
    to_latex,
    to_report,
    write_all,
)
from dp_ir.evaluation.runner.results import MethodInfo, RankHistogram, Record, Results, SetRecord
from dp_ir.evaluation.runner.stored_paths import OBSERVATION, TARGET, safe_name, stored_image

NASTY = "a <b>\"&'</script> 100% of_$x$ #1 {\\z} ~^|"
IMAGES = ("scene 1/0001", "scene 1/0002", "ü#?%3")

text = st.text(max_size=8)
shares = st.floats(0, 1)
numbers = st.floats(allow_nan=False)
counts = st.none() | st.integers(0, 10**12)
results_strategy = st.builds(
    Results,
    command=text,
    methods=st.lists(
        st.builds(
            MethodInfo, text, text, counts, counts, st.none() | numbers, st.none() | numbers,
            st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9)),
        ),
        max_size=2,
    ).map(tuple),
    datasets=st.lists(text, max_size=2).map(tuple),
    metrics=st.lists(
        st.builds(
            MetricInfo, text, text, st.none() | st.booleans(), st.integers(0, 6), st.booleans(), shares,
        ),
        max_size=2,
    ).map(tuple),
    records=st.lists(
        st.builds(
            Record, text, text, text, st.dictionaries(text, numbers, max_size=2),
            st.dictionaries(text, st.integers(0, 99), max_size=2), st.none() | numbers.filter(math.isfinite), counts,
            st.none() | text,
        ),
        max_size=3,
    ).map(tuple),
    sets=st.lists(st.builds(
            SetRecord, text, text, st.dictionaries(text, numbers, max_size=2),
            st.dictionaries(text, st.builds(RankHistogram, st.lists(shares).map(tuple), shares), max_size=2),
        ),
        max_size=2,
    ).map(tuple),
    notes=st.lists(text, max_size=2).map(tuple),
    machine=st.dictionaries(text, text, max_size=2),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(results_strategy)
def test_json_gives_back_what_was_written(results):
    assert from_json(to_json(results)) == results


def test_results_of_earlier_versions_are_read():
    results = dataclasses.replace(example(), sets=[SetRecord("restorer", "Set <5>", {"SWD": 2.0})])
    content = json.loads(to_json(results))
    for metric in content["metrics"]:
        del metric["ideal"]
    for entry in content["sets"]:
        del entry["ranks"]
    assert to_json(from_json(json.dumps(content))) == to_json(results)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ("[1]", "does not say"),
        ('{"format": "dp-ir results", "version": 99}', "version 1"),
        ('{"format": "dp-ir results", "version": 1}', "incomplete"),
    ],
)
def test_other_json_is_refused(content, message):
    with pytest.raises(DataError, match=message):
        from_json(content)


def example(out=None) -> Results:
    """Three methods on three images; the second fails on one, and differs from the first in one corner only."""
    random = np.random.default_rng(0)
    records = []
    for number, image in enumerate(IMAGES):
        clean = random.integers(0, 256, (160, 240, 3), dtype=np.uint8)
        corner = clean.copy()
        corner[100:150, 180:230] //= 2
        made = {TARGET: clean, OBSERVATION: clean[::4, ::4], "restorer": clean, NASTY: corner, "third": clean}
        for method, pixels in made.items() if out else ():
            path = stored_image(out, method, "Set <5>", image)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
        for method in ("restorer", NASTY, "third"):
            values = {"PSNR-Y": 28.0 + number, "LPIPS": 0.5}
            records.append(Record(method, "Set <5>", image, values, {"restorer": 1}, 0.25, 1 << 20))
    records[4] = Record(NASTY, "Set <5>", IMAGES[1], error="out of <memory> & time")
    metrics = [MetricInfo("PSNR-Y", "PSNR-Y in <dB>", True, 2), MetricInfo("LPIPS", "LPIPS: a | b", False, 3)]
    methods = [MethodInfo(name) for name in ("restorer", NASTY, "third")]
    return Results(f"dp-ir evaluate '{NASTY}'", methods, ["Set <5>"], metrics, records, machine={"torch": "<2>"})


def test_csv_has_a_row_per_method_and_image():
    rows = list(csv.DictReader(io.StringIO(to_csv(example()))))
    assert len(rows) == 9
    first, failed = rows[0], rows[4]
    assert (first["dataset"], first["image"], first["method"]) == ("Set <5>", IMAGES[0], "restorer")
    assert float(first["PSNR-Y"]) == 28.0
    assert (first["calls of restorer"], first["seconds"], first["peak_memory_bytes"]) == ("1", "0.25", str(1 << 20))
    assert failed["method"] == NASTY
    assert failed["PSNR-Y"] == ""
    assert failed["error"] == "out of <memory> & time"


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab \\&%$#_{}~^<>|\"[]'", max_size=20))
def test_latex_escapes_leave_nothing_that_acts(given_text):
    escaped = latex_escape(given_text)
    known = r"\\textbackslash\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}|\\text(?:less|greater|bar)\{\}|\{[\[\]]\}"
    rest = re.sub(known + r"|\\[&%$#_{}]", "", escaped)
    assert not set(rest) & set("\\&%$#_{}~^<>|[]")


def test_latex_tables_balance_and_mark_the_best():
    made = to_latex(to_report(example()))
    lines = made.splitlines()
    assert (
        sum(line.startswith(r"\begin{table}") for line in lines) == sum(r"\end{table}" in line for line in lines) == 2
    )
    body = [line for line in lines if line.endswith(r" \\")]
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(re.findall(r"(?<!\\)&", body[0])) for line in body[:4])
    for rule in ("toprule", "midrule", "bottomrule"):
        assert made.count(f"\\{rule}") == 2
    records = [Record(m, "d", "i", {"A": v}) for m, v in (("x", 1.0), ("y", 3.0), ("z", 2.0))]
    results = Results("c", [MethodInfo(m) for m in "xyz"], ["d"], [MetricInfo("A", "p", True, 1)], records)
    assert r"y & \textbf{3.0} \\" in to_latex(to_report(results))
    assert r"z & \underline{2.0} \\" in to_latex(to_report(results))
    assert "| y | **3.0** |" in to_report(results).to_markdown()


class Reader(HTMLParser):
    """Checks that tags nest, and collects what is referred to."""

    def __init__(self):
        super().__init__()
        self.open, self.references, self.text, self.script = [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.references += [value for key, value in attributes if key in ("src", "href", "srcset", "data")]
        assert not any(key.startswith("on") for key, _ in attributes)
        if tag not in ("meta", "img", "input", "br", "link"):
            self.open.append(tag)
        assert tag not in ("link", "iframe", "b")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.script += data
        self.text.append(data)


def read(path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def test_everything_is_written_and_the_page_refers_only_to_what_is_there(tmp_path):
    written = write_all(example(tmp_path), to_report(example(tmp_path)), tmp_path)
    expected = ["results.json", "results.csv", "results.md", "results.tex", f"plane-{safe_name('Set <5>')}.svg"]
    assert [path.name for path in written] == [*expected, "index.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(p.name for p in written), "images"])
    assert from_json((tmp_path / "results.json").read_text(encoding="utf-8")).command == example().command
    reader = read(tmp_path / "index.html")
    files = [url for url in reader.references if url and not url.startswith("data:")]
    assert len(files) == 5 * 3 - 1 + 1  # every image but that of the failure, and the plot
    assert all((tmp_path / unquote(url)).is_file() and "://" not in url for url in files)
    shown = " ".join(reader.text)
    for part in (NASTY, "Set <5>", "out of <memory> & time", "PSNR-Y in <dB>", *IMAGES):
        assert part in shown
    data = json.loads(re.search(r"\[\{.*\}\]", reader.script).group())
    assert [name for name, _ in data[0]["images"][0]["files"]] == [
        "the target", "the observation", "restorer", NASTY, "third",
    ]  # fmt: skip
    assert all((tmp_path / unquote(url)).is_file() for image in data[0]["images"] for _, url in image["files"])
    assert "http://" not in reader.script
    assert "https://" not in reader.script


def test_crops_lie_where_methods_differ(tmp_path):
    (view,) = page.views(example(tmp_path), tmp_path)
    left, top = map(int, view.images[0].strips[0].where.split(", "))
    assert left <= 180
    assert left + 96 >= 230
    assert top <= 100 <= 150 <= top + 96
    assert [tile.method for tile in view.images[0].strips[0].tiles][2:] == ["restorer", NASTY, "third"]
    assert view.images[1].strips[0].tiles[3].reason == "out of <memory> & time"
    assert view.images[0].strips[0].tiles[2].numbers == "PSNR-Y 28.00 · LPIPS 0.500"


def test_places_do_not_overlap_and_lie_inside():
    blank = np.zeros((300, 420, 3), dtype=np.uint8)
    noisy = np.random.default_rng(0).integers(0, 256, blank.shape, dtype=np.uint8)
    places = find_places([noisy], blank, count=3)
    assert len(places) == 3
    covered = np.zeros(blank.shape[:2], dtype=int)
    for place in places:
        covered[place.top : place.top + place.size, place.left : place.left + place.size] += 1
    assert covered.max() == 1
    assert covered.sum() == 3 * 96**2
    assert find_places([blank], blank) == find_places([], blank) == [Place(96, 160, 96)]  # nothing differs: the middle
    assert find_places([noisy[:50, :40]], blank[:50, :40], count=3)[0].size == 40


def test_a_page_without_images_and_with_damaged_ones(tmp_path):
    write_all(example(), to_report(example()), tmp_path)
    assert "Set <5>" in " ".join(read(tmp_path / "index.html").text)
    results = example(tmp_path)
    stored_image(tmp_path, "restorer", "Set <5>", IMAGES[0]).write_bytes(b"damaged")
    (view,) = page.views(results, tmp_path)
    assert view.images[0].strips[0].tiles[2].reason == "no image"
    assert view.images[0].strips[0].tiles[3].source


def test_a_large_comparison_stays_a_small_page(tmp_path, monkeypatch):
    results = example(tmp_path)
    monkeypatch.setattr(page, "_MOST_CROPS", 10)  # two images of five crops each
    (view,) = page.views(results, tmp_path)
    assert [len(image.strips) for image in view.images] == [1, 1, 0]
    assert all(image.files for image in view.images)


def test_what_was_measured_is_written_before_a_package_is_missed(tmp_path, monkeypatch):
    def missing(*_, **__):
        raise MissingExtraError("A page of results", "jinja2", "eval")

    monkeypatch.setattr(output_files, "results_page", missing)
    with pytest.raises(MissingExtraError):
        write_all(example(), to_report(example()), tmp_path)
    assert {"results.json", "results.csv", "results.md", "results.tex"} <= {path.name for path in tmp_path.iterdir()}


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_all(example(), to_report(example()), tmp_path / "file" / "out")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=80), min_size=2, max_size=2, unique=True))
def test_safe_names_are_safe_and_differ(names):
    safe = [safe_name(name) for name in names]
    assert safe[0] != safe[1]
    for name in safe:
        assert name not in ("", ".", "..", TARGET, OBSERVATION)
        assert not set(name) & set('/\\:*?"<>|\n\0')
        assert len(f"{name}.png".encode()) <= 255
        assert name[-1] not in ". "
