"""Tables of a comparison: equal images for all, who is best, what failed, and what is said about it."""

import dataclasses
import math

import numpy as np
import pytest

from dp_ir.errors import DataError
from dp_ir.evaluation.metrics.metric import MetricInfo
from dp_ir.evaluation.report.summary import summarise
from dp_ir.evaluation.report.summary_tables import protocols, tables
from dp_ir.evaluation.runner.results import MethodInfo, Record, Results, SetRecord

PSNR = MetricInfo("PSNR-Y", "PSNR-Y: how", True, 2)
LPIPS = MetricInfo("LPIPS", "LPIPS: how", False, 3)
SWD = MetricInfo("SWD", "SWD: how", False, 1, of_sets=True)
IMAGES = [f"image{index}" for index in range(8)]


def record(method, image, psnr, lpips, **further):
    return Record(method, "Set14", image, {"PSNR-Y": psnr, "LPIPS": lpips}, **further)


def example() -> Results:
    noise = np.random.default_rng(0).normal(0.0, 0.01, len(IMAGES))
    records = []
    for index, image in enumerate(IMAGES):
        records.append(record("restorer", image, 28.0 + index, 0.30, calls={"restorer": 1}, seconds=0.5))
        calls = {"restorer": 1, "denoiser": 4, "fusion": 4}
        records.append(
            record("dp-ir", image, 27.5 + index, 0.2 + noise[index], calls=calls, seconds=2.0, peak_memory=3 << 20)
        )
        records.append(record("other", image, 26.0, 0.30 + noise[index]))
    return Results(
        command="dp-ir evaluate",
        methods=[
            MethodInfo("restorer", parameters=1_500_000, trained=0, flops_base=4e11, flops_size=(720, 1280)),
            MethodInfo("dp-ir", "sr4", 3_900_000, 720_000, 4e11, 5e10, (720, 1280)),
            MethodInfo("other"),
        ],
        datasets=["Set14"],
        metrics=[PSNR, LPIPS, SWD],
        records=records,
        sets=[SetRecord("restorer", "Set14", {"SWD": 5.0}), SetRecord("dp-ir", "Set14", {"SWD": 1.25})],
        notes=["A note."],
    )


def cell(table, method, column):
    row = next(row for row in table.rows if row[0] == method)
    return row[list(table.columns).index(column)]


def with_error(results, method, image, error="it broke"):
    broken = [
        Record(method, "Set14", image, error=error) if (r.method, r.image) == (method, image) else r
        for r in results.records
    ]
    return dataclasses.replace(results, records=broken)


def test_one_table_of_quality_and_one_of_cost():
    quality, cost = tables(example())
    assert quality.title == "Set14, 8 images"
    assert quality.columns == ["method", "calls", "PSNR-Y ↑", "LPIPS ↓", "SWD ↓", "p (LPIPS)"]
    assert cell(quality, "dp-ir", "calls") == "9"
    assert cell(quality, "restorer", "PSNR-Y ↑").startswith("31.50 ± ")
    assert cell(quality, "dp-ir", "SWD ↓") == "1.2"
    assert cell(quality, "other", "SWD ↓") is None
    assert cell(quality, "restorer", "p (LPIPS)") == "reference"
    assert cell(quality, "dp-ir", "p (LPIPS)") == f"{2 * 2 / 2**8:.3f}"  # all 8 signs alike, twice for two methods
    assert float(cell(quality, "other", "p (LPIPS)")) > 0.05
    assert cell(cost, "dp-ir", "calls") == "1 restorer + 4 denoiser + 4 fusion"
    assert cell(cost, "dp-ir", "parameters: trained / all") == "0.72 M / 3.9 M"
    assert cell(cost, "restorer", "GFLOPs at 1280x720") == "400"
    assert cell(cost, "dp-ir", "GFLOPs at 1280x720") == "400 + 50 x 4 = 600"
    assert cell(cost, "dp-ir", "s / image") == "2.00"
    assert cell(cost, "dp-ir", "peak / MiB") == "3"
    assert cell(cost, "other", "calls") is None


def test_best_and_second_follow_the_direction_and_what_is_printed():
    quality, _ = tables(example())
    psnr, lpips, swd = (list(quality.columns).index(name) for name in ("PSNR-Y ↑", "LPIPS ↓", "SWD ↓"))
    assert [quality.ranks.get((row, psnr)) for row in range(3)] == [1, 2, None]
    assert [quality.ranks.get((row, swd)) for row in range(3)] == [2, 1, None]
    assert quality.ranks[1, lpips] == 1
    values = {"restorer": 28.0, "dp-ir": 28.001, "other": 27.0}
    close = [record(method, image, value, 0.3) for method, value in values.items() for image in "ab"]
    quality = tables(dataclasses.replace(example(), records=close, sets=[]))[0]
    assert quality.columns == ["method", "PSNR-Y ↑", "LPIPS ↓"]
    assert quality.ranks == {(0, 1): 1, (1, 1): 1, (2, 1): 2}  # printed alike; where all are equal, none is better


def with_bands(values):
    """Methods on the images, by the values that they have there."""
    metric = MetricInfo("Band 1", "Band 1: how", None, 2)
    records = [
        Record(method, "Set14", image, {"Band 1": value})
        for method, own in values.items()
        for image, value in zip(IMAGES, own, strict=True)
    ]
    return dataclasses.replace(example(), metrics=[metric], records=records, sets=[])


def test_nearest_to_the_ideal_is_best_on_either_side():
    values = {"restorer": [-2.0] * 8, "dp-ir": [0.4] * 8, "other": [-0.5] * 8}
    quality = tables(with_bands(values))[0]
    assert quality.columns == ["method", "Band 1 → 0", "p (Band 1)"]
    assert [quality.ranks.get((row, 1)) for row in range(3)] == [None, 1, 2]
    assert cell(quality, "restorer", "Band 1 → 0").startswith("-2.00 ± ")
    quality = tables(with_bands({**values, "other": [-0.4] * 8}))[0]
    assert [quality.ranks.get((row, 1)) for row in range(3)] == [2, 1, 1]  # equally far
    ratio = MetricInfo("ratio", "ratio: how", None, 2, of_sets=True, ideal=1.0)
    sets = [SetRecord(name, "Set14", {"ratio": v}) for name, v in (("restorer", 0.2), ("dp-ir", 0.9), ("other", 1.1))]
    quality = tables(dataclasses.replace(example(), metrics=[PSNR, ratio], sets=sets))[0]
    column = list(quality.columns).index("ratio → 1")
    assert [quality.ranks.get((row, column)) for row in range(3)] == [2, 1, 1]


def test_what_has_an_ideal_is_tested_by_its_distance_from_it():
    # As far from 0 on every image, on the other side: no difference. Nearer on every image: one.
    values = {"restorer": [-1 - i / 10 for i in range(8)], "dp-ir": [1 + i / 10 for i in range(8)], "other": [0.1] * 8}
    results = with_bands(values)
    quality = tables(results)[0]
    assert cell(quality, "dp-ir", "p (Band 1)") == "1.000"
    assert cell(quality, "other", "p (Band 1)") == f"{2 * 2 / 2**8:.3f}"
    assert sum("'restorer' in the distance from 0 over the common images" in line for line in protocols(results)) == 1
    assert not any("in the distance" in line for line in protocols(example()))


def test_means_are_over_the_images_that_every_method_has():
    results = with_error(example(), "other", "image7")
    (summary,) = summarise(results)
    assert summary.images == tuple(IMAGES[:7])
    assert [row.failed for row in summary.rows] == [0, 0, 1]
    assert summary.rows[0].values["PSNR-Y"].mean == pytest.approx(31.0)
    quality = tables(results)[0]
    assert quality.title == "Set14, the 7 of 8 images that every method has"
    assert cell(quality, "other", "failed") == 1
    said = protocols(results)
    assert "Set14: all means are over the 7 of 8 images that every method has" in said
    assert "other failed on 1 image of Set14; on image7: it broke" in said


def test_a_method_that_fails_everywhere_takes_nothing_from_the_others():
    results = example()
    for image in IMAGES:
        results = with_error(results, "other", image)
    quality = tables(results)[0]
    assert quality.title == "Set14, 8 images"
    assert cell(quality, "restorer", "PSNR-Y ↑").startswith("31.50")
    assert cell(quality, "other", "PSNR-Y ↑") is None
    assert cell(quality, "other", "failed") == 8


def test_nothing_in_common_leaves_no_numbers():
    records = [record("restorer", "a", 28.0, 0.3), record("dp-ir", "b", 27.0, 0.2)]
    results = dataclasses.replace(example(), records=records, sets=[])
    quality = tables(results)[0]
    assert quality.title == "Set14, the 0 of 2 images that every method has"
    assert [list(row) for row in quality.rows] == [["restorer"], ["dp-ir"]]
    assert all(not row.values for row in summarise(results)[0].rows)


def test_a_metric_that_one_method_lacks_on_one_image_is_not_averaged_for_it():
    results = example()
    lacking = [
        dataclasses.replace(r, values={"PSNR-Y": 30.0}) if (r.method, r.image) == ("dp-ir", "image3") else r
        for r in results.records
    ]
    quality = tables(dataclasses.replace(results, records=lacking))[0]
    assert cell(quality, "dp-ir", "LPIPS ↓") is None
    assert cell(quality, "dp-ir", "p (LPIPS)") is None
    assert cell(quality, "restorer", "LPIPS ↓") is not None


def test_reference_and_tested_metric_can_be_chosen():
    quality = tables(example(), reference="DP-IR", test="psnr-y")[0]
    assert cell(quality, "dp-ir", "p (PSNR-Y)") == "reference"
    assert any("difference to 'dp-ir'" in line for line in protocols(example(), reference="dp-ir"))
    with pytest.raises(DataError, match=r"no method 'nobody'.*restorer, dp-ir, other"):
        tables(example(), reference="nobody")
    with pytest.raises(DataError, match=r"no metric of images 'SWD'.*PSNR-Y, LPIPS"):
        tables(example(), test="SWD")


def test_few_images_give_neither_intervals_nor_p_values():
    results = dataclasses.replace(example(), records=[r for r in example().records if r.image in IMAGES[:4]])
    quality = tables(results)[0]
    assert "p (LPIPS)" not in quality.columns
    assert cell(quality, "restorer", "PSNR-Y ↑") == "29.50"
    assert not any("bootstrap" in line or "test" in line for line in protocols(results))


def test_equal_images_have_an_infinite_psnr():
    results = dataclasses.replace(example(), records=[record("restorer", i, math.inf, 0.0) for i in IMAGES])
    assert cell(tables(results)[0], "restorer", "PSNR-Y ↑") == "inf"


def test_protocols_name_every_metric_and_note_once():
    said = protocols(dataclasses.replace(example(), notes=["A note.", "A note."]))
    for line in ("PSNR-Y: how", "LPIPS: how", "SWD: how", "A note."):
        assert said.count(line) == 1


def test_nothing_measured_gives_no_tables():
    empty = dataclasses.replace(example(), records=[], sets=[])
    assert tables(empty) == []
    assert tables(dataclasses.replace(empty, methods=[])) == []
